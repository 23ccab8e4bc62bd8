"""Give encoded prompts a system turn: the same pictures and questions, with a text before them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from wheresight.errors import ModelError

if TYPE_CHECKING:
    from wheresight.lvlm.encoding import Encoded
    from wheresight.lvlm.scoring import Scorer


@dataclass(frozen=True)
class SystemTurn:
    """The tokens that a system turn adds to a prompt.

    Attributes:
        start: the column before which they stand.
        ids: the tokens.
    """

    start: int
    ids: tuple[int, ...]

    @property
    def stop(self) -> int:
        """The column behind them."""
        return self.start + len(self.ids)

    def put_into(self, encoded: Encoded) -> Encoded:
        """The same prompts with these tokens in them."""
        rows = [
            replace(
                row,
                ids=self._inserted(row.ids, self.ids),
                types={k: self._inserted(v, (0,) * len(self.ids)) for k, v in row.types.items()},
            )
            for row in encoded.rows
        ]
        return replace(encoded, rows=tuple(rows))

    def _inserted(self, values: Sequence[int], new: Sequence[int]) -> tuple[int, ...]:
        return (*values[: self.start], *new, *values[self.start :])


def system_turn(scorer: Scorer, text: str, question: str, row: Sequence[int]) -> SystemTurn | None:
    """What a system turn adds to a prompt in the model's own chat template.

    Found by writing the prompt twice, with and without. None if the template has no system turn,
    or writes it anywhere but before the picture.

    Args:
        scorer: of the model.
        text: of the turn.
        question: any question.
        row: the tokens of a prompt with this question.
    """
    from wheresight.lvlm.prompts import chat_prompt

    processor: Any = scorer.lvlm.processor
    try:
        written = [chat_prompt(processor, question, system=s) for s in ("", text)]
    except ModelError:
        return None
    without, given = (scorer.tokenizer(prompt)["input_ids"] for prompt in written)
    if text not in written[1] or len(given) <= len(without):
        return None
    start = _alike(without, given)
    behind = min(_alike(without[::-1], given[::-1]), len(without) - start)
    start = len(without) - behind
    new = tuple(given[start : len(given) - behind])
    image = scorer.encoder.image_id
    before_picture = list(given[:start]) == list(row[:start]) and image not in (*row[:start], *new)
    only_added = [*given[:start], *given[-behind:]] == without
    return SystemTurn(start, new) if before_picture and only_added else None


def _alike(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens two prompts have in common at their beginning."""
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False))
    return sum(1 for _ in same)
