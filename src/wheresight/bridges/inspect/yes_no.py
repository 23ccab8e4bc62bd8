"""Read Yes or No from what a model answered, and score it."""

from __future__ import annotations

from inspect_ai.scorer import (
    CORRECT,
    INCORRECT,
    Metric,
    Score,
    Scorer,
    Target,
    grouped,
    scorer,
)
from inspect_ai.solver import TaskState

from wheresight.bridges.inspect.metrics import (
    balanced_accuracy,
    false_alarm_rate,
    hit_rate,
    spread,
)
from wheresight.errors import StimulusError, unknown_name
from wheresight.lvlm.answers import read_answer
from wheresight.probes.text_answers import read

_OPTIONS = ("Yes", "No")
READINGS = ("first_word", "exact", "strict", "first", "last")
# What stands for each number that a reading returns; its last entry is for None.
_NAMES = ("yes", "no", "neither")


def readings(text: str) -> dict[str, str]:
    """What a text says, yes, no or neither, in each way of reading.

    `first_word` is that of `wheresight probe --generate`; the others are those of
    `wheresight.probes.text_answers`.

    >>> readings("Yes, not No.")["first_word"], readings("Yes, not No.")["strict"]
    ('yes', 'neither')
    """
    found = read(text, _OPTIONS)
    said = {name: getattr(found, name) for name in READINGS[1:]}
    return {
        "first_word": read_answer(text),
        **{name: _NAMES[2 if number is None else number] for name, number in said.items()},
    }


def metrics(protocol: str = "balanced") -> list[Metric]:
    """The numbers of the grid probe under a protocol; the first is the one to look at."""
    cells = "cell"
    hits = grouped(hit_rate(), cells, all=False, name_template="hit_rate_cell_{group_name}")
    if protocol == "paper":
        return [hit_rate(), hits, spread()]
    both = grouped(
        balanced_accuracy(),
        cells,
        all=False,
        name_template="balanced_accuracy_cell_{group_name}",
    )
    return [balanced_accuracy(), hit_rate(), false_alarm_rate(), both, hits, spread()]


@scorer(metrics=metrics())
def yes_no(reading: str = "first_word") -> Scorer:
    """Is the answer the right one of Yes and No? An answer that is neither is wrong.

    Args:
        reading: which way of reading decides: `first_word`, `exact`, `strict`, `first`, `last`.
            All of them are kept in the score's metadata.

    Raises:
        StimulusError: an unknown way of reading.
    """
    if reading not in READINGS:
        raise StimulusError(unknown_name("reading", reading, READINGS))

    async def score(state: TaskState, target: Target) -> Score:
        text = state.output.completion
        said = readings(text)
        answer = said[reading]
        return Score(
            value=CORRECT if answer == target.text.lower() else INCORRECT,
            answer=answer,
            explanation=text,
            metadata={"readings": said},
        )

    return score
