"""Make pictures and questions ready for a model's tower: token ids and pixels, without weights.

What is here needs a processor and no model, so it may run in another process than the model.

Legend: B pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image

from wheresight.lvlm.prompts import adds_special_tokens, chat_prompt, refuse_placeholder

if TYPE_CHECKING:
    import torch

Tokens = tuple[tuple[int, ...], dict[str, tuple[int, ...]]]  # ids, and ids of token types
# A prompt: up to the special token before its question, that token, the rest.
Cut = tuple[str, str, str]

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
class Preprocessed:
    """Some pictures and their questions as the processor makes them, on the CPU.

    Attributes:
        rows: one a question, pictures in order and counted from 0.
        images: what the processor says of the pictures; `pixel_values` are of the model's dtype.
        counts: image tokens of each picture in a prompt.
        sizes: width and height of each picture, pixels.
    """

    rows: tuple[Row, ...]
    images: dict[str, torch.Tensor]
    counts: tuple[int, ...]
    sizes: tuple[tuple[int, int], ...]


class Preprocessor:
    """Turns queries into token ids and pixels.

    Args:
        processor: of the model.
        image_id: the id of the placeholder that stands for one image token.
        dtype: of the model's weights, to which pixels are rounded.
    """

    def __init__(self, processor: Any, image_id: int | None, dtype: torch.dtype) -> None:
        self.processor = processor
        self.tokenizer: Any = processor.tokenizer
        self.image_id = image_id
        self.dtype = dtype
        self._special: list[str] = list(dict.fromkeys(self.tokenizer.all_special_tokens))

    def __call__(self, queries: Sequence[Query]) -> Preprocessed:
        """Process every picture with each of its questions.

        Raises:
            ModelError: a question with the model's image placeholder in it.
        """
        self._refuse_placeholders(queries)
        # The same question is asked of many pictures.
        asked = dict.fromkeys(text for query in queries for text in query.questions)
        prompts = {question: chat_prompt(self.processor, question) for question in asked}

        def process(which: Sequence[tuple[int, str]]) -> dict[str, Any]:
            return self._process(
                [queries[i].picture for i, _ in which], [prompts[q] for _, q in which]
            )

        first = process([(i, query.questions[0]) for i, query in enumerate(queries)])
        rows = [[_ids_of(first, i)] for i in range(len(queries))]
        extra = []
        cuts = {question: self._cut(question, prompt) for question, prompt in prompts.items()}
        for i, others in enumerate(self._other_ends(queries, cuts, [row[0] for row in rows])):
            if others is None:
                extra += [(i, text) for text in queries[i].questions[1:]]
            else:
                rows[i] += others
        if extra:
            # The processor sees the picture again; only the text that it returns is kept.
            again = process(extra)
            for n, (i, _) in enumerate(extra):
                rows[i].append(_ids_of(again, n))
        flat = [Row(i, *tokens) for i, row in enumerate(rows) for tokens in row]
        images = {key: value for key, value in first.items() if key not in _TEXT_KEYS}
        images["pixel_values"] = images["pixel_values"].to(self.dtype)
        counts = tuple(row[0][0].count(self.image_id) for row in rows)
        return Preprocessed(tuple(flat), images, counts, tuple(q.picture.size for q in queries))

    def _refuse_placeholders(self, queries: Sequence[Query]) -> None:
        placeholder = self.tokenizer.convert_ids_to_tokens(self.image_id)
        for question in (text for query in queries for text in query.questions):
            refuse_placeholder(question, placeholder)

    def _other_ends(
        self, queries: Sequence[Query], cuts: Mapping[str, Cut | None], firsts: Sequence[Tokens]
    ) -> list[list[Tokens] | None]:
        """For each query, the prompts of all but its first question, made from that of the first.

        Prompts of one picture differ only behind the special token before the question, and no
        tokenizer joins text across a special token. So what stands behind it is tokenized by itself
        and put in the place of the first question's. None where that does not give the processor's
        own ids for the first question: the processor is to be asked for the others.
        """
        texts = list(dict.fromkeys(cut[1] + cut[2] for cut in cuts.values() if cut is not None))
        tokenized = self.tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
        ends = dict(zip(texts, map(tuple, tokenized), strict=True))
        found: list[list[Tokens] | None] = []
        for query, (ids, types) in zip(queries, firsts, strict=True):
            own = [cuts[question] for question in query.questions]
            own_ends = [ends[cut[1] + cut[2]] for cut in own if cut is not None]
            heads = {cut if cut is None else cut[:2] for cut in own}
            begin = len(ids) - len(own_ends[0]) if own_ends else -1
            alike = (
                len(heads) == 1
                and None not in heads
                and begin >= 0
                and all(own_ends)
                and ids[begin:] == own_ends[0]
                and len({end[0] for end in own_ends}) == 1
                and ids[begin] == self.tokenizer.convert_tokens_to_ids(own[0][1])  # type: ignore[index]
                and not any(any(kinds[begin + 1 :]) for kinds in types.values())
            )
            if not alike:
                found.append(None)
                continue
            kept = begin + 1
            found.append(
                [
                    (
                        ids[:kept] + end[1:],
                        {key: kinds[:kept] + (0,) * (len(end) - 1) for key, kinds in types.items()},
                    )
                    for end in own_ends[1:]
                ]
            )
        return found

    def _cut(self, question: str, text: str) -> Cut | None:
        """A prompt in three: up to the special token before the question, that token, the rest."""
        at = text.find(question)
        if at < 0:
            return None
        stops = [(text.rfind(token, 0, at), token) for token in self._special]
        begin, token = max(stops, default=(-1, ""))
        end = begin + len(token)
        return None if begin < 0 else (text[:begin], token, text[end:])

    def _process(self, pictures: Sequence[Image.Image], prompts: Sequence[str]) -> dict[str, Any]:
        out = self.processor(
            text=list(prompts),
            images=[[picture] for picture in pictures],
            padding=True,
            padding_side="left",
            add_special_tokens=all(adds_special_tokens(self.processor, p) for p in prompts),
            return_tensors="pt",
        )
        # Some processors make labels for training, and the model would compute a loss.
        return {key: value for key, value in out.items() if key != "labels"}


def _ids_of(processed: dict[str, Any], n: int) -> Tokens:
    mask = processed["attention_mask"][n].bool()
    types: dict[str, tuple[int, ...]] = {
        key: tuple(processed[key][n][mask].tolist())
        for key in ("token_type_ids", "mm_token_type_ids")
        if key in processed
    }
    return tuple(processed["input_ids"][n][mask].tolist()), types
