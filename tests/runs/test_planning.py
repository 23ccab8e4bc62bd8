"""Planning at scale: fast, small, and named by what decides the records."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from wheresight.probes.grid import GridProbe, GridSettings
from wheresight.runs import engine
from wheresight.runs.engine import plan
from wheresight.stimuli.sources import open_source

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "planning.py"
SETTINGS = {
    "model": "pocket", "model_revision": "r", "dtype": "float32", "attention": "sdpa",
    "source": "pocket", "source_fingerprint": "f", "protocol": "balanced",
    "question": "is {caption}", "scoring": "first_token", "max_new_tokens": None, "rows": 2,
    "columns": 2, "layout": "swap", "canvas": 96, "tile": 32, "background": "white", "jitter": 0,
    "seed": 0,
}  # fmt: skip
OTHER = {
    "model": "b", "model_revision": "s", "dtype": "bfloat16", "attention": "eager",
    "source": "c", "source_fingerprint": "g", "protocol": "paper", "question": "{caption}?",
    "scoring": "generate", "max_new_tokens": 8, "rows": 1, "columns": 3, "layout": "insert",
    "canvas": 100, "tile": 30, "background": "black", "jitter": 2, "seed": 1, "adapter": "bapa",
}  # fmt: skip


@pytest.fixture(scope="module")
def source():
    return open_source("pocket")


def units(pairs, count: int = 25, specs=("none", "bapa"), **changed) -> list[str]:
    return plan(
        GridProbe(GridSettings(**{**SETTINGS, **changed}), pairs, count), list(specs)
    ).units()


@pytest.mark.parametrize("field", sorted(OTHER))
def test_every_setting_makes_other_units(source, field: str) -> None:
    assert set(OTHER) == set(GridSettings.model_fields)  # a new setting must be tried here too
    assert not set(units(source)) & set(units(source, **{field: OTHER[field]}))


def test_the_schema_makes_other_units(source, monkeypatch: pytest.MonkeyPatch) -> None:
    before = set(units(source))
    monkeypatch.setattr(engine, "SCHEMA_VERSION", engine.SCHEMA_VERSION + 1)
    assert not before & set(units(source))


def test_a_parameter_makes_another_unit_and_its_default_written_out_does_not(source) -> None:
    plain, scaled = units(source, specs=["scalingvis:alpha=0.8"]), units(
        source, specs=["scalingvis:alpha=0.7"]
    )  # fmt: skip
    assert not set(plain) & set(scaled)
    assert plain == units(source, specs=["scalingvis:0.8"])


def test_more_items_and_interventions_keep_the_units_that_were_there(source) -> None:
    few, many = units(source, 20, ["none"]), units(source, 40, ["none", "bapa"])
    assert set(few) < set(many)
    assert len(many) == len(set(many)) == 8


def test_shares_are_the_whole_whatever_is_done(source) -> None:
    whole = plan(GridProbe(GridSettings(**SETTINGS), source, 95), ["none", "bapa"])
    shares = [whole.share(lambda n, r=r: n % 3 == r) for r in range(3)]
    assert sorted(name for share in shares for name in share.units()) == sorted(whole.units())
    done = set(whole.units()[:7])
    again = [whole.left(done).share(lambda n, r=r: n % 3 == r) for r in range(3)]
    for before, after in zip(shares, again, strict=True):
        assert after.units() == [name for name in before.units() if name not in done]
    assert whole.rows == whole.left(done).rows + sum(
        unit.rows for shard in whole.shards for unit in shard.todo if unit.name in done
    )


def test_nine_thousand_composites_in_a_second_and_the_cost_is_flat() -> None:
    small, large = (
        json.loads(
            subprocess.run(
                [sys.executable, str(BENCHMARK), "--one", str(size)],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        )
        for size in (9_000, 90_000)
    )
    assert small["plan_s"] < 2 and small["resume_s"] < 2  # 0.03 s on two idle cores
    assert large["plan_s"] < 10 and large["resume_s"] < 10
    assert large["peak_mb"] < 500
    # Ten times the work in clearly less than a hundred times the time, on a busy machine too.
    for step in ("plan_s", "resume_s"):
        assert large[step] < 40 * max(small[step], 0.01)
