"""Many questions about one picture in one row, each as if it were the only one.

The picture's tokens stand once at the front. Every question attends to them and to itself, never
to another question, and its positions go on from the picture's end as if the others were absent.
So a packed row gives the same logits as separate prompts, at a fraction of the cost, and the loss
falls on every answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wheresight.pocket.language import Question
from wheresight.pocket.tokenizer import ASSISTANT, IMAGE, USER

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Packed:
    """A batch of packed rows.

    Attributes:
        ids: (B, L) int64 token ids; image placeholders stand at 1 .. N of each row.
        positions: (B, L) int64.
        allowed: (B, 1, L, L) bool, True where a query (row) may attend to a key (column).
        labels: (B, L) int64: the next token where it belongs to an answer, else -100.
        yes_no: (B, L) bool: True where ``labels`` is a Yes or No that answers a question.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    allowed: torch.Tensor
    labels: torch.Tensor
    yes_no: torch.Tensor


def prefix_text(image_count: int) -> str:
    """What every row begins with."""
    return f"{USER}{IMAGE * image_count}\n"


def prompt_text(question: str) -> str:
    """The text from after the picture to where the answer begins."""
    return f"{question}\n{ASSISTANT}"


def pack(
    conversations: list[list[Question]],
    tokenizer: Any,
    image_count: int,
    multi_turn: bool = False,
) -> Packed:
    """Pack one list of questions for each picture.

    Args:
        conversations: for each picture its questions, with answers.
        tokenizer: the pocket tokenizer.
        image_count: N, tokens of a picture.
        multi_turn: if True, questions are the turns of one conversation (plain causal attention
            and running positions) instead of being blind to one another.
    """
    import torch

    flat = [question for questions in conversations for question in questions]
    starts = [
        (f"{USER}" if multi_turn and i else "") + prompt_text(q.text)
        for questions in conversations
        for i, q in enumerate(questions)
    ]
    asked = tokenizer(starts, add_special_tokens=False)["input_ids"]
    answered = tokenizer([q.answer for q in flat], add_special_tokens=False)["input_ids"]
    prefix = tokenizer(prefix_text(image_count), add_special_tokens=False)["input_ids"]
    eos = tokenizer.eos_token_id
    rows = []
    index = 0
    for questions in conversations:
        ids, positions, blocks, labels, yes_no = list(prefix), list(range(len(prefix))), [], [], []
        blocks = [0] * len(prefix)
        labels = [-100] * len(prefix)
        yes_no = [False] * len(prefix)
        for number, question in enumerate(questions, 1):
            prompt, answer = asked[index], [*answered[index], eos]
            index += 1
            piece = prompt + answer[:-1]  # eos is predicted, and only follows in a conversation
            if multi_turn:
                piece = prompt + answer
            begin = len(ids) if multi_turn else len(prefix)
            ids += piece
            positions += range(begin, begin + len(piece))
            blocks += [number] * len(piece)
            wanted = [-100] * (len(prompt) - 1) + answer
            labels += wanted + [-100] * (len(piece) - len(wanted))
            flags = [False] * len(piece)
            flags[len(prompt) - 1] = question.answer in ("Yes", "No")
            yes_no += flags
        rows.append((ids, positions, blocks, labels, yes_no))
    longest = -(-max(len(row[0]) for row in rows) // 8) * 8

    def column(place: int, fill: int) -> torch.Tensor:
        return torch.tensor([row[place] + [fill] * (longest - len(row[place])) for row in rows])

    blocks_of = column(2, -1)
    causal = torch.ones(longest, longest, dtype=torch.bool).tril()
    same = blocks_of[:, :, None] == blocks_of[:, None, :]
    if multi_turn:
        same = torch.ones_like(same)
    allowed = causal & (same | (blocks_of[:, None, :] == 0))
    return Packed(
        ids=column(0, tokenizer.pad_token_id),
        positions=column(1, 0),
        allowed=allowed[:, None],
        labels=column(3, -100),
        yes_no=column(4, 0).bool(),
    )


def embed(model: Any, packed: Packed, features: torch.Tensor) -> torch.Tensor:
    """(B, L, D): word embeddings with the picture's tokens, (B, N, D), in their places."""
    words = model.get_input_embeddings()(packed.ids)
    count = features.shape[1]
    import torch

    return torch.cat([words[:, :1], features.to(words.dtype), words[:, 1 + count :]], dim=1)


def hidden_states(model: Any, packed: Packed, features: torch.Tensor) -> torch.Tensor:
    """(B, L, D): the decoder's last hidden states for a packed batch."""
    output = model.model.language_model(
        inputs_embeds=embed(model, packed, features),
        attention_mask=packed.allowed,
        position_ids=packed.positions,
        use_cache=False,
    )
    states: torch.Tensor = output.last_hidden_state
    return states
