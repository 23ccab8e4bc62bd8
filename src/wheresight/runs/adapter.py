"""A trained model, or a model with an adapter, in a run: under what it is measured.

Interventions that are given are applied as given, to the trained model; `none` is that model
without any. Where none are given, it is the one that it, or the adapter on it, was trained under.
What differs from that is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from wheresight.interventions.spec import canonical
from wheresight.runs.progress import Progress

if TYPE_CHECKING:
    from wheresight.lvlm.loading import ModelCard


def interventions_of(
    given: Sequence[str] | None, adapter: str | None, usual: Sequence[str], model: str
) -> tuple[str, ...]:
    """What to measure under: as given, or the adapter's own, or the model's own, or the usual.

    Raises:
        ModelError: a folder that is no adapter; a model that is not known.
    """
    if given:
        return tuple(given)
    if adapter is not None:
        from wheresight.lvlm.adapters import look_at

        return (look_at(adapter).trained_under,)
    own = _own(model)
    return tuple(usual) if own in (None, "none") else (own,)


def _own(model: str) -> str | None:
    """What the model was trained under; None if nothing says so."""
    from wheresight.skeletons import is_skeleton

    if is_skeleton(model):
        return None
    from wheresight.lvlm.loading import resolve
    from wheresight.lvlm.trained import trained_under

    return trained_under(resolve(model))


def say_adapter(card: ModelCard, specs: Sequence[str], progress: Progress) -> None:
    """Say under what the model or the adapter on it was trained, and warn if it is not measured
    so."""
    if card.adapter is not None:
        own, what = card.adapter.trained_under, "the adapter"
        progress.say(f"Adapter {card.adapter.folder}, trained under {own}")
    elif card.trained is not None:
        own, what = card.trained.trained_under, "the model"
        progress.say(f"Model {card.name}, trained under {own}")
    else:
        return
    if own not in [canonical(spec) for spec in specs]:
        progress.say(
            f"Warning: {what} was trained under {own}, and is measured under "
            f"{', '.join(specs)} alone; add --intervention {own} to see what it was trained for"
        )
