"""Readings: what passes the seams of a running model, reduced as it goes.

    with wheresight.read(model, "attention", rows="last") as reading:
        model(**inputs)
    reading.mass  # (P, L, A, 3): share of attention on system, image and text tokens

A new reading is one file here with a subclass of Reading, and a line below.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal, overload

from wheresight.errors import ModelError, unknown_name
from wheresight.lvlm.intervene import refuse_compiled
from wheresight.lvlm.readings.attention import AttentionReading
from wheresight.lvlm.readings.norms import NormsReading
from wheresight.lvlm.readings.reading import Reading
from wheresight.lvlm.readings.rotary import RotaryReading
from wheresight.lvlm.tracker import TRACKERS, Tracker
from wheresight.lvlm.wrapper import wrap

READINGS: dict[str, type[Reading[Any, Any]]] = {
    reading.name: reading for reading in (AttentionReading, NormsReading, RotaryReading)
}

__all__ = ["READINGS", "AttentionReading", "NormsReading", "Reading", "RotaryReading", "read"]


@overload
def read(
    model: Any, reading: Literal["attention"], **options: Any
) -> AbstractContextManager[AttentionReading]: ...
@overload
def read(
    model: Any, reading: Literal["norms"], **options: Any
) -> AbstractContextManager[NormsReading]: ...
@overload
def read(
    model: Any, reading: Literal["rotary"], **options: Any
) -> AbstractContextManager[RotaryReading]: ...
@overload
def read(model: Any, reading: str, **options: Any) -> AbstractContextManager[Any]: ...
def read(model: Any, reading: str, **options: Any) -> AbstractContextManager[Any]:
    """Watch a model: forward calls, `generate` and scoring inside the block.

    What a model returns is what it would return unwatched, bit for bit. Blocks nest, with each
    other and with `intervene`, in any order: a reading sees what the model does under whatever
    interventions are active.

    Args:
        model: a transformers model, a PEFT model around one, or an LVLM.
        reading: `attention`, `norms` or `rotary`.
        options: of the reading; see its class.

    Raises:
        ModelError: on entering, an unknown reading, an option it does not have, or a model that
            cannot be read. In a call: inputs without `input_ids`, a cache built outside of the
            block, an attention function that cannot be read. On leaving: nothing was read.
    """
    return _read(model, reading, options)


@contextmanager
def _read(model: Any, reading: str, options: dict[str, Any]) -> Iterator[Any]:
    if reading not in READINGS:
        raise ModelError(unknown_name("reading", reading, READINGS))
    lvlm = wrap(model)
    refuse_compiled(lvlm)
    try:
        watching = READINGS[reading](**options)
    except TypeError as error:
        raise ModelError(f"The reading {reading!r} cannot be made ({error}).") from error
    tracker = TRACKERS.get(id(lvlm.core)) or Tracker(lvlm)
    TRACKERS[id(lvlm.core)] = tracker
    try:
        tracker.watch(watching)
        yield watching
        watching.require()
    finally:
        tracker.unwatch(watching)
        if not tracker.used:
            del TRACKERS[id(lvlm.core)]
