"""The seam of rotary position ids: the rotary module, and the angles that each layer is given.

Not the language model's `position_ids`, although that is where they come from: stock transformers
reads those ids for other ends. Where an id does not follow its neighbour, mask creation and flash
attention see the start of another packed sequence and cut the image off from the text, silently.
Behind the rotary module ids only become angles.

Where all layers get the same ids, the ids are replaced on their way into the rotary module. Where
layers differ, or a method says which frequency turns by which row of ids, the rotary module runs
once more for each group of layers, and each layer is handed the angles of its group.

Legend: R rotary rows (1 or 3), B batch, T tokens of this call, S columns of the history, D width
of a head, G groups of layers.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch

from wheresight.errors import ModelError
from wheresight.interventions.base import Intervention
from wheresight.lvlm.call import Call
from wheresight.lvlm.history import History
from wheresight.lvlm.seams.seam import Handle, Seam, layer_groups
from wheresight.lvlm.wrapper import LVLM

Angles = tuple[torch.Tensor, torch.Tensor]


@dataclass(eq=False)
class Assigned:
    """What was worked out for one call.

    Attributes:
        old: (R, B, T), the ids as the model made them.
        new: for each group of layers, the new ids (R', B, T), or None where they stay.
        full: for each group, the new ids of the whole history (R', B, S); empty in a decode step.
        apart: for each group, (R', B, S): how far the ids that image queries see are from `full`;
            None where they see the same. Empty in a decode step.
        turned: the angles made so far, by rotary call and group.
        calls: the rotary calls seen: their result, and how to make it from other ids.
        used: which of these calls each layer was given the angles of.
    """

    old: torch.Tensor
    new: list[torch.Tensor | None]
    full: list[torch.Tensor] = field(default_factory=list)
    apart: list[torch.Tensor | None] = field(default_factory=list)
    turned: dict[tuple[int, int], Angles] = field(default_factory=dict)
    calls: list[tuple[Angles, Callable[..., Angles]]] = field(default_factory=list)
    used: dict[int, int] = field(default_factory=dict)


class PositionSeam(Seam):
    """Replaces the ids that the rotary modules are given, or the angles that layers are given."""

    name: ClassVar[str] = "positions"

    def __init__(
        self,
        lvlm: LVLM,
        interventions: Sequence[Intervention],
        current: Callable[[], Call | None],
    ) -> None:
        super().__init__(lvlm, interventions, current)
        self.layers = lvlm.family.layers(lvlm.core)
        self.group_of, self.firsts = layer_groups(self.interventions, len(self.layers))
        self.acting = [
            [i for i in self.interventions if i.layer_key(layer) is not None]
            for layer in self.firsts
        ]
        self.framed = any(i.has_frames() for i in self.interventions)
        self.by_layer = (
            self.framed
            or len(self.firsts) > 1
            or any(i.axes(2) is not None for acting in self.acting for i in acting)
        )

    def attach(self) -> list[Handle]:
        """Hook every rotary module of the language model, and its layers if they differ."""
        handles: list[Handle] = []
        for module in self.lvlm.family.rotary(self.lvlm.core):
            handles.append(module.register_forward_pre_hook(self._before_rotary, with_kwargs=True))
            if self.by_layer:
                handles.append(module.register_forward_hook(self._after_rotary, with_kwargs=True))
        if self.by_layer:
            for number, layer in enumerate(self.layers):
                hook = functools.partial(self._before_layer, number)
                handles.append(layer.register_forward_pre_hook(hook, with_kwargs=True))
        return handles

    # ---- hooks ------------------------------------------------------------------------------

    def _before_rotary(
        self, module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        if self.copied:
            return None
        call = self.current()
        if call is None:
            raise ModelError(
                "The language model was called on its own inside an intervention, so its images "
                "cannot be known. Call the whole model."
            )
        old = _ids_of(args, kwargs)
        if self.name not in call.fired:
            # Some families come here once per layer type, with the same ids each time.
            call.fired.add(self.name)
            call.made[self.name] = self._assign(call, old)
        new = call.made[self.name].new[0]
        if self.by_layer or new is None:
            return None
        return _with_ids(args, kwargs, new)

    def _after_rotary(
        self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Angles
    ) -> None:
        call = self.current()
        if self.copied or call is None:
            return
        rows = self.lvlm.family.rotary_rows

        def turn(ids: torch.Tensor, exact: bool = False) -> Angles:
            args_, kwargs_ = _with_ids(args, kwargs, ids.expand(rows, -1, -1))
            if exact:  # angles are of the type of the hidden states, of which nothing else is read
                args_, kwargs_ = _in_float32(args_, kwargs_)
            angles: Angles = module.forward(*args_, **kwargs_)
            return angles

        call.made[self.name].calls.append((out, turn))

    def _before_layer(
        self, number: int, layer: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        call = self.current()
        if self.copied or call is None:
            return None
        made: Assigned = call.made[self.name]
        group = self.group_of[number]
        ids = made.new[group]
        given = kwargs.get("position_embeddings")
        for which, (out, turn) in enumerate(made.calls):
            if out is given:
                made.used[number] = which
                if ids is None:
                    return None
                if (which, group) not in made.turned:
                    made.turned[which, group] = self._angles(group, ids, turn, out)
                return args, {**kwargs, "position_embeddings": made.turned[which, group]}
        if ids is None:
            return None
        raise ModelError(
            f"Layer {number} was not given the angles that the rotary module made, so its "
            "positions cannot be changed in this layer alone."
        )

    # ---- ids --------------------------------------------------------------------------------

    def _assign(self, call: Call, given: torch.Tensor) -> Assigned:
        old = given if given.ndim == 3 else given[None]
        if old.shape[-1] != call.tokens:
            raise ModelError(
                f"The model made position ids for {old.shape[-1]} tokens in a call of "
                f"{call.tokens}. Some models do so where an attention mask covers a cache: pass "
                "position_ids of the new tokens, or let generate count them."
            )
        old = old.expand(old.shape[0], call.batch, call.tokens)
        history = call.history
        if history is not None and history.offsets and not call.new_images:
            # A decode step: text goes on at a constant distance from where it would have been.
            if history.layout.most_images == 0:
                return Assigned(old, [None] * len(history.offsets))
            return Assigned(old, [old + offset for offset in history.offsets])
        # A model spread over devices counts positions where its language model begins.
        layout = call.seen.to(old.device)
        groups = len(self.firsts)
        ids = old if history is None else torch.cat([history.full_ids(), old], -1)
        if layout.most_images == 0:
            return Assigned(old, [None] * groups, [ids] * groups)
        full = [self._of_group(group, ids, layout) for group in range(groups)]
        new = [
            rows[..., call.past :] if self.acting[group] else None
            for group, rows in enumerate(full)
        ]
        apart = [self._apart(group, ids, layout, full[group]) for group in range(groups)]
        return Assigned(old, new, full, apart)

    def _apart(
        self, group: int, ids: torch.Tensor, layout: Any, full: torch.Tensor
    ) -> torch.Tensor | None:
        """How far the ids that image queries see are from those that text queries see."""
        acting, layer = self.acting[group], self.firsts[group]
        if not any(i.has_frames() for i in acting):
            return None
        seen = ids
        for i in acting:
            framed = i.image_positions(seen, layout, layer) if i.has_frames() else None
            seen = i.positions(seen, layout, layer) if framed is None else framed
        return seen - full

    def turn_apart(self, call: Call, number: int) -> Angles | None:
        """Cosines and sines (B, S, D) by which layer `number` turns all tokens for image queries.

        None if image queries see the same ids as text. They are those of the differences of ids,
        so turning an already rotated query or key by them puts it where image queries see it.
        """
        made: Assigned = call.made[self.name]
        group = self.group_of[number]
        apart = made.apart[group] if made.apart else None
        if apart is None:
            return None
        which = made.used[number]
        key = (which, -1 - group)
        if key not in made.turned:
            turn = made.calls[which][1]
            cos, sin = turn(apart)
            # Some models scale their angles' cosines and sines; a rotation must not.
            scale = turn(torch.zeros_like(apart[..., :1]))[0]
            made.turned[key] = cos / scale, sin / scale
        return made.turned[key]

    def ids_of(self, call: Call, number: int) -> torch.Tensor:
        """Ids (R', B, S) of the whole history as text queries see them in layer `number`."""
        made: Assigned = call.made[self.name]
        group = self.group_of[number]
        if not made.full:
            assert call.history is not None, "only a step over a cache is not thought through"
            ids = torch.cat([call.history.full_ids(), made.old], -1)
            layout = call.seen.to(ids.device)
            none = layout.most_images == 0
            groups = range(len(self.firsts))
            made.full = [ids if none else self._of_group(n, ids, layout) for n in groups]
        return made.full[group]

    def turned_as(self, call: Call, number: int) -> tuple[int, int]:
        """Layers for which this is equal turn equal ids by equal angles."""
        made: Assigned = call.made[self.name]
        if number not in made.used:
            raise ModelError(
                f"Layer {number} was not given the angles that the rotary module made, so its keys "
                "cannot be turned once more."
            )
        return made.used[number], self.group_of[number]

    def turn_by(self, call: Call, number: int, apart: torch.Tensor) -> Angles:
        """Cosines and sines (B, S, D), float32, by which differences of ids turn layer `number`.

        Args:
            call: the running call.
            number: of the layer.
            apart: (R', B, S), by how much the ids differ.
        """
        which, group = self.turned_as(call, number)
        made: Assigned = call.made[self.name]
        like, turn = made.calls[which]
        exact = functools.partial(turn, exact=True)
        cos, sin = self._angles(group, apart.float(), exact, like)
        # Some models scale their angles' cosines and sines; a rotation must not.
        scale = exact(torch.zeros_like(apart[:1, :, :1], dtype=torch.float32))[0]
        return cos / scale, sin / scale

    def _of_group(self, group: int, ids: torch.Tensor, layout: Any) -> torch.Tensor:
        """New ids (R', B, S) of the whole history in the layers of one group."""
        new = ids
        for intervention in self.acting[group]:
            given, new = new, intervention.positions(new, layout, self.firsts[group])
            rows = given.shape[0] if intervention.axes(2) is None else new.shape[0]
            if new.shape != (rows, *given.shape[1:]):
                raise ModelError(
                    f"The intervention {intervention} returned position ids of shape "
                    f"{tuple(new.shape)}; expected {tuple(given.shape)}."
                )
        return new

    def _angles(
        self,
        group: int,
        ids: torch.Tensor,
        turn: Callable[[torch.Tensor], Angles],
        like: Angles,
    ) -> Angles:
        """Cosines and sines (B, T, D) of ids (R', B, T)."""
        pairs = like[0].shape[-1] // 2
        axes = next(
            (a for i in reversed(self.acting[group]) if (a := i.axes(pairs)) is not None), None
        )
        if axes is None:
            return turn(ids)
        # Cosines are laid out as all pairs twice over.
        channel = torch.cat([axes, axes]).to(like[0].device)
        of_rows = [turn(row[None]) for row in ids]
        made = []
        for which in (0, 1):
            stacked = torch.stack([angles[which] for angles in of_rows])
            index = channel.expand(1, *stacked.shape[1:])
            made.append(stacked.gather(0, index)[0])
        return made[0], made[1]

    def commit(self, call: Call, history: History) -> None:
        """Keep the original ids; the constant for text to come if the last column is text."""
        made: Assigned = call.made[self.name]
        history.ids.append(made.old)
        if history.offsets and not call.new_images:
            return
        rigid = all(i.text_moves_rigidly for i in self.interventions)
        moved = any(new is not None for new in made.new)
        if moved and (not rigid or call.layout().ends_in_image):
            history.offsets = []
            return
        last = made.old[..., -1:]
        history.offsets = [
            torch.zeros_like(last) if new is None else new[..., -1:] - last for new in made.new
        ]


def _ids_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor:
    ids: torch.Tensor = kwargs["position_ids"] if "position_ids" in kwargs else args[1]
    return ids


def _with_ids(
    args: tuple[Any, ...], kwargs: dict[str, Any], ids: torch.Tensor
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a rotary module with these ids (R, B, T) in them."""
    ids = ids if _ids_of(args, kwargs).ndim == 3 else ids[0]
    if "position_ids" in kwargs:
        return args, {**kwargs, "position_ids": ids}
    return (args[0], ids, *args[2:]), kwargs


def _in_float32(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a rotary module with hidden states of float32, and none in them."""
    if args:
        return (args[0].new_empty(0, dtype=torch.float32), *args[1:]), kwargs
    return args, {**kwargs, "x": kwargs["x"].new_empty(0, dtype=torch.float32)}
