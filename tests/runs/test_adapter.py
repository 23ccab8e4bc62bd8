"""A model with an adapter in a probe, an evaluation and diagnostics: records that never mix."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import peft
import pytest
import torch

import wheresight
from wheresight.errors import ModelError, RunError
from wheresight.runs.adapter import interventions_of
from wheresight.runs.diagnose import DiagnoseRequest, run_diagnose
from wheresight.runs.evaluate import EvaluateRequest, run_evaluate
from wheresight.runs.grid_run import GridRequest, run_grid
from wheresight.runs.progress import Silent
from wheresight.runs.store import RunFolder


class Said(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def about(self, word: str) -> list[str]:
        return [line for line in self.lines if word in line]


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two adapters of the pocket model, of other weights, said to be trained under bapa."""
    made = []
    for seed in (0, 1):
        lvlm = wheresight.load("pocket", device="cpu")
        torch.manual_seed(seed)
        config = peft.LoraConfig(r=2, target_modules=r".*language_model.*(q_proj|v_proj)")
        model = peft.get_peft_model(lvlm.model, config)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if "lora_B" in name:
                    weight.normal_(std=0.2)
        folder = tmp_path_factory.mktemp("adapters") / str(seed)
        made.append(wheresight.save_adapter(model, folder, "bapa"))
    return made


def margins(folder: Path) -> dict[str, list[float]]:
    rows = RunFolder(folder).read().to_pylist()
    found: dict[str, list[float]] = {}
    for row in rows:
        found.setdefault(row["intervention"], []).append(row["margin"])
    return found


def probe(out: Path, **more: Any) -> GridRequest:
    return GridRequest(
        out=str(out), items=2, grid="1x2", protocol="paper", replicates=100, device="cpu", **more
    )


def test_records_of_a_probe_are_of_the_adapted_model(adapters: list[Path], tmp_path: Path) -> None:
    both = ("none", "bapa")
    bare = run_grid(probe(tmp_path / "bare", interventions=both))
    for n, adapter in enumerate(adapters):
        found = run_grid(probe(tmp_path / str(n), adapter=str(adapter), interventions=both))
        assert found.results is not None
        configuration = found.results.configuration
        assert configuration["adapter"] == "bapa"
        assert str(configuration["model_revision"]).startswith(
            str(bare.results.configuration["model_revision"]) + "+adapter-"  # type: ignore[union-attr]
        )
    assert "adapter" not in bare.results.configuration  # type: ignore[union-attr]
    seen = [margins(tmp_path / name) for name in ("bare", "0", "1")]
    for spec in both:
        assert seen[0][spec] != seen[1][spec] != seen[2][spec]
    parts = [{p.name for p in (tmp_path / n / "records").iterdir()} for n in ("bare", "0", "1")]
    units = [{name.partition("-")[0] for name in names} for names in parts]
    assert not (units[0] & units[1] | units[1] & units[2] | units[0] & units[2])


def test_it_is_the_model_with_the_adapter_merged_into_its_weights(
    adapters: list[Path], tmp_path: Path
) -> None:
    """Under the intervention as given; `none` is the adapted model by itself."""
    loaded = wheresight.load("pocket", adapter=adapters[0], device="cpu")
    merged = loaded.model.merge_and_unload()
    merged.save_pretrained(tmp_path / "merged")
    loaded.processor.save_pretrained(tmp_path / "merged")
    both = ("none", "bapa")
    run_grid(probe(tmp_path / "a", adapter=str(adapters[0]), interventions=both))
    run_grid(probe(tmp_path / "b", model=str(tmp_path / "merged"), interventions=both))
    one, other = margins(tmp_path / "a"), margins(tmp_path / "b")
    assert one["none"] != pytest.approx(one["bapa"], abs=1e-2)
    for spec in both:
        assert one[spec] == pytest.approx(other[spec], abs=1e-3)


def test_another_adapter_is_refused_in_the_same_folder(
    adapters: list[Path], tmp_path: Path
) -> None:
    run_grid(probe(tmp_path / "a", adapter=str(adapters[0]), interventions=("bapa",)))
    with pytest.raises(RunError, match="model_revision"):
        run_grid(probe(tmp_path / "a", adapter=str(adapters[1]), interventions=("bapa",)))
    # What counts is what is in it, not where it lies.
    moved = shutil.copytree(adapters[0], tmp_path / "moved")
    found = run_grid(probe(tmp_path / "a", adapter=str(moved), interventions=("bapa",)))
    assert found.rows_computed == 0
    said = json.loads((moved / "intervention.json").read_text())
    said |= {"spec": "none", "intervention": [{"name": "none", "params": {}}]}
    (moved / "intervention.json").write_text(json.dumps(said))
    with pytest.raises(RunError, match="adapter"):
        run_grid(probe(tmp_path / "a", adapter=str(moved), interventions=("bapa",)))


def test_what_it_was_trained_under_is_the_default_and_missed_aloud(
    adapters: list[Path], tmp_path: Path
) -> None:
    own = str(adapters[0])
    assert interventions_of(None, own, ["none"], "pocket") == ("bapa",)
    assert interventions_of(["none"], own, ["none"], "pocket") == ("none",)
    assert interventions_of(None, None, ["none", "bapa"], "pocket") == ("none", "bapa")
    with pytest.raises(ModelError, match="not a PEFT adapter"):
        interventions_of(None, str(tmp_path), ["none"], "pocket")
    for specs, warned in ((("none",), 1), (("none", "bapa"), 0)):
        said = Said()
        request = probe(tmp_path / f"{warned}", adapter=own, interventions=specs)
        run_grid(request, progress=said)
        assert len(said.about("Warning: the adapter was trained under bapa")) == warned
        assert said.about(f"Adapter {own}, trained under bapa")


def test_evaluations_and_diagnostics_tell_adapters_apart(
    adapters: list[Path], tmp_path: Path
) -> None:
    asked = EvaluateRequest(
        out=str(tmp_path / "evaluate"), benchmarks=("localisation#items=2,grid=2x2,wording=bare",),
        interventions=("bapa",), blind=False, replicates=100, device="cpu",
    )  # fmt: skip
    request = DiagnoseRequest(
        out=str(tmp_path / "diagnose"), tools=("norms:items=2",), interventions=("bapa",),
        replicates=100, device="cpu",
    )  # fmt: skip
    units, files = [], []
    for adapter in (None, *map(str, adapters)):
        said = Said()
        found = run_evaluate(_with(asked, adapter), progress=said)
        assert found.configuration.get("adapter") == ("bapa" if adapter else None)
        assert len(said.about("Adapter ")) == bool(adapter)
        units.append(set(json.loads((tmp_path / "evaluate/evaluate.json").read_text())["units"]))
        outcome = run_diagnose(_with(request, adapter), progress=Silent())
        assert outcome.computed == 1
        assert outcome.diagnosis.configuration.get("adapter") == ("bapa" if adapter else None)
        files.append(set(outcome.diagnosis.diagnostics[0].records.values()))
    assert len(set.union(*units)) == sum(map(len, units))
    assert len(set.union(*files)) == 3


def _with(request: Any, adapter: str | None) -> Any:
    return dataclasses.replace(request, adapter=adapter)
