"""A model with an adapter in a run: under what it is measured, and what is said where that differs.

Interventions that are given are applied as given, to the adapted model; `none` is the adapted model
without any. Where none are given, it is the one that the adapter was trained under.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from wheresight.interventions.spec import canonical
from wheresight.runs.progress import Progress

if TYPE_CHECKING:
    from wheresight.lvlm.loading import ModelCard


def interventions_of(
    given: Sequence[str] | None, adapter: str | None, usual: Sequence[str]
) -> tuple[str, ...]:
    """What to measure under: as given, or the adapter's own, or the usual.

    Raises:
        ModelError: a folder that is no adapter.
    """
    if given:
        return tuple(given)
    if adapter is None:
        return tuple(usual)
    from wheresight.lvlm.adapters import look_at

    return (look_at(adapter).trained_under,)


def say_adapter(card: ModelCard, specs: Sequence[str], progress: Progress) -> None:
    """Say which adapter is on the model, and warn if it is not measured as it was trained."""
    if card.adapter is None:
        return
    own = card.adapter.trained_under
    progress.say(f"Adapter {card.adapter.folder}, trained under {own}")
    if own not in [canonical(spec) for spec in specs]:
        progress.say(
            f"Warning: the adapter was trained under {own}, and is measured under "
            f"{', '.join(specs)} alone; add --intervention {own} to see what it was trained for"
        )
