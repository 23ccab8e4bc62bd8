"""`with intervene(model, "bapa"): ...`: change a running model, and put it back exactly."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from wheresight.errors import ModelError
from wheresight.interventions.base import Intervention
from wheresight.interventions.spec import Spec, canonical, parse
from wheresight.lvlm.tracker import TRACKERS, Tracker
from wheresight.lvlm.wrapper import LVLM, wrap

if TYPE_CHECKING:
    import torch


@dataclass(eq=False)
class Active:
    """What `intervene` gives to the block under it.

    Attributes:
        interventions: those of this block and of all blocks around it, in the order they act.
        calls: forward calls of the model so far in this block.
    """

    interventions: tuple[Intervention, ...]
    calls: int = 0
    _tracker: Tracker | None = None

    @property
    def spec(self) -> str:
        """Canonical string of all that is active."""
        return canonical(self.interventions)

    @property
    def watched(self) -> bool:
        """True if a reading watches the model."""
        return self._tracker is not None and bool(self._tracker.readings)

    @contextmanager
    def prompt(
        self,
        stage: Literal["inside", "ends"],
        numbers: Sequence[int] | None = None,
        decided: torch.Tensor | None = None,
    ) -> Iterator[None]:
        """Say what forward calls in this block are: the end of a prompt, or a part before it.

        Needed only by methods that act on the last row of the prompt, where a prompt is given in
        several calls outside of `generate`. Unless told, a call of more than one token is taken to
        end a prompt, and a single token over a cache for one that was generated.

        Args:
            stage: what the calls are.
            numbers: for each row of a call, which prompt it is; readings put theirs in this order.
            decided: (B,), what `Intervention.decide` has returned for these rows, where the first
                logits are known already; the last row then runs once.
        """
        assert self._tracker is not None
        with self._tracker.at(stage, None if numbers is None else tuple(numbers), decided):
            yield

    def calibrate(self, **inputs: Any) -> None:
        """Show the model a prompt with a blank image, for methods that are calibrated on one.

        Only needed where pixels are not given with the prompt itself. What is stored holds for
        images of the same tokens at the same place among a prompt's images.
        """
        assert self._tracker is not None
        self._tracker.measure(inputs)


@contextmanager
def intervene(model: Any, spec: Spec) -> Iterator[Active]:
    """Run a model under interventions: forward, `generate` and training inside the block.

    Blocks nest: an inner one adds to the outer one, as if both were written `outer+inner`, and
    leaving it brings the outer one back. On the way out, also by an exception, the model is what
    it was. Different models are independent. Not for use from several threads on one model.

    Args:
        model: a transformers model, a PEFT model around one, or an LVLM.
        spec: a string (`bapa`, `a+b`), an Intervention, its JSON form, or a list of these.

    Raises:
        SpecError: a spec that cannot be read, methods that contradict each other (also those of an
            outer block), or one that this model cannot host.
        ModelError: on entering, a model that cannot be served. In a call: inputs without
            `input_ids`; a key-value cache built outside or under something else; a seam that was
            not reached. On leaving: no call was seen, but the model had been compiled.
    """
    wanted = parse(spec)
    lvlm = wrap(model)
    refuse_compiled(lvlm)
    tracker = TRACKERS.get(id(lvlm.core)) or Tracker(lvlm)
    active = Active(parse([*tracker.wanted(), *wanted]), _tracker=tracker)
    TRACKERS[id(lvlm.core)] = tracker
    try:
        tracker.push(active, wanted)
        yield active
        if not active.calls and tracker.seams and _compiled_elsewhere(lvlm):
            raise ModelError(
                f"No forward call was seen under {active.spec!r}, but a compiled form of this "
                "model exists: code compiled before entering silently ignores interventions. "
                "Enter first, then compile; or leave out a block in which no model runs."
            )
    finally:
        tracker.pop(active)
        if not tracker.used:
            del TRACKERS[id(lvlm.core)]


def refuse_compiled(lvlm: LVLM) -> None:
    for module in (lvlm.core, lvlm.family.base(lvlm.core), lvlm.family.language_model(lvlm.core)):
        if getattr(module, "_compiled_call_impl", None) is not None:
            raise ModelError(
                f"The {type(module).__name__} was compiled in place, and would silently ignore "
                "interventions. Load the model again, enter the intervention, and compile inside."
            )


def _compiled_elsewhere(lvlm: LVLM) -> bool:
    """True if some torch.compile wrapper around this model, or a part of it, is alive.

    The model does not know of it, so it is looked for among all objects: slow, but only a block
    that saw no call comes here.
    """
    dynamo = sys.modules.get("torch._dynamo.eval_frame")
    if dynamo is None:
        return False
    parts = {id(module) for module in lvlm.model.modules()}
    return any(
        issubclass(type(found), dynamo.OptimizedModule) and id(found._orig_mod) in parts
        for found in gc.get_objects()
    )
