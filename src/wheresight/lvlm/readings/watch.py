"""Let readings see what passes the seams of a model: one hook, and one argument."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from wheresight.lvlm.call import Call
from wheresight.lvlm.readings.reading import Reading
from wheresight.lvlm.seams.attention_function import READERS, SwitchedAttention
from wheresight.lvlm.seams.attention_rows import Given, Work
from wheresight.lvlm.seams.seam import Handle
from wheresight.lvlm.wrapper import LVLM


class Watch:
    """All readings of one model, between two changes of what is active on it."""

    def __init__(
        self,
        lvlm: LVLM,
        readings: Sequence[Reading[Any, Any]],
        current: Callable[[], Call | None],
    ) -> None:
        self.module: Any = lvlm.family.language_model(lvlm.core)
        self.readings = tuple(readings)
        self.current = current
        self.copied = False

    def __deepcopy__(self, memo: dict[int, Any]) -> Watch:
        # A copy of the model takes our hooks along, but nobody reads the copy.
        twin = object.__new__(Watch)
        twin.readings, twin.current, twin.copied = (), _no_call, True
        return twin

    def attach(self) -> list[Handle]:
        """Hook the language model, and let its attention function look for our argument."""
        handles: list[Handle] = []
        for reading in self.readings:
            handles += reading.hooks(self.current)
        if any(reading.looks_at_attention for reading in self.readings):
            handles.append(SwitchedAttention(self.module))
        handles.append(self.module.register_forward_pre_hook(self._before, with_kwargs=True))
        return handles

    def _before(
        self, module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        call = self.current()
        if self.copied or call is None or call.measuring:
            return None
        for reading in self.readings:
            reading.begin(call)
        looking = [r for r in self.readings if r.looks_at_attention]
        if not looking:
            return None

        def look(given: Given, work: Work | None) -> None:
            # A layer that is run again for its gradient has been read.
            if self.current() is not call:
                return
            with torch.no_grad():
                for reading in looking:
                    if int(given.module.layer_idx) in (reading.layers or ()):
                        reading.look(call, given, work)

        return args, {**kwargs, READERS: look}


def _no_call() -> None:
    """The call that is running on a copy of the model, as far as the copied hooks know."""
