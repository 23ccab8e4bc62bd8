"""`wheresight doctor` says what is so, and fails where wheresight cannot be used."""

from __future__ import annotations

import importlib.metadata
import json
import tomllib
from pathlib import Path

import pytest
import torch
import transformers
from typer.testing import CliRunner

from wheresight import checkup
from wheresight.cli.main import app
from wheresight.lvlm.families import all_families


@pytest.fixture(scope="module")
def looked() -> checkup.Checkup:
    return checkup.check_up()


def test_packages_devices_and_families_are_those_of_this_machine(looked) -> None:
    assert looked.usable
    versions = {one.name: one.version for one in looked.packages}
    assert versions["torch"] == torch.__version__
    assert versions["transformers"] == transformers.__version__
    assert not any(one.problem for one in looked.packages)
    assert looked.devices[0].name == "cpu" and looked.devices[0].memory_bytes > 1e8
    assert {one.name for one in looked.families} == set(all_families())
    assert {one.name for one in looked.families if not one.problem} >= {"llava", "qwen2_5_vl"}


def test_the_pocket_model_is_really_tried(looked) -> None:
    checks = {one.name: one for one in looked.checks}
    assert checks["self-check"].ok and checks["self-check"].needed
    assert "bit for bit" in checks["self-check"].said
    assert "model hub" not in checks  # nothing leaves the machine unasked


@pytest.mark.parametrize(
    ("found", "said"), [((False, True), "differs"), ((True, False), "nothing")]
)
def test_a_wrong_model_is_not_usable(found, said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "_compare", lambda: found)
    check = checkup._self_check()
    assert not check.ok and said in check.said


def test_a_missing_package_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    from packaging.requirements import Requirement

    needed = [Requirement("torch>=2"), Requirement("no-such-package>=1.2")]
    more = {"train": [Requirement("no-such-trainer>=3")], "docs": [Requirement("torch>=1")]}
    monkeypatch.setattr(checkup, "_requirements", lambda: (needed, more))
    done = CliRunner().invoke(app, ["doctor", "--json"])
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert not told["usable"] and told["packages"][1]["version"] is None
    assert told["packages"][1]["problem"] == "pip install 'no-such-package>=1.2'"
    extras = {one["name"]: one for one in told["extras"]}
    assert extras["train"]["install"] == "pip install 'wheresight[train]'"
    assert extras["docs"]["install"] == "" and extras["docs"]["missing"] == []
    assert [one["ok"] for one in told["checks"] if one["name"] == "self-check"] == [False]


def test_every_extra_is_told_what_it_is_for() -> None:
    root = Path(__file__).parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    assert set(checkup.EXTRAS) == set(project["optional-dependencies"]) - {"dev"}


def test_a_package_that_is_only_a_folder_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> None:
        raise importlib.metadata.PackageNotFoundError("wheresight")

    monkeypatch.setattr(checkup, "_requirements", absent)
    monkeypatch.setattr(checkup, "_compare", lambda: (True, True))
    found = checkup.check_up()
    assert found.usable and not found.packages and not found.extras
    assert [one.said for one in found.checks if one.name == "installation" and not one.ok]


def test_an_old_package_is_a_problem() -> None:
    from packaging.requirements import Requirement

    assert "is needed" in checkup._package(Requirement("torch>=1000")).problem


def test_a_family_whose_class_is_absent_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import wheresight.lvlm.families as home

    class Future:
        model_class = "NoSuchModelForConditionalGeneration"

    monkeypatch.setattr(home, "all_families", lambda: {"future": Future()})
    (found,) = checkup._families()
    assert "has no NoSuchModelForConditionalGeneration" in found.problem


def test_an_unreachable_hub_is_said_and_forgiven(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # the discard port: refused
    check = checkup._hub()
    assert not check.ok and not check.needed and "cannot be reached" in check.said
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE is set" in checkup._hub().said


def test_people_see_it(looked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "check_up", lambda online: looked)
    done = CliRunner().invoke(app, ["doctor"], env={"COLUMNS": "120"})
    assert done.exit_code == 0
    for said in ("Usable.", "torch", "qwen2_5_vl", "self-check", "2 cores"[1:]):
        assert said in done.stdout, said
