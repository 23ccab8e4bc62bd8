"""Run the vision tower once a picture, and make batches of rows from what it returned.

Legend: B rows (one per picture and question), T tokens.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from PIL import Image

from wheresight.errors import ModelError
from wheresight.lvlm.left_padding import pad_id
from wheresight.lvlm.preprocessing import Preprocessed, Preprocessor, Query, Row

if TYPE_CHECKING:
    import torch

    from wheresight.lvlm.wrapper import LVLM

__all__ = ["Encoded", "Encoder", "Query", "Row"]


@dataclass(frozen=True)
class Encoded:
    """Pictures and questions made ready: token ids, and image features computed once.

    Attributes:
        rows: one a question, pictures in order.
        image_inputs: what the processor says of the pictures beside their pixels.
        features: what the base module's `get_image_features` returned, for all pictures.
        counts: image tokens of each picture.
        sizes: width and height of each picture, pixels.
        kept: what it was made from, for methods that change the vision tower; empty if dropped.
    """

    rows: tuple[Row, ...]
    image_inputs: dict[str, torch.Tensor]
    features: Any
    counts: tuple[int, ...] = ()
    sizes: tuple[tuple[int, int], ...] = ()
    kept: tuple[Preprocessed, ...] = ()


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
        self.pad_id = pad_id(self.tokenizer)
        self.image_id = lvlm.family.image_token(lvlm.core.config)
        self.preprocess = Preprocessor(lvlm.processor, self.image_id, lvlm.dtype)

    def encode(self, queries: Sequence[Query]) -> Encoded:
        """Tokenize all questions and run the vision tower once per picture, all in one batch."""
        return self.see(self.preprocess(queries))

    def see(self, batch: Preprocessed, *, blank: bool = False) -> Encoded:
        """Run the vision tower on a batch of pictures; with `blank`, 0 everywhere in their place.

        The pixels are kept with the result, on the CPU.
        """
        import torch

        images = {key: self.lvlm.send(value) for key, value in batch.images.items()}
        if blank:
            images["pixel_values"] = self.lvlm.family.blank(images["pixel_values"])
        with torch.inference_mode():
            features = self._features(images)
        # Only what the language model takes is kept; hidden states of the tower can be large.
        numbers = range(len(batch.counts))
        features = self.lvlm.family.take_features(features, batch.counts, numbers)
        told = {key: value for key, value in images.items() if not key.startswith("pixel")}
        return Encoded(batch.rows, told, features, batch.counts, batch.sizes, (batch,))

    def again(self, encoded: Encoded) -> Encoded:
        """The same pictures through the vision tower once more, as it is now.

        Raises:
            ModelError: if their pixels were dropped.
        """
        if not encoded.kept:
            raise ModelError(
                "The pictures' pixels were dropped after encoding, and an intervention changes the "
                "vision tower. Encode with keep_pixels=True."
            )
        return self.join(self.see(batch) for batch in encoded.kept)

    def blank(self, picture: Image.Image, question: str) -> Encoded:
        """A blank picture of the size of another: 0 everywhere after normalisation."""
        alike = Image.new("RGB", picture.size)
        return self.see(self.preprocess([Query(alike, (question,))]), blank=True)

    def join(self, parts: Iterable[Encoded]) -> Encoded:
        """Pictures that were encoded in batches, as if in one; they are counted on."""
        import torch

        parts = list(parts)
        if len(parts) == 1:
            return parts[0]
        rows: list[Row] = []
        counts: list[int] = []
        for part in parts:
            rows += [replace(row, picture=row.picture + len(counts)) for row in part.rows]
            counts += part.counts
        told = {
            key: torch.cat([part.image_inputs[key] for part in parts])
            for key in parts[0].image_inputs
        }
        features = self.lvlm.family.join_features([part.features for part in parts])
        sizes = tuple(size for part in parts for size in part.sizes)
        kept = tuple(batch for part in parts for batch in part.kept)
        return Encoded(tuple(rows), told, features, tuple(counts), sizes, kept)

    def inputs(self, encoded: Encoded, rows: Sequence[Row]) -> dict[str, Any]:
        """Left-padded model inputs of rows whose image features are known."""
        import torch

        width = max(len(row.ids) for row in rows)
        ids, mask = self.pad([row.ids for row in rows], width, side="left")
        inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": mask}
        for key in rows[0].types:
            inputs[key] = self.pad([row.types[key] for row in rows], width, side="left", fill=0)[0]
        owners = self.lvlm.send(torch.tensor([row.picture for row in rows]))
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
        return self.lvlm.send(ids), self.lvlm.send(mask)

    def _features(self, images: dict[str, Any]) -> Any:
        base: Any = self.lvlm.family.base(self.lvlm.core)
        accepted = inspect.signature(base.get_image_features).parameters
        chosen = {k: v for k, v in images.items() if k in accepted}
        return base.get_image_features(**chosen, return_dict=True)
