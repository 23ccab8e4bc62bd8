"""`with intervene(model, "bapa"): ...`: change a running model, and put it back exactly."""

from __future__ import annotations

import gc
import inspect
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers.cache_utils import Cache

from wheresight.errors import ModelError
from wheresight.interventions.base import SEAMS, Intervention
from wheresight.interventions.spec import Spec, canonical, parse
from wheresight.lvlm.call import Call, begin, check, commit
from wheresight.lvlm.history import attach
from wheresight.lvlm.seams import SEAM_CLASSES, Seam
from wheresight.lvlm.wrapper import LVLM, wrap


@dataclass(eq=False)
class Active:
    """What `intervene` gives to the block under it.

    Attributes:
        interventions: those of this block and of all blocks around it, in the order they act.
        calls: forward calls of the model so far in this block.
    """

    interventions: tuple[Intervention, ...]
    calls: int = 0

    @property
    def spec(self) -> str:
        """Canonical string of all that is active."""
        return canonical(self.interventions)


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
        SpecError: a spec that cannot be read.
        ModelError: on entering, a model that cannot be served. In a call: inputs without
            `input_ids`; a key-value cache built outside or under something else; a seam that was
            not reached. On leaving: no call was seen, but the model had been compiled.
    """
    wanted = parse(spec)
    lvlm = wrap(model)
    _refuse_compiled(lvlm)
    tracker = _TRACKERS.get(id(lvlm.core)) or _Tracker(lvlm)
    # Until the outermost block is left, this table keeps the model alive, and so its id its own.
    _TRACKERS[id(lvlm.core)] = tracker
    active = Active(parse([*tracker.wanted(), *wanted]))
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
        if not tracker.stack:
            del _TRACKERS[id(lvlm.core)]


_TRACKERS: dict[int, _Tracker] = {}


class _Tracker:
    """All that is active on one model: hooks on its base module, and those of each seam."""

    def __init__(self, lvlm: LVLM) -> None:
        self.lvlm = lvlm
        self.base = lvlm.family.base(lvlm.core)
        self.names = list(inspect.signature(self.base.forward).parameters)
        self.stack: list[tuple[Active, tuple[Intervention, ...]]] = []
        self.seams: list[Seam] = []
        self.spec = "none"
        self.handles: list[Any] = []
        self.call: Call | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> _Tracker:
        # A model that is copied inside a block takes its hooks along. The copy is a model that
        # nobody intervenes on, so its hooks are given a tracker that does nothing.
        twin = object.__new__(_Tracker)
        twin.stack, twin.seams = [], []
        return twin

    def wanted(self) -> list[Intervention]:
        return [i for _, own in self.stack for i in own]

    def push(self, active: Active, wanted: tuple[Intervention, ...]) -> None:
        self.stack.append((active, wanted))
        self._install()

    def pop(self, active: Active) -> None:
        self.stack = [(a, own) for a, own in self.stack if a is not active]
        self._install()

    def _install(self) -> None:
        for handle in self.handles:
            handle.remove()
        self.handles, self.seams, self.spec = [], [], "none"
        if not self.stack:
            return
        interventions = parse(self.wanted())
        self.spec = canonical(interventions)
        self.handles = [
            self.base.register_forward_pre_hook(self.before, with_kwargs=True),
            self.base.register_forward_hook(self.after, with_kwargs=True, always_call=True),
        ]
        for name in SEAMS:
            acting = [i for i in interventions if name in i.seams()]
            if acting:
                seam = SEAM_CLASSES[name](self.lvlm, acting, self.running)
                self.handles += seam.attach()
                self.seams.append(seam)

    def running(self) -> Call | None:
        return self.call

    def before(self, base: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not self.stack:  # a copy of the model
            return
        for active, _ in self.stack:
            active.calls += 1
        inputs: Mapping[str, Any] = {**dict(zip(self.names, args, strict=False)), **kwargs}
        if not self.seams:
            check(self.lvlm, inputs)
            return
        self.call = begin(self.lvlm, inputs, self.spec)
        if self.call.history is not None:
            self.call.history.open = True
            self.lvlm.family.recall(self.lvlm.core, self.call.history.remembered)

    def after(
        self, base: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
    ) -> None:
        if not self.seams:
            return
        call, self.call = self.call, None
        if call is None:
            return
        if call.history is not None:
            call.history.open = False
        if out is None:  # an exception is on its way
            return
        for seam in self.seams:
            if seam.name not in call.fired:
                raise ModelError(
                    f"The {seam.name} of this model were not reached under {self.spec!r}, so its "
                    "output is that of the stock model. A part of it was probably compiled before "
                    "entering: enter first, then compile."
                )
        values = out.values() if isinstance(out, Mapping) else out
        cache = next((v for v in (call.cache, *values) if isinstance(v, Cache)), None)
        if cache is None:
            return
        history = commit(self.lvlm, call, self.spec)
        for seam in self.seams:
            seam.commit(call, history)
        attach(cache, history)


def _refuse_compiled(lvlm: LVLM) -> None:
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
