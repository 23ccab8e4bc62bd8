"""Make conversations into batches: token ids, labels on what the assistant says, and pixels.

Each row goes through the model's own chat template and processor by itself, so that rows of text
alone, of one picture and of several may share a batch, and a row is the same in every batch. TRL's
own collator is not used: it cuts long rows through their image tokens, never puts the token before
the prompt that tokenizers add (and evaluation has), and finds answers only in templates that mark
them.

Legend: B rows, T tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wheresight.errors import ModelError, StimulusError
from wheresight.lvlm.left_padding import pad_id
from wheresight.lvlm.prompts import adds_special_tokens, check_chat_template
from wheresight.training.conversations import Conversation

if TYPE_CHECKING:
    import torch
    from PIL import Image

IGNORED = -100  # the label of what is not learned, as torch's cross-entropy has it
_TYPES = ("token_type_ids", "mm_token_type_ids")
# What the processor tells of the text, beside its ids; all else that it returns is of pictures.
_OF_TEXT = ("input_ids", "attention_mask", "offset_mapping", "text_replacement_offsets", "labels")


@dataclass(frozen=True)
class TrainingRow:
    """One conversation, ready to be put into a batch.

    Attributes:
        ids: token ids, (T,).
        labels: the ids that are learned, IGNORED elsewhere, (T,); not shifted.
        types: ids of token types, (T,) each, by the processor's names.
        pictures: what the processor made of the pictures, by name; empty if there are none.
    """

    ids: list[int]
    labels: list[int]
    types: dict[str, list[int]]
    pictures: dict[str, torch.Tensor]

    @property
    def learned(self) -> int:
        """How many tokens are learned."""
        return sum(label != IGNORED for label in self.labels)


class Collator:
    """Makes rows and batches for one model.

    What is learned is each answer from where the prompt of an evaluation ends up to the token that
    ends the turn. Where the template has no such token, the tokenizer's end of sequence is put
    behind each answer, as LLaVA's own training does; without it a model would forget to stop.

    Args:
        processor: of the model.
        image_id: id of the placeholder that stands for one image token.
        stop_ids: ids at which generation stops.
        dtype: that pixels are rounded to.
        side: where padding goes, right or left.
        end: what to put behind each answer; None: what the template lacks.

    Attributes:
        end: what is put behind each answer; empty if the template does so.

    Raises:
        ModelError: no chat template, one that drops or rewrites answers, or a tokenizer that does
            not say where its tokens come from.
    """

    def __init__(
        self,
        processor: Any,
        image_id: int | None,
        stop_ids: Sequence[int],
        dtype: torch.dtype,
        side: str = "right",
        end: str | None = None,
    ) -> None:
        check_chat_template(processor)
        self.processor = processor
        self.tokenizer: Any = processor.tokenizer
        self.image_id, self.dtype, self.side = image_id, dtype, side
        self._stops = frozenset(stop_ids)
        if not getattr(self.tokenizer, "is_fast", False):
            raise ModelError(
                f"The tokenizer {type(self.tokenizer).__name__} does not tell which text a token "
                "comes from, so answers cannot be found. Use the model's fast tokenizer."
            )
        self._pad = pad_id(self.tokenizer)
        self._placeholder: str = self.tokenizer.convert_ids_to_tokens(image_id)
        self._spoken = getattr(processor, "image_token", None) or self._placeholder
        self.end = ""
        missing = self._missing_end()  # also looks whether answers are written at all
        self.end = missing if end is None else end

    # ---- batches ----------------------------------------------------------------------------

    def batch(self, rows: Sequence[TrainingRow]) -> dict[str, torch.Tensor]:
        """Pad rows to one width and put their pictures together, in order.

        Returns:
            `input_ids`, `attention_mask`, `labels` and token types, (B, T) each, and what the
            processor says of pictures; nothing of the latter if no row has any.
        """
        width = max(len(row.ids) for row in rows)
        made = {
            "input_ids": self._padded([row.ids for row in rows], width, self._pad),
            "attention_mask": self._padded([[1] * len(row.ids) for row in rows], width, 0),
            "labels": self._padded([row.labels for row in rows], width, IGNORED),
        }
        for key in rows[0].types:
            made[key] = self._padded([row.types[key] for row in rows], width, 0)
        names = dict.fromkeys(key for row in rows for key in row.pictures)
        for key in names:
            made[key] = joined([row.pictures[key] for row in rows if key in row.pictures])
        return made

    def _padded(self, rows: Sequence[Sequence[int]], width: int, fill: int) -> torch.Tensor:
        import torch

        out = torch.full((len(rows), width), fill, dtype=torch.long)
        for n, row in enumerate(rows):
            where = slice(width - len(row), width) if self.side == "left" else slice(0, len(row))
            out[n, where] = torch.tensor(row, dtype=torch.long)
        return out

    # ---- rows -------------------------------------------------------------------------------

    def row(self, conversation: Conversation, pictures: Sequence[Image.Image]) -> TrainingRow:
        """Tokenize a conversation, and say which of its tokens are learned.

        Raises:
            StimulusError: a text that holds the model's own image placeholder.
        """
        text, answers = self.written(conversation)
        strange = self._placeholder != self._spoken and self._placeholder in text
        if strange or text.count(self._spoken) != len(pictures):
            raise StimulusError(
                f"{conversation.name} has {len(pictures)} pictures, and written out for this model "
                f"{text.count(self._spoken)} places for them: its text holds the model's own image "
                f"placeholder ({self._spoken!r} or {self._placeholder!r}), or the chat template "
                "drops pictures. Change the text."
            )
        try:
            out = self.processor(
                text=[text],
                images=[list(pictures)] if pictures else None,
                return_offsets_mapping=True,
                return_text_replacement_offsets=True,
                add_special_tokens=adds_special_tokens(self.processor, text),
                return_tensors="pt",
            )
        except ValueError as error:  # such as a picture that is far too narrow for it
            reason = " ".join(str(error).split())[:300]
            raise StimulusError(
                f"{conversation.name} is refused by the model's processor: {reason}"
            ) from None
        ids: list[int] = out["input_ids"][0].tolist()
        offsets: list[list[int]] = out["offset_mapping"][0].tolist()
        moved = _moves(out.get("text_replacement_offsets"))
        if pictures and not moved:
            raise ModelError(
                f"The processor {type(self.processor).__name__} does not tell where it wrote image "
                "tokens, so answers cannot be found behind them."
            )
        labels = [IGNORED] * len(ids)
        for begin, stop in answers:
            begin, stop = _moved(begin, moved), _moved(stop, moved)
            inside = [n for n, (a, b) in enumerate(offsets) if a < stop and b > begin and b > a]
            for n in self._until_the_end(inside, ids):
                labels[n] = ids[n]
        kept = {k: v for k, v in out.items() if k not in (*_OF_TEXT, *_TYPES)}
        if "pixel_values" in kept:
            kept["pixel_values"] = kept["pixel_values"].to(self.dtype)
        types = {key: out[key][0].tolist() for key in _TYPES if key in out}
        return TrainingRow(ids, labels, types, kept if pictures else {})

    def _until_the_end(self, tokens: list[int], ids: Sequence[int]) -> list[int]:
        """Of an answer's tokens those up to the one that ends it: what follows begins the next."""
        ends = [place for place, n in enumerate(tokens) if ids[n] in self._stops]
        return tokens[: ends[-1] + 1] if ends else tokens

    def written(self, conversation: Conversation) -> tuple[str, list[tuple[int, int]]]:
        """A conversation by the chat template, and where in it each answer begins and stops.

        An answer begins where the prompt for it would end.

        Raises:
            ModelError: a template that rewrites what came before when a turn is added.
        """
        messages = conversation.messages(self.end)
        answers = []
        for n, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            prompt = self._render(messages[:n], prompt=True)
            answered = self._render(messages[: n + 1], prompt=False)
            answers.append((prompt, answered))
        text = answers[-1][1]
        if not all(a.startswith(p) and text.startswith(a) for p, a in answers):
            raise ModelError(
                f"The chat template of {type(self.processor).__name__} writes earlier turns "
                "differently, or drops answers, when a turn is added, so what is to be learned "
                "cannot be found. Use a template that only adds."
            )
        return text, [(len(prompt), len(answered)) for prompt, answered in answers]

    def _render(self, messages: list[dict[str, Any]], *, prompt: bool) -> str:
        return str(
            self.processor.apply_chat_template(
                messages, add_generation_prompt=prompt, tokenize=False
            )
        )

    def _missing_end(self) -> str:
        """What has to be put behind an answer so that it ends in a token that stops generation."""
        from wheresight.training.conversations import Turn

        turns = (Turn("user", ("a",)), Turn("assistant", ("b",)))
        text, [(begin, stop)] = self.written(Conversation("", turns, ()))
        found = self.tokenizer(text[begin:stop], add_special_tokens=False)["input_ids"]
        if "b" not in text[begin:stop]:
            raise ModelError(
                f"The chat template of {type(self.processor).__name__} does not write what the "
                "assistant says, so there is nothing to learn from. Give the model's full template."
            )
        return "" if self._stops & set(found) else str(self.tokenizer.eos_token)


def joined(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """Tensors one behind the other; where other sizes differ, smaller ones get zeros behind."""
    import torch

    shapes = [part.shape[1:] for part in parts]
    if len(set(shapes)) == 1:
        return torch.cat(list(parts))
    size = [max(sizes) for sizes in zip(*shapes, strict=True)]
    grown = []
    for part in parts:
        whole = part.new_zeros((part.shape[0], *size))
        whole[tuple(slice(0, n) for n in part.shape)] = part
        grown.append(whole)
    return torch.cat(grown)


def _moves(offsets: Any) -> list[tuple[int, int]]:
    """For each placeholder: where it ends in the text, and how far what follows has moved."""
    # Where there are none, some processors make a tensor of the empty list.
    replaced: Sequence[Mapping[str, Any]] = (
        offsets[0] if isinstance(offsets, list) and offsets else ()
    )
    return [(one["span"][1], one["new_span"][1] - one["span"][1]) for one in replaced]


def _moved(place: int, moves: Sequence[tuple[int, int]]) -> int:
    """A place in the text, once its placeholders are written out."""
    return place + next((by for end, by in reversed(moves) if end <= place), 0)
