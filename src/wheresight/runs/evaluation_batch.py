"""How many questions of an evaluation go through the model at once: tried out, noted, halved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from wheresight.errors import RunError
from wheresight.probes.evaluate import trial
from wheresight.runs.progress import Progress
from wheresight.stimuli.benchmarks import Benchmark

if TYPE_CHECKING:
    from wheresight.lvlm.scoring import Scorer

BatchSize = int | Literal["auto"]


def check_batch_size(given: BatchSize) -> None:
    """Raise RunError for what is no batch size."""
    if given != "auto" and given < 1:
        raise RunError(f"The batch size {given} was given; expected 1 or more, or auto.")


def settle(
    scorer: Scorer,
    benchmark: Benchmark,
    specs: Sequence[str],
    *,
    letters: bool,
    before: Mapping[str, Any] | None,
    progress: Progress,
) -> None:
    """With `auto`, set the batch size: what was found before in this folder, or the fastest.

    Args:
        scorer: whose batch size is set.
        benchmark: questions to try it on.
        specs: interventions to try it under.
        letters: as for `evaluate`.
        before: the environment of what is there already.
        progress: who is told.
    """
    from wheresight.lvlm.batch_size import find_batch_size

    hardware = (before or {}).get("hardware", {})
    if hardware.get("batch_size_given_as") == "auto":
        scorer.set_batch_size(int(hardware["batch_size"]))
        return
    progress.say("Trying batch sizes")
    ask, most = trial(scorer, benchmark, specs, letters=letters)
    progress.say(f"Batch size {find_batch_size(scorer, ask, most=most)}")


def noted(environment: Mapping[str, Any], scorer: Scorer, given: BatchSize) -> dict[str, Any]:
    """An environment with the batch size that is in use."""
    sizes = {
        "batch_size": scorer.batch_size,
        "pictures_at_once": scorer.pictures_at_once,
        "batch_size_given_as": given,
    }
    return {**environment, "hardware": {**environment["hardware"], **sizes}}
