"""What a method may ask of a model before its weights are loaded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wheresight.errors import SpecError

if TYPE_CHECKING:
    from wheresight.interventions.base import Intervention

# Attention functions that take a mask of their own for each query.
MASKED_ATTENTION = ("sdpa", "eager")


@dataclass(frozen=True)
class Host:
    """What is known of a model from its family and its configuration.

    Attributes:
        family: the `model_type` of its configuration.
        rotary_rows: 1, or 3 under M-RoPE.
        thumbnails: True if an image brings a second, smaller view of itself.
        vision_states: True if the hidden states of the vision tower can be reached.
        vision_layers: which hidden states of the tower the model takes its features from.
        layers, heads: of the language model; None if only the family is known.
        attention: its attention function; None if not known yet.
        learned: names of the methods that the model has trained parameters for.
    """

    family: str
    rotary_rows: int = 1
    thumbnails: bool = False
    vision_states: bool = False
    vision_layers: tuple[int, ...] | None = None
    layers: int | None = None
    heads: int | None = None
    attention: str | None = None
    learned: frozenset[str] = frozenset()


def refuse_unhosted(interventions: Iterable[Intervention], host: Host) -> None:
    """Raise SpecError if this model cannot host one of these."""
    for intervention in interventions:
        reason = (
            intervention.refuses(host)
            or _needs_a_mask(intervention, host)
            or _needs_training(intervention, host)
        )
        if reason:
            raise SpecError(
                f"The intervention '{intervention}' cannot act on this {host.family} model. "
                f"{reason}"
            )


def _needs_a_mask(intervention: Intervention, host: Host) -> str | None:
    if host.attention is None or host.attention.split("|")[-1] in MASKED_ATTENTION:
        return None
    if not (intervention.hides() or "mask" in intervention.acting()):
        return None
    return (
        f"It runs {host.attention} attention, which takes no mask of its own for each query. Use "
        f"{' or '.join(MASKED_ATTENTION)}."
    )


def _needs_training(intervention: Intervention, host: Host) -> str | None:
    if intervention.name in host.learned or not intervention.learned(1):
        return None
    names = ", ".join(intervention.learned(1))
    return (
        f"It has parameters that are trained with the projector ({names}), and this model brings "
        "none. Train the model under it (see: wheresight train), or give a form of it that has "
        "none."
    )
