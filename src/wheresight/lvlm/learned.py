"""Parameters of methods that are trained with the projector, and live in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from wheresight.errors import ModelError
from wheresight.interventions.base import Intervention

if TYPE_CHECKING:
    import torch

    from wheresight.lvlm.wrapper import LVLM

_INSIDE = "interventions"  # the part of the projector that holds them
Values = Mapping[str, Mapping[str, "torch.Tensor"]]  # by method, by name


def width_of(config: Any) -> int:
    """D of the embeddings, by a model's configuration."""
    return int(config.get_text_config().hidden_size)


def before_training(parts: Iterable[Intervention], width: int) -> dict[str, dict[str, Any]]:
    """What these methods have trained, as it is before; methods without any are left out."""
    found = {part.name: part.learned(width) for part in parts}
    return {name: values for name, values in found.items() if values}


def learned_by(lvlm: LVLM) -> dict[str, Mapping[str, torch.Tensor]]:
    """The parameters that a model holds, by method and name."""
    inside = getattr(lvlm.family.projector(lvlm.core), _INSIDE, None)
    return {} if inside is None else dict(inside.items())


def put_in(lvlm: LVLM, values: Values) -> None:
    """Put parameters into a model's projector, in place of those that it holds.

    They are float32, whatever the model is.

    Raises:
        ModelError: a model without a projector that could hold them.
    """
    import torch
    from torch import nn

    projector = lvlm.family.projector(lvlm.core)
    if projector is None:
        if not values:
            return
        raise ModelError(
            f"{', '.join(values)} is trained with the projector, and {lvlm.name!r} has no "
            "projector of its own. Take a model of another family, such as LLaVA."
        )
    if hasattr(projector, _INSIDE):
        delattr(projector, _INSIDE)
    if not values:
        return
    held = {
        method: nn.ParameterDict(
            {
                name: nn.Parameter(value.detach().to(lvlm.device, torch.float32, copy=True))
                for name, value in own.items()
            }
        )
        for method, own in values.items()
    }
    projector.add_module(_INSIDE, nn.ModuleDict(held))


def without_learned(lvlm: LVLM) -> dict[str, torch.Tensor]:
    """The state of the stock model alone, as its stock class would have it."""
    state: dict[str, torch.Tensor] = lvlm.core.state_dict()
    inside = getattr(lvlm.family.projector(lvlm.core), _INSIDE, None)
    ours = set() if inside is None else {id(p) for p in inside.parameters()}
    names = {name for name, p in lvlm.core.named_parameters() if id(p) in ours}
    return {name: tensor for name, tensor in state.items() if name not in names}
