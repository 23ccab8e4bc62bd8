"""What every seam does: hook itself in, and tell whether it was reached."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from torch.utils.hooks import RemovableHandle

from wheresight.interventions.base import Intervention
from wheresight.lvlm.call import Call
from wheresight.lvlm.history import History
from wheresight.lvlm.wrapper import LVLM


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

    def __deepcopy__(self, memo: dict[int, Any]) -> Seam:
        # A copy of the model takes our hooks along, but nobody intervenes on the copy.
        twin = object.__new__(type(self))
        twin.interventions = ()
        return twin

    @abstractmethod
    def attach(self) -> list[RemovableHandle]:
        """Hook into the model; every change must be undone by removing the handles."""

    def commit(self, call: Call, history: History) -> None:  # noqa: B027 (most keep nothing)
        """Write down in the cache's record what later calls need."""
