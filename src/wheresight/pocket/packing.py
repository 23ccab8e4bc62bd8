"""Many questions about one picture in one row, each as if it were the only one.

The picture's tokens stand once at the front. Every question attends to them and to itself, never
to another question, and its positions go on from the picture's end as if the others were absent.
So a packed row gives the same logits as separate prompts, at a fraction of the cost, and the loss
falls on every answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wheresight.pocket.architectures import ARCHITECTURES, architecture_of
from wheresight.pocket.architectures.architecture import Architecture
from wheresight.pocket.language import Question
from wheresight.pocket.tokenizer import ASSISTANT, IMAGE, USER

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Packed:
    """A batch of packed rows.

    Attributes:
        ids: (B, L) int64 token ids.
        first: column of the first image placeholder, the same in all rows.
        positions: (B, L) int64, or (B, L, 3).
        allowed: (B, 1, L, L) bool, True where a query (row) may attend to a key (column).
        labels: (B, L) int64: the next token where it belongs to an answer, else -100.
        yes_no: (B, L) bool: True where ``labels`` is a Yes or No that answers a question.
    """

    ids: torch.Tensor
    first: int
    positions: torch.Tensor
    allowed: torch.Tensor
    labels: torch.Tensor
    yes_no: torch.Tensor


def prefix_text(image_count: int, kind: Architecture) -> str:
    """What every row begins with."""
    return f"{USER}{kind.before}{IMAGE * image_count}{kind.after}"


def prompt_text(question: str) -> str:
    """The text from after the picture to where the answer begins."""
    return f"{question}\n{ASSISTANT}"


def pack(
    conversations: list[list[Question]],
    tokenizer: Any,
    image_count: int,
    multi_turn: bool = False,
    kind: Architecture = ARCHITECTURES["llava"],
) -> Packed:
    """Pack one list of questions for each picture.

    Args:
        conversations: for each picture its questions, with answers.
        tokenizer: the pocket tokenizer.
        image_count: N, tokens of a picture.
        multi_turn: if True, questions are the turns of one conversation (plain causal attention
            and running positions) instead of being blind to one another.
        kind: of the model that reads it.
    """
    import torch

    frame = _Frame.of(tokenizer, image_count, kind)
    rows = [
        _row(_encoded(questions, tokenizer, multi_turn), frame, multi_turn)
        for questions in conversations
    ]
    longest = -(-max(len(row.ids) for row in rows) // 8) * 8

    def column(name: str, fill: Any) -> torch.Tensor:
        values = [getattr(row, name) for row in rows]
        return torch.tensor([own + [fill] * (longest - len(own)) for own in values])

    blocks = column("blocks", -1)
    causal = torch.ones(longest, longest, dtype=torch.bool).tril()
    same = blocks[:, :, None] == blocks[:, None, :]
    if multi_turn:
        same = torch.ones_like(same)
    image = slice(frame.first, frame.first + image_count)
    if kind.both_ways:
        causal[image, image] = True
    allowed = causal & (same | (blocks[:, None, :] == 0))
    return Packed(
        ids=column("ids", tokenizer.pad_token_id),
        first=frame.first,
        positions=column("positions", (0, 0, 0) if frame.triples else 0),
        allowed=allowed[:, None],
        labels=column("labels", -100),
        yes_no=column("yes_no", False),
    )


@dataclass(frozen=True, slots=True)
class _Frame:
    """What every row begins with: its tokens, their positions, and where positions go on."""

    ids: list[int]
    positions: list[Any]
    goes_on: int
    first: int
    triples: bool

    @classmethod
    def of(cls, tokenizer: Any, image_count: int, kind: Architecture) -> _Frame:
        ids = tokenizer(prefix_text(image_count, kind), add_special_tokens=False)["input_ids"]
        first = ids.index(tokenizer.convert_tokens_to_ids(IMAGE))
        image, after = kind.positions(first, round(image_count**0.5))
        rest = len(ids) - first - image_count
        triples = isinstance(image[0], tuple)
        positions = [
            *_text_positions(0, first, triples),
            *image,
            *_text_positions(after, rest, triples),
        ]
        return cls(ids, positions, after + rest, first, triples)


@dataclass(slots=True)
class _Row:
    """One packed row; ``blocks`` says to which question a token belongs, 0 to the picture."""

    ids: list[int]
    positions: list[Any]
    blocks: list[int]
    labels: list[int]
    yes_no: list[bool]


def _encoded(
    questions: list[Question], tokenizer: Any, multi_turn: bool
) -> list[tuple[list[int], list[int], bool]]:
    """Of each question its prompt, its answer with the end of text, and whether that is Yes or
    No."""
    starts = [
        (USER if multi_turn and i else "") + prompt_text(question.text)
        for i, question in enumerate(questions)
    ]
    asked = tokenizer(starts, add_special_tokens=False)["input_ids"]
    answered = tokenizer([q.answer for q in questions], add_special_tokens=False)["input_ids"]
    return [
        (prompt, [*answer, tokenizer.eos_token_id], question.answer in ("Yes", "No"))
        for prompt, answer, question in zip(asked, answered, questions, strict=True)
    ]


def _row(encoded: list[tuple[list[int], list[int], bool]], frame: _Frame, multi_turn: bool) -> _Row:
    start = len(frame.ids)
    row = _Row(list(frame.ids), list(frame.positions), [0] * start, [-100] * start, [False] * start)
    for number, (prompt, answer, yes_no) in enumerate(encoded, 1):
        # The end of text is predicted, and only follows in a conversation.
        piece = prompt + (answer if multi_turn else answer[:-1])
        begin = frame.goes_on + (len(row.ids) - start if multi_turn else 0)
        wanted = [-100] * (len(prompt) - 1) + answer
        row.ids += piece
        row.positions += _text_positions(begin, len(piece), frame.triples)
        row.blocks += [number] * len(piece)
        row.labels += wanted + [-100] * (len(piece) - len(wanted))
        row.yes_no += [yes_no and n == len(prompt) - 1 for n in range(len(piece))]
    return row


def _text_positions(begin: int, count: int, triples: bool) -> list[Any]:
    return [(n, n, n) if triples else n for n in range(begin, begin + count)]


def embed(model: Any, packed: Packed, features: torch.Tensor) -> torch.Tensor:
    """(B, L, D): word embeddings with the picture's tokens, (B, N, D), in their places."""
    import torch

    words = model.get_input_embeddings()(packed.ids)
    first, last = packed.first, packed.first + features.shape[1]
    return torch.cat([words[:, :first], features.to(words.dtype), words[:, last:]], dim=1)


def hidden_states(model: Any, packed: Packed, features: torch.Tensor) -> torch.Tensor:
    """(B, L, D): the decoder's last hidden states for a packed batch."""
    embeds = embed(model, packed, features)
    return architecture_of(model).decode(model, embeds, packed.allowed, packed.positions)
