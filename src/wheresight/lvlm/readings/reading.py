"""What every reading is: something that watches forward calls, and keeps numbers of each prompt.

A prompt may come in one call, or in several over a cache that is branched in between. What a
reading knows of the part that has run is carried by the cache's record, row by row, so that it
follows the rows wherever they go.

Legend: B batch, L layers, C columns of the history.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Protocol, Self, TypeVar

import torch

from wheresight.errors import ModelError
from wheresight.lvlm.call import Call
from wheresight.lvlm.layout import Layout
from wheresight.lvlm.seams.attention_rows import Given, Work
from wheresight.lvlm.seams.seam import Handle

if TYPE_CHECKING:
    from wheresight.lvlm.tracker import Tracker
    from wheresight.lvlm.wrapper import LVLM


class Carried(Protocol):
    """What a reading knows of a prompt that is not whole yet; never changed in place."""

    def take(self, rows: torch.Tensor) -> Self:
        """Of these rows of the batch, in this order, repeats allowed."""
        ...

    def cut(self, length: int) -> Self | None:
        """Of the first columns alone; None if that cannot be told."""
        ...


State = TypeVar("State", bound=Carried)
Kept = TypeVar("Kept")
_TOKENS = itertools.count()


class Reading(ABC, Generic[State, Kept]):
    """Watches the forward calls of one model.

    Args:
        layers: numbers of the layers to look at, from 0; None for all.

    Attributes:
        name: how `read` calls it.
        looks_at_attention: True if `look` wants to see every attention call.
        turns: True if it must know the rotary angles of each layer.
        prompts: what was kept of each prompt (a row of a batch), in the order of the calls; where
            the caller numbered its rows, in the order of their numbers.
    """

    name: ClassVar[str]
    looks_at_attention: ClassVar[bool] = False
    turns: ClassVar[bool] = False

    def __init__(self, layers: Iterable[int] | None = None) -> None:
        self.layers = None if layers is None else tuple(layers)
        self.token = next(_TOKENS)
        self.lvlm: LVLM | None = None
        self._tracker: Tracker | None = None
        self._calls: list[tuple[tuple[int, ...] | None, list[Kept]]] = []
        self._replay_of = -1

    # ---- what the user sees -----------------------------------------------------------------

    @property
    def prompts(self) -> list[Kept]:
        """What was kept of each prompt."""
        found: list[tuple[int, int, Kept]] = []
        times: dict[int, int] = {}
        at = 0
        for numbers, kept in self._calls:
            for n, one in enumerate(kept):
                number = at if numbers is None else numbers[n]
                at += 1
                times[number] = times.get(number, -1) + 1
                found.append((times[number], number, one))
        return [one for _, _, one in sorted(found, key=lambda entry: entry[:2])]

    @contextmanager
    def prompt(
        self, stage: Literal["inside", "ends"], numbers: Sequence[int] | None = None
    ) -> Iterator[None]:
        """Say what forward calls in this block are, as `prompt` of an intervention does."""
        assert self._tracker is not None, "a reading is attached while it is used"
        with self._tracker.at(stage, None if numbers is None else tuple(numbers)):
            yield

    def clear(self) -> None:
        """Forget all prompts, to read others in the same block."""
        self._calls = []

    # ---- what the tracker calls -------------------------------------------------------------

    def attach(self, tracker: Tracker) -> None:
        """Get to know the model; called once, before the first call.

        Raises:
            ModelError: layers that the model does not have, or a model that cannot be read.
        """
        self._tracker, self.lvlm = tracker, tracker.lvlm
        count = len(self.lvlm.family.layers(self.lvlm.core))
        if self.layers is None:
            self.layers = tuple(range(count))
        if not self.layers or any(not 0 <= n < count for n in self.layers):
            raise ModelError(
                f"Layers {list(self.layers)} were asked for; expected some of the {count} layers "
                f"of this model, 0 to {count - 1}."
            )

    def hooks(self, current: Callable[[], Call | None]) -> list[Handle]:
        """Further hooks of its own; all seams hook themselves in later."""
        return []

    def begin(self, call: Call) -> None:
        """A call begins to run its layers."""

    def look(self, call: Call, given: Given, work: Work | None) -> None:
        """An attention function has run; `work` is what changed some of its rows, or None."""

    @abstractmethod
    def end(self, call: Call) -> State | None:
        """A call has run: keep what it says of prompts, return what its cache shall carry."""

    def require(self) -> None:
        """Raise ModelError if nothing was read."""
        if not self._calls:
            raise ModelError(
                f"The reading {self.name!r} saw no prompt. Run the model inside the block: by "
                "itself, by generate or by a scorer, with input_ids, and not in a form that was "
                "compiled before (enter first, then compile)."
            )

    # ---- for subclasses ---------------------------------------------------------------------

    def of_call(self, call: Call) -> dict[Any, Any]:
        """What this reading keeps while a call runs."""
        kept: dict[Any, Any] = call.made.setdefault(f"reading {self.token}", {})
        return kept

    def carried(self, call: Call) -> State | None:
        """What the cache of a call brings; None if it brings nothing.

        Raises:
            ModelError: if a part of what was read has been cut off, or was not read.
        """
        if call.history is None:
            return None
        if self.token not in call.history.readings:
            raise ModelError(
                f"The key-value cache holds {call.past} tokens that the reading {self.name!r} has "
                "not seen. Start from an empty cache inside the block."
            )
        state: State | None = call.history.readings[self.token]
        if state is None:
            raise ModelError(
                f"The key-value cache was cropped to {call.past} tokens, within what the reading "
                f"{self.name!r} has summed up. Start from an empty cache."
            )
        return state

    def keep(self, call: Call, kept: Sequence[Kept]) -> None:
        """Add prompts, one a row; in place of the latest ones if their last row ran again."""
        if call.decided is not None:
            self._calls[-1] = (self._calls[-1][0], list(kept))
        else:
            self._calls.append((call.numbers, list(kept)))

    def refuse_missing(self, found: Iterable[int]) -> None:
        """Raise ModelError if a layer that was to be read did not come by."""
        missing = sorted(set(self.layers or ()) - set(found))
        if missing:
            raise ModelError(
                f"The reading {self.name!r} was not shown layers {missing}. A part of the model "
                "was probably compiled before entering: enter first, then compile."
            )


def row_of(layout: Layout, b: int) -> Layout:
    """The layout of row b alone."""
    return layout.take(torch.tensor([b]))
