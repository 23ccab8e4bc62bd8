"""All that is active on one model: its hooks, and the call that is running.

The seams do the work; here it is decided which seams are needed, what a call is (a prompt, a part
of one, a decode step), and that every seam was reached.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from transformers.cache_utils import Cache

from wheresight.errors import ModelError
from wheresight.interventions.base import SEAMS, Intervention
from wheresight.interventions.host import Host, refuse_unhosted
from wheresight.interventions.spec import beginning, canonical, parse
from wheresight.lvlm.call import Call, Stage, begin, check, commit
from wheresight.lvlm.generation import WatchedGenerate
from wheresight.lvlm.history import attach
from wheresight.lvlm.layout import Layout
from wheresight.lvlm.learned import learned_by
from wheresight.lvlm.readings.reading import Reading
from wheresight.lvlm.readings.watch import Watch
from wheresight.lvlm.replay import Replay
from wheresight.lvlm.seams import SEAM_CLASSES, AttentionSeam, MaskSeam, PositionSeam, Seam
from wheresight.lvlm.seams.features import relayout_of
from wheresight.lvlm.wrapper import LVLM

# Blocks by the id of the model they are about. Until the outermost block is left, this table keeps
# the model alive, and so its id its own.
TRACKERS: dict[int, Tracker] = {}


class Tracker:
    """The hooks on a model's base module, and those of each seam.

    Attributes:
        readings: what watches the model's calls, outer ones first.
        stage: what the next call is, if somebody has said so (see `Call.stage`).
        numbers: how its rows are numbered, if somebody has said so.
        replaying: what was decided for the rows of a prompt whose last row runs again.
        decided: the same for a last row that runs for the first time, if somebody has said so.
        measuring: True while a blank image is measured.
        ended_prompt: for each row of the latest call, True if it was the end of a prompt with
            images; empty if it ended none.
    """

    def __init__(self, lvlm: LVLM) -> None:
        self.lvlm = lvlm
        self.base: Any = lvlm.family.base(lvlm.core)
        self.names = list(inspect.signature(self.base.forward).parameters)
        self.blocks: list[tuple[Any, tuple[Intervention, ...]]] = []
        self.interventions: tuple[Intervention, ...] = ()
        self.readings: list[Reading[Any, Any]] = []
        self.seams: list[Seam] = []
        self.spec = self.beginning = "none"
        self.handles: list[Any] = []
        self.call: Call | None = None
        self.stage: Stage | None = None
        self.numbers: tuple[int, ...] | None = None
        self.replaying: torch.Tensor | None = None
        self.decided: torch.Tensor | None = None
        self.measuring = False
        self.ended_prompt: tuple[bool, ...] = ()

    def __deepcopy__(self, memo: dict[int, Any]) -> Tracker:
        # A model that is copied inside a block takes its hooks along. The copy is a model that
        # nobody intervenes on, so its hooks are given a tracker that does nothing.
        twin = object.__new__(Tracker)
        twin.blocks, twin.seams, twin.readings = [], [], []
        return twin

    # ---- blocks -----------------------------------------------------------------------------

    def wanted(self) -> list[Intervention]:
        """What all blocks ask for, outer ones first."""
        return [i for _, own in self.blocks for i in own]

    def push(self, block: Any, wanted: tuple[Intervention, ...]) -> None:
        """Enter a block."""
        self.blocks.append((block, wanted))
        self._install()

    def pop(self, block: Any) -> None:
        """Leave a block."""
        self.blocks = [(b, own) for b, own in self.blocks if b is not block]
        self._install()

    def watch(self, reading: Reading[Any, Any]) -> None:
        """Let a reading watch all calls."""
        reading.attach(self)
        self.readings = [*self.readings, reading]
        self._install()

    def unwatch(self, reading: Reading[Any, Any]) -> None:
        """Let it watch no more."""
        self.readings = [r for r in self.readings if r is not reading]
        self._install()

    @property
    def used(self) -> bool:
        """True while there is a block or a reading."""
        return bool(self.blocks or self.readings)

    def _install(self) -> None:
        for handle in reversed(self.handles):
            handle.remove()
        self.handles, self.seams, self.spec = [], [], "none"
        self.stage = self.replaying = self.decided = None
        if not self.used:
            return
        interventions = parse(self.wanted())
        refuse_unhosted(interventions, self._host())
        self.spec = canonical(interventions)
        self.beginning = beginning(interventions)
        self.interventions = tuple(i for i in interventions if not i.idle())
        self.relayout = relayout_of(self.interventions)
        self.handles = [
            self.base.register_forward_pre_hook(self.before, with_kwargs=True),
            self.base.register_forward_hook(self.after, with_kwargs=True, always_call=True),
        ]
        if self.readings:
            # Before the seams, so that readings see what the model itself hands from part to part.
            self.handles += Watch(self.lvlm, self.readings, self.running).attach()
        self.seams = self._made_seams()
        for seam in self.seams:
            self.handles += seam.attach()
        if self.readings or any("attention" in i.acting() for i in self.interventions):
            self.handles.append(WatchedGenerate(self))
        for i in self.interventions:
            if i.twice:
                self.handles += Replay(self, i).attach()

    def _host(self) -> Host:
        module: Any = self.lvlm.family.language_model(self.lvlm.core)
        host = self.lvlm.family.host(self.lvlm.core.config)
        return dataclasses.replace(
            host,
            attention=module.config._attn_implementation,
            learned=frozenset(learned_by(self.lvlm)),
        )

    def _made_seams(self) -> list[Seam]:
        acting = {name: [i for i in self.interventions if name in i.acting()] for name in SEAMS}
        made = {}
        for name in SEAMS:
            needed = bool(acting[name])
            # Masks may be made from ids, also from those that nothing has changed.
            needed |= name == "positions" and bool(acting["mask"])
            # Keys are turned once more by what is known of their angles.
            needed |= name == "positions" and any(r.turns for r in self.readings)
            # Hidden tokens have to be masked.
            needed |= name == "mask" and self.relayout is not None
            # Image queries that see other ids than text queries are computed there.
            needed |= name == "attention" and any(i.has_frames() for i in self.interventions)
            # Hidden tokens are left out there where nothing else is masked.
            needed |= name == "attention" and self._leaves_out()
            if needed:
                made[name] = SEAM_CLASSES[name](self.lvlm, acting[name], self.running)
        positions, mask, attention = (made.get(n) for n in ("positions", "mask", "attention"))
        if isinstance(positions, PositionSeam):
            positions.by_layer |= any(r.turns for r in self.readings)
            if isinstance(mask, MaskSeam):
                mask.groups_of_positions = positions.group_of
            if isinstance(attention, AttentionSeam):
                attention.positions = positions
        if isinstance(mask, MaskSeam):
            mask.can_leave_out = self._leaves_out()
        return list(made.values())

    def _leaves_out(self) -> bool:
        """True if the seam of attention leaves hidden tokens out of a call that masks nothing."""
        module: Any = self.lvlm.family.language_model(self.lvlm.core)
        sdpa = module.config._attn_implementation.endswith("sdpa")
        return (
            self.relayout is not None
            and sdpa
            and not any(i.has_frames() for i in self.interventions)
        )

    @property
    def positions(self) -> PositionSeam:
        """The seam of positions, where a reading has asked for it."""
        return next(seam for seam in self.seams if isinstance(seam, PositionSeam))

    # ---- calls ------------------------------------------------------------------------------

    def running(self) -> Call | None:
        """The call that is running."""
        return self.call

    def before(self, base: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Before the base module runs: find out what kind of call it is."""
        if not self.used:  # a copy of the model
            return
        for block, _ in self.blocks:
            block.calls += not (self.measuring or self.replaying is not None)
        inputs: Mapping[str, Any] = {**dict(zip(self.names, args, strict=False)), **kwargs}
        if not self.seams and not self.readings:
            check(self.lvlm, inputs)
            return
        call = begin(self.lvlm, inputs, self.spec, self.beginning)
        call.relayout = self.relayout
        call.stage = self._stage_of(call)
        call.decided = self.decided if self.replaying is None else self.replaying
        call.measuring = self.measuring
        call.numbers = self.numbers
        self._refuse_cut_images(call)
        self._calibrate(call)
        self.call = call
        if call.history is not None:
            call.history.open = True
            self.lvlm.family.recall(self.lvlm.core, call.history.remembered)

    def after(
        self, base: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
    ) -> None:
        """After the base module has run, or failed: write down what the cache now holds."""
        if not self.seams and not self.readings:
            return
        call, self.call = self.call, None
        self.ended_prompt = ()
        if call is None:
            return
        if call.history is not None:
            call.history.open = False
        if out is None:  # an exception is on its way
            return
        for seam in self.seams:
            if seam.name not in call.fired and seam.fires(call):
                raise ModelError(
                    f"The {seam.name} of this model were not reached under {self.spec!r}, so its "
                    "output is that of the stock model. A part of it was probably compiled before "
                    "entering: enter first, then compile."
                )
        if call.measuring:
            return
        if call.stage == "ends":
            self.ended_prompt = tuple(bool(spans) for spans in call.layout().images)
        seen = {reading.token: reading.end(call) for reading in self.readings}
        values = out.values() if isinstance(out, Mapping) else out
        cache = next((v for v in (call.cache, *values) if isinstance(v, Cache)), None)
        if cache is None:
            return
        history = commit(self.lvlm, call, self.spec, self.beginning)
        for seam in self.seams:
            seam.commit(call, history)
        history.readings |= seen
        attach(cache, history)

    def _refuse_cut_images(self, call: Call) -> None:
        needing = next((i for i in self.interventions if i.whole_images), None)
        if needing is not None and call.cuts_an_image:
            raise ModelError(
                f"An image was cut in two by a prefill in chunks, but '{needing}' needs all of its "
                "tokens at once. Give each image whole."
            )

    def _stage_of(self, call: Call) -> Stage:
        if self.replaying is not None or self.measuring:
            return "ends"
        if self.stage is not None:
            return self.stage
        # Nobody has said, so a single token over a cache is taken for one that was generated.
        return "after" if call.past and call.tokens == 1 else "ends"

    @contextlib.contextmanager
    def at(
        self,
        stage: Stage | None,
        numbers: tuple[int, ...] | None = None,
        decided: torch.Tensor | None = None,
    ) -> Iterator[None]:
        """Say what the calls in this block are, how their rows are numbered, and what an
        intervention that looks first has decided for them, so that it need not look."""
        before = self.stage, self.numbers, self.decided
        self.stage, self.numbers, self.decided = stage, numbers, decided
        try:
            yield
        finally:
            self.stage, self.numbers, self.decided = before

    @property
    def settled(self) -> bool:
        """True if nothing has to look at a prompt before it acts on its last row."""
        return self.measuring or self.replaying is not None or self.decided is not None

    @property
    def acts_on_prompt(self) -> bool:
        """True if a method acts on rows of the prompt, so that it matters which call holds it."""
        return any("attention" in i.acting() and not i.decoding for i in self.interventions)

    @property
    def prompt_only(self) -> bool:
        """True if a method or a reading asks which call holds the prompt."""
        return bool(self.readings) or self.acts_on_prompt

    # ---- calibration ------------------------------------------------------------------------

    def _uncalibrated(self, layout: Callable[[], Layout]) -> bool:
        """True if a blank image has still to be measured for the images of a layout."""
        seam = next((s for s in self.seams if isinstance(s, AttentionSeam)), None)
        if seam is None or seam.calibration is None:
            return False
        return not seam.calibration.holds(layout())

    def _calibrate(self, call: Call) -> None:
        """Measure a blank image first, where an intervention needs that and pixels are given."""
        if self.measuring or not self._uncalibrated(call.layout):
            return
        pixels = call.inputs.get("pixel_values")
        if pixels is None or call.past:
            raise ModelError(
                f"The intervention {self.spec!r} is calibrated on a blank image, and no pixels "
                "are given with the first call. Give pixel_values with a whole prompt, or call "
                "calibrate on what `intervene` returned, with the inputs of a blank image."
            )
        self.measure({**call.inputs, "pixel_values": self.lvlm.family.blank(pixels)})

    def measure_blank(self, inputs: Mapping[str, Any]) -> None:
        """The same with the images of these inputs made blank, if that is still to be done."""
        pixels = inputs.get("pixel_values")
        if pixels is None:
            return
        # Over a cache only new images come with pixels; the first call will say what is missing.
        if inputs.get("past_key_values") is not None or inputs.get("input_ids") is None:
            return
        if not self._uncalibrated(lambda: self.lvlm.layout(inputs)):
            return
        self.measure({**inputs, "pixel_values": self.lvlm.family.blank(pixels)})

    def measure(self, inputs: Mapping[str, Any]) -> None:
        """Run a prompt with a blank image, and store what attention its tokens draw."""
        inputs = {k: v for k, v in inputs.items() if k in self.names and k != "past_key_values"}
        inputs.pop("use_cache", None)
        self.measuring = True
        try:
            with torch.no_grad():
                self.base(**inputs, use_cache=False)
        finally:
            self.measuring = False
