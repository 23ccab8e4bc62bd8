"""What every seam does: hook itself in, and tell whether it was reached."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol

from wheresight.interventions.base import Intervention
from wheresight.lvlm.call import Call
from wheresight.lvlm.history import History
from wheresight.lvlm.wrapper import LVLM


class Handle(Protocol):
    """A change that can be undone."""

    def remove(self) -> None:
        """Undo it."""


class Seam(ABC):
    """One seam of one model, with the interventions that act on it, in order.

    Args:
        lvlm: the model.
        interventions: those that act on this seam; the second is given what the first returned.
        current: returns the call that is running, or None between calls.
    """

    name: ClassVar[str]

    def __init__(
        self,
        lvlm: LVLM,
        interventions: Sequence[Intervention],
        current: Callable[[], Call | None],
    ) -> None:
        self.lvlm = lvlm
        self.interventions = tuple(interventions)
        self.current = current
        self.copied = False

    def __deepcopy__(self, memo: dict[int, Any]) -> Seam:
        # A copy of the model takes our hooks along, but nobody intervenes on the copy.
        twin = object.__new__(type(self))
        twin.interventions, twin.current, twin.copied = (), _no_call, True
        return twin

    @abstractmethod
    def attach(self) -> Sequence[Handle]:
        """Hook into the model; every change must be undone by removing the handles."""

    def fires(self, call: Call) -> bool:
        """True if a call must have reached this seam by its end."""
        return True

    def commit(self, call: Call, history: History) -> None:  # noqa: B027 (most keep nothing)
        """Write down in the cache's record what later calls need."""


def _no_call() -> None:
    """The call that is running on a copy of the model, as far as the copied hooks know."""


def layer_groups(
    interventions: Sequence[Intervention], layers: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Which layers the interventions treat alike.

    Returns:
        The group of each layer, numbered from 0; and one layer of each group.
    """
    groups: dict[tuple[object, ...], int] = {}
    first = []
    group_of = []
    for layer in range(layers):
        key = tuple(i.layer_key(layer) for i in interventions)
        if key not in groups:
            groups[key] = len(groups)
            first.append(layer)
        group_of.append(groups[key])
    return tuple(group_of), tuple(first)
