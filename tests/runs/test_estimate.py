"""What a study would cost: the arithmetic by hand, the counts of the plan, and a real run."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from warm_commands import wheresight
from wheresight.durations import exact
from wheresight.errors import RunError, WheresightError
from wheresight.runs import estimate as module
from wheresight.runs.estimate import _span, estimate
from wheresight.runs.progress import Silent
from wheresight.runs.request import GridRequest, open_grid

SMALL = {"out": "", "items": 25, "grid": "1x2", "batch_size": 8, "question": "short"}


def test_the_range_by_hand() -> None:
    # Batches of 1, e and e squared seconds: logs 0, 1, 2 with standard deviation 1; the t of
    # two degrees of freedom is 4.302653. Twelve batches: width 4.302653 sqrt(1/3 + 1/12).
    found = _span([1.0, math.e, math.e**2], 12)
    mean = (1 + math.e + math.e**2) / 3
    factor = math.exp(4.302653 * math.sqrt(1 / 3 + 1 / 12))
    assert found.value == pytest.approx(12 * mean)
    assert found.low == pytest.approx(12 * mean / factor, rel=1e-5)
    assert found.high == pytest.approx(12 * mean * factor, rel=1e-5)
    even = _span([2.0, 2.0, 2.0, 2.0], 10)
    assert (even.low, even.value, even.high) == pytest.approx((20, 20, 20))


def test_a_narrower_range_with_more_batches_and_a_longer_study() -> None:
    def width(seconds: list[float], count: float) -> float:
        found = _span(seconds, count)
        return math.log(found.high / found.low)

    assert width([1, 2, 1, 2, 1, 2], 100) < width([1, 2, 1], 100)
    assert width([1, 2, 1], 1000) < width([1, 2, 1], 2)


@pytest.mark.parametrize("items", [1, 2, 7, 25, 200])
@pytest.mark.parametrize("batch_size", [1, 8, 64, 1000])
def test_batches_come_from_all_over_the_plan(items: int, batch_size: int) -> None:
    request = GridRequest(**{**SMALL, "items": items, "batch_size": batch_size})
    probe = open_grid(request, Silent())[1]
    batches = module._batches(probe, batch_size, 5)
    assert len(batches) == 5 and len({len(batch) for batch in batches}) == 1
    assert 1 <= len(batches[0]) <= module.ITEMS_PER_UNIT
    known = {item.id for item in probe.items}
    taken = [item.id for batch in batches for item in batch]
    assert set(taken) <= known
    if items >= len(taken):
        assert len(set(taken)) == len(taken)


@pytest.fixture(scope="module")
def found() -> module.StudyEstimate:
    request = GridRequest(**SMALL, interventions=("none", "bapa", "none"))
    return estimate(request, devices=2, batches=3)


def test_counts_are_those_of_the_plan(found: module.StudyEstimate) -> None:
    request = GridRequest(**SMALL)
    probe = open_grid(request, Silent())[1]
    composites = [c for item in probe.items for c in probe.composites(item)]
    assert (found.items, found.cells, found.composites) == (25, 2, len(composites))
    assert found.questions == 2 * sum(len(c.asks) for c in composites)
    assert found.units == 2 * len(list(probe.shards())) == 6
    assert [one.intervention for one in found.interventions] == ["none", "bapa"]
    assert found.questions_per_second > 0
    assert not found.random_weights


def test_times_add_up(found: module.StudyEstimate) -> None:
    for span in (found.one_device, found.total, *(i.seconds for i in found.interventions)):
        assert 0 < span.low <= span.value <= span.high
    start = found.start_seconds
    # Three groups of items on two devices: one of them does two, and each loads the model.
    assert found.total.value - start == pytest.approx((found.one_device.value - start) * 2 / 3)
    asked = found.questions / found.questions_per_second
    assert found.one_device.value - start == pytest.approx(asked)


def test_memory_is_measured(found: module.StudyEstimate) -> None:
    weights = 2 * 24_000_000  # the shipped file holds half as wide numbers, under this many bytes
    assert 1_000_000 < found.memory.weights_bytes < weights
    assert found.memory.peak_bytes is not None
    assert found.memory.peak_bytes > found.memory.weights_bytes


def test_more_devices_never_take_longer(monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "_measure", lambda *_, **__: (1.0, 2.0, {"none": 2.0}))
    request = GridRequest(**SMALL, interventions=("none",))
    one, three, many = (estimate(request, devices=n, batches=3) for n in (1, 3, 50))
    alone = one.one_device.value - one.start_seconds
    # 25 items in batches of 2 (6 questions each, to fill 8), 3 seconds a batch.
    assert one.items_per_batch == 2
    assert alone == pytest.approx(12.5 * 3)
    assert one.total.value == pytest.approx(one.one_device.value)
    assert three.total.value - three.start_seconds == pytest.approx(alone / 3)
    assert many.total.value - many.start_seconds == pytest.approx(alone / 3)  # three units only


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"devices": 0}, "0 devices were given"),
        ({"batches": 2}, "a range needs 3 or more"),
    ],
)
def test_what_cannot_be_estimated(options: dict[str, int], sentence: str) -> None:
    with pytest.raises(RunError, match=sentence):
        estimate(GridRequest(**SMALL), **options)


def test_bad_input_is_refused_as_by_the_probe() -> None:
    for wrong in ({"model": "pockt"}, {"interventions": ("circle",)}, {"items": 0}):
        with pytest.raises(WheresightError):
            estimate(GridRequest(**{**SMALL, **wrong}))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.04, "0.0 s"),
        (59.94, "59.9 s"),
        (60, "1 min 0 s"),
        (3599.4, "59 min 59 s"),
        (3600, "1 h 0 min"),
        (19_170, "5 h 20 min"),
        (86_400 * 3 + 7200, "3 d 2 h"),
        (86_400 * 3 - 1, "3 d 0 h"),
    ],
)
def test_durations_as_people_say_them(seconds: float, said: str) -> None:
    assert exact(seconds) == said


def test_the_command_prints_json_alone_and_writes_nothing(tmp_path: Any) -> None:
    few = ("--items", "8", "--grid", "1x2", "-i", "none", "--batches", "3")
    done = wheresight("estimate", *few, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert module.StudyEstimate.model_validate(json.loads(done.stdout)).items == 8
    assert not list(tmp_path.iterdir())
