"""Make pictures and questions ready for a model: token ids, and image features computed once.

Legend: B rows (one per picture and question), T tokens.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image

from wheresight.errors import ModelError
from wheresight.lvlm.prompts import chat_prompt

if TYPE_CHECKING:
    import torch

    from wheresight.lvlm.wrapper import LVLM

_TEXT_KEYS = ("input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids")


@dataclass(frozen=True)
class Query:
    """One picture and the questions asked of it."""

    picture: Image.Image
    questions: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """One picture-question pair: number of the picture, token ids, and ids of token types."""

    picture: int
    ids: tuple[int, ...]
    types: dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Encoded:
    """Pictures and questions made ready: token ids, and image features computed once.

    Attributes:
        rows: one a question, pictures in order.
        image_inputs: what the processor says of the pictures beside their pixels.
        features: what the base module's `get_image_features` returned, for all pictures.
        queries: what it was made from.
        counts: image tokens of each picture.
    """

    rows: tuple[Row, ...]
    image_inputs: dict[str, torch.Tensor]
    features: Any
    queries: tuple[Query, ...] = ()
    counts: tuple[int, ...] = ()


class Encoder:
    """Makes queries ready for one model."""

    def __init__(self, lvlm: LVLM) -> None:
        if lvlm.processor is None:
            raise ModelError(
                "The model was wrapped without its processor, so questions cannot be put to it. "
                "Use wheresight.wrap(model, processor)."
            )
        self.lvlm = lvlm
        self.tokenizer: Any = lvlm.processor.tokenizer
        pad = self.tokenizer.pad_token_id
        self.pad_id = int(pad if pad is not None else self.tokenizer.eos_token_id)
        self.image_id = lvlm.family.image_token(lvlm.core.config)

    def encode(self, queries: Sequence[Query]) -> Encoded:
        """Tokenize all questions and run the vision tower once per picture."""
        return self._encoded(queries, blank=False)

    def blank(self, picture: Image.Image, question: str) -> Encoded:
        """The same with a blank image of one picture's size: 0 everywhere after normalisation."""
        return self._encoded([Query(picture, (question,))], blank=True)

    def _encoded(self, queries: Sequence[Query], *, blank: bool) -> Encoded:
        import torch

        first = self._process([q.picture for q in queries], [q.questions[0] for q in queries])
        rows = [_ids_of(first, i) for i in range(len(queries))]
        extra = [(i, text) for i, q in enumerate(queries) for text in q.questions[1:]]
        later: dict[int, list[tuple[tuple[int, ...], dict[str, tuple[int, ...]]]]] = {}
        if extra:
            # The processor decides how many tokens a picture becomes, so it sees the picture again;
            # only the text that it returns is kept.
            again = self._process([queries[i].picture for i, _ in extra], [t for _, t in extra])
            for n, (i, _) in enumerate(extra):
                later.setdefault(i, []).append(_ids_of(again, n))
        flat = [
            Row(i, ids, types)
            for i in range(len(queries))
            for ids, types in [rows[i], *later.get(i, [])]
        ]
        device = self.lvlm.device
        images = {k: v.to(device) for k, v in first.items() if k not in _TEXT_KEYS}
        if blank:
            images["pixel_values"] = self.lvlm.family.blank(images["pixel_values"])
        counts = tuple(ids.count(self.image_id) for ids, _ in rows)
        with torch.inference_mode():
            features = self._features(images)
        # Only what the language model takes is kept; hidden states of the tower can be large.
        features = self.lvlm.family.take_features(features, counts, range(len(queries)))
        images.pop("pixel_values")
        return Encoded(tuple(flat), images, features, tuple(queries), counts)

    def inputs(self, encoded: Encoded, rows: Sequence[Row]) -> dict[str, Any]:
        """Left-padded model inputs of rows whose image features are known."""
        import torch

        width = max(len(row.ids) for row in rows)
        ids, mask = self.pad([row.ids for row in rows], width, side="left")
        inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": mask}
        for key in rows[0].types:
            inputs[key] = self.pad([row.types[key] for row in rows], width, side="left", fill=0)[0]
        owners = torch.tensor([row.picture for row in rows], device=ids.device)
        for key, value in encoded.image_inputs.items():
            inputs[key] = value[owners]
        # An object of its own for each call: transformers changes what it is given in place.
        chosen = [row.picture for row in rows]
        own = self.lvlm.family.take_features(encoded.features, encoded.counts, chosen)
        inputs["mm_encoder_outputs"] = {"image": own}
        return inputs

    def pad(
        self, rows: Sequence[Sequence[int]], width: int, *, side: str, fill: int | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids (B, width) padded on one side, and the mask (B, width) of what is not padding."""
        import torch

        fill = self.pad_id if fill is None else fill
        ids = torch.full((len(rows), width), fill, dtype=torch.long)
        mask = torch.zeros((len(rows), width), dtype=torch.long)
        for n, row in enumerate(rows):
            where = slice(width - len(row), width) if side == "left" else slice(0, len(row))
            ids[n, where] = torch.tensor(row, dtype=torch.long)
            mask[n, where] = 1
        return ids.to(self.lvlm.device), mask.to(self.lvlm.device)

    def _process(self, pictures: Sequence[Image.Image], questions: Sequence[str]) -> dict[str, Any]:
        placeholder = self.tokenizer.convert_ids_to_tokens(self.image_id)
        for question in questions:
            if placeholder in question:
                raise ModelError(
                    f"The question {question!r} contains {placeholder!r}, the model's own image "
                    "placeholder, and would be taken for a picture. Change the caption or question."
                )
        texts = [chat_prompt(self.lvlm.processor, question) for question in questions]
        out = self.lvlm.processor(
            text=texts,
            images=[[picture] for picture in pictures],
            padding=True,
            padding_side="left",
            return_tensors="pt",
        )
        # Some processors make labels for training, and the model would compute a loss.
        return {key: value for key, value in out.items() if key != "labels"}

    def _features(self, images: dict[str, Any]) -> Any:
        base: Any = self.lvlm.family.base(self.lvlm.core)
        accepted = inspect.signature(base.get_image_features).parameters
        chosen = {k: v for k, v in images.items() if k in accepted}
        chosen["pixel_values"] = chosen["pixel_values"].to(self.lvlm.dtype)
        return base.get_image_features(**chosen, return_dict=True)


def _ids_of(
    processed: dict[str, Any], n: int
) -> tuple[tuple[int, ...], dict[str, tuple[int, ...]]]:
    mask = processed["attention_mask"][n].bool()
    types: dict[str, tuple[int, ...]] = {
        key: tuple(processed[key][n][mask].tolist())
        for key in ("token_type_ids", "mm_token_type_ids")
        if key in processed
    }
    return tuple(processed["input_ids"][n][mask].tolist()), types
