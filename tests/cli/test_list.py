"""`wheresight list interventions` says what is true of every method."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from wheresight.cli.main import app
from wheresight.errors import StimulusError
from wheresight.interventions import canonical, known_interventions
from wheresight.interventions.spec import example
from wheresight.stimuli.benchmarks import BENCHMARKS, benchmarks, open_benchmark
from wheresight.stimuli.benchmarks.about import about


@pytest.fixture(scope="module")
def listed() -> dict[str, dict[str, object]]:
    command = [sys.executable, "-m", "wheresight", "list", "interventions", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {method["name"]: method for method in json.loads(done.stdout)}


def test_every_method_is_listed_with_all_there_is_to_know(listed) -> None:
    assert set(listed) == set(known_interventions())
    for name, method in listed.items():
        assert method["summary"], name
        assert set(method["parameters"]) == set(example(name).parameters()), name
        assert method["families"], name
        assert bool(method["seams"]) == (name != "none")


def test_defaults_are_those_of_the_grammar(listed) -> None:
    for name, method in listed.items():
        given = {k: v for k, v in method["parameters"].items() if v != "..."}
        required = {k for k, v in method["parameters"].items() if v == "..."}
        values = {k: v for k, v in example(name).values().items() if k in required}
        written = ",".join(f"{k}={v}" for k, v in {**given, **values}.items())
        assert canonical(f"{name}:{written}" if written else name) == str(example(name))


def test_families_are_told_apart(listed) -> None:
    assert listed["bapa"]["families"] == "all"
    assert "llava" not in listed["circle"]["families"]
    assert "qwen2_5_vl" in listed["circle"]["families"]
    assert "qwen2_5_vl" not in listed["mrope_on_1d"]["families"]
    assert "llava_next" in listed["id_align"]["families"]


def test_people_see_the_same() -> None:
    command = [sys.executable, "-m", "wheresight", "list", "interventions"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    for name in known_interventions():
        assert any(line.split()[:1] == [name] for line in done.stdout.splitlines()), name
    assert "arXiv 2509.21984" in done.stdout


def test_every_benchmark_says_what_it_asks_and_on_what_terms() -> None:
    as_json = CliRunner().invoke(app, ["list", "benchmarks", "--json"])
    listed = {one["name"]: one for one in json.loads(as_json.stdout)}
    assert set(listed) == set(benchmarks())
    for name in BENCHMARKS:
        one = listed[name]
        assert all(one[field] for field in ("asks", "spec", "get", "licence")), name
        assert one["spec"].startswith(name) and one["licence"] != "not said"
        assert {"control", "part", "sample", "wording"} == set(one["general_options"])
    seen = CliRunner().invoke(app, ["list", "benchmarks"]).stdout
    for name in benchmarks():
        assert any(line.split()[:1] == [name] for line in seen.splitlines()), name
    assert "arXiv 2310.19785" in seen and "whatsup_vlms" in seen


def test_options_that_are_listed_are_those_that_are_taken() -> None:
    taken = {"2ds": "images", "localisation": "items", "own": "coco", "vsr-random": "split"}
    for name, option in taken.items():
        said = about(name, BENCHMARKS[name])
        with pytest.raises(StimulusError, match=option) as refused:
            open_benchmark(f"{name}#no_such_option=1")
        for listed in said.options:
            assert listed in str(refused.value), (name, listed)
