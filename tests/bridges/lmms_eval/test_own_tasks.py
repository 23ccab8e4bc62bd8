"""Our own probe and benchmarks as tasks of lmms-eval: the same numbers as our own verbs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_data import write_vsr, write_whatsup

from wheresight.bridges.lmms_eval import TASKS
from wheresight.lvlm.loading import look_up
from wheresight.probes.scored import score
from wheresight.runs.evaluate import EvaluateRequest, read_records, run_evaluate
from wheresight.runs.grid_run import run_grid
from wheresight.runs.places import open_place
from wheresight.runs.request import GridRequest

GRID = {"items": 3, "question": "contains"}
NAMES = ("wheresight_grid_probe", "wheresight_2ds", "wheresight_whatsup", "wheresight_vsr")


@pytest.fixture(scope="module")
def specs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Benchmarks by the task that asks them."""
    vsr, whatsup = (tmp_path_factory.mktemp(name) for name in ("vsr", "whatsup"))
    write_vsr(vsr)
    write_whatsup(whatsup)
    return {
        "wheresight_2ds": "2ds#images=3",
        "wheresight_whatsup": f"whatsup-a:{whatsup}",
        "wheresight_vsr": f"vsr-zeroshot:{vsr}",
    }


@pytest.fixture(scope="module")
def found(
    specs: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Any]]:
    from in_process import evaluate

    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LMMS_EVAL_DATASETS_CACHE", str(cache))
        size = look_up("pocket").picture_size
        patch.setenv("WHERESIGHT_GRID_PROBE", json.dumps({**GRID, "picture_size": size}))
        patch.setenv("WHERESIGHT_2DS", specs["wheresight_2ds"])
        patch.setenv("WHERESIGHT_WHATSUP", json.dumps({"benchmark": specs["wheresight_whatsup"]}))
        patch.setenv("WHERESIGHT_VSR", specs["wheresight_vsr"])
        yield {spec: evaluate(NAMES, TASKS, spec, 16) for spec in ("none", "bapa")}


def numbers(found: dict[str, Any], spec: str, task: str) -> dict[str, float]:
    own = found[spec]["results"][task]
    named = {key.partition(",")[0]: value for key, value in own.items() if "," in key}
    return {name: value for name, value in named.items() if "_stderr" not in name}


def test_the_grid_probe_is_that_of_probe(found: dict[str, Any], tmp_path: Path) -> None:
    request = GridRequest(
        out=str(tmp_path / "out"), generate=True, interventions=("none", "bapa"),
        device="cpu", replicates=100, picture_workers=0, **GRID,
    )  # fmt: skip
    outcome = run_grid(request)
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert outcome is not None
    for spec, own in zip(("none", "bapa"), results["interventions"], strict=True):
        overall, here = own["overall"], numbers(found, spec, "wheresight_grid_probe")
        wanted = {
            "balanced_accuracy": overall["balanced_accuracy"],
            "hit_rate": overall["hit_rate"],
            "false_alarm_rate": overall["false_alarm_rate"],
            "delta": overall["spread"]["delta"],
            "delta_debiased": overall["spread"]["delta_debiased"],
            "flip_rate": overall["agreement"]["flip_rate"],
            "strict_accuracy": overall["agreement"]["strict_accuracy"],
        }
        for name, estimate in wanted.items():
            assert here[name] == pytest.approx(estimate["value"], abs=1e-12), (spec, name)
    first = numbers(found, "none", "wheresight_grid_probe")
    assert first != numbers(found, "bapa", "wheresight_grid_probe")


@pytest.mark.parametrize("task", NAMES[1:])
def test_benchmarks_are_those_of_evaluate(
    found: dict[str, Any], specs: dict[str, str], task: str, tmp_path: Path
) -> None:
    request = EvaluateRequest(
        out=str(tmp_path / "out"), benchmarks=(specs[task],), interventions=("none", "bapa"),
        max_new_tokens=16, blind=False, device="cpu", replicates=100,
    )  # fmt: skip
    run_evaluate(request)
    records = read_records(open_place(request.out))
    for spec in ("none", "bapa"):
        own = [r for r in records if r["intervention"] == spec]
        strict, exact = score(own, "strict"), score(own, "exact")
        wanted = {
            "accuracy": float(strict.accuracy.value),
            "accuracy_exact": float(exact.accuracy.value),
            "macro_accuracy": float(strict.macro.value),
            "chance_corrected": float(strict.corrected.value),
            "pair_accuracy": float(strict.pairs.share.value) if strict.pairs else math.nan,
            "set_accuracy": float(strict.sets.share.value) if strict.sets else math.nan,
            "balanced_accuracy": float(strict.yes_no.balanced_accuracy.value)
            if strict.yes_no
            else math.nan,
            "f1": float(strict.yes_no.f1.value) if strict.yes_no else math.nan,
        }
        here = numbers(found, spec, task)
        assert "accuracy" in here and len(here) >= 4
        for name, value in here.items():
            assert value == pytest.approx(wanted[name], abs=1e-12), (spec, name)
            assert math.isfinite(value)
        texts = {
            s["doc"]["id"]: s["filtered_resps"][0].strip() for s in found[spec]["samples"][task]
        }
        assert texts == {r["question"]: (r["text"] or "").strip() for r in own}


def test_standard_errors_are_of_averages_alone(found: dict[str, Any]) -> None:
    own = found["none"]["results"]["wheresight_grid_probe"]
    assert isinstance(own["accuracy_stderr_clustered,none"], float)
    for name in ("balanced_accuracy", "delta", "flip_rate", "strict_accuracy"):
        assert own[f"{name}_stderr,none"] == "N/A"
        assert own[f"{name}_stderr_clt,none"] == "N/A"


def test_a_task_without_its_files_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    from wheresight.bridges.lmms_eval.questions import documents_vsr
    from wheresight.errors import StimulusError

    monkeypatch.delenv("WHERESIGHT_VSR", raising=False)
    row = json.loads((TASKS / "settings" / "wheresight_vsr.jsonl").read_text())
    with pytest.raises(StimulusError, match="Set WHERESIGHT_VSR to .*vsr-zeroshot:FOLDER"):
        documents_vsr([row])
