"""How many questions to put to a model at once: tried out, not guessed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wheresight.lvlm.scoring import Scorer

_FIRST = 8
_MOST = 1024
# A larger batch has to be worth its memory.
_GAIN = 1.05


def find_batch_size(scorer: Scorer, ask: Callable[[int], None], most: int = _MOST) -> int:
    """Double the batch size until questions go no faster or memory runs out; set the best.

    Each size is timed on one full batch, the better of two. The size chosen is the smallest whose
    rate is within 5 % of the best. Times differ from run to run, so the result is to be written
    down; answers do not depend on it beyond rounding.

    Args:
        scorer: whose `batch_size` is set.
        ask: puts so many questions to the model.
        most: largest size to try.
    """
    rates: dict[int, float] = {}
    size, without_gain = _FIRST, 0
    scorer.set_batch_size(min(size, most))
    ask(1)  # kernels are chosen and memory is taken
    while size <= most and without_gain < 2:
        scorer.set_batch_size(size)
        took = min(_seconds(ask, size), _seconds(ask, size))
        if scorer.batch_size < size:  # memory ran out, and the scorer has found what fits
            break
        best = max(rates.values(), default=0.0)
        rates[size] = size / took
        without_gain = 0 if rates[size] >= _GAIN * best else without_gain + 1
        size *= 2
    if rates:
        good = max(rates.values()) / _GAIN
        scorer.set_batch_size(min(n for n, rate in rates.items() if rate >= good))
    return scorer.batch_size


def _seconds(ask: Callable[[int], None], count: int) -> float:
    began = time.perf_counter()
    ask(count)
    return time.perf_counter() - began
