"""A method in a package of its own: really built, installed and used, offline."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("hatchling", reason="the example is built by it, without network")

PACKAGE = Path(__file__).parent.parent / "packages" / "wheresight-example"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the example package is installed in."""
    folder = tmp_path_factory.mktemp("third_party")
    source, target = folder / "source", folder / "site"
    shutil.copytree(PACKAGE, source)  # building leaves files behind
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-index", "--no-deps", "--no-build-isolation"]
    command = [*pip, *offline, "--target", str(target), str(source)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return target


@pytest.fixture(scope="module")
def python(site: Path) -> Callable[..., str]:
    """Run Python with the package in sight; its standard output."""

    def run(*arguments: str) -> str:
        paths = [str(site), os.environ.get("PYTHONPATH", "")]
        path = os.pathsep.join(p for p in paths if p)
        done = subprocess.run(
            [sys.executable, *arguments],
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_it_is_listed(python: Callable[..., str]) -> None:
    listed = json.loads(python("-m", "wheresight", "list", "interventions", "--json"))
    (dim,) = [method for method in listed if method["name"] == "dim"]
    assert dim["seams"] == ["features"]
    assert dim["parameters"] == {"factor": "0.5"}
    assert dim["families"] == "all"
    lines = python("-m", "wheresight", "list", "interventions").splitlines()
    assert any(line.split()[:1] == ["dim"] for line in lines)


CODE = """
import torch, wheresight
from PIL import Image
from wheresight.interventions.spec import canonical
from wheresight.lvlm.encoding import Encoder, Query

lvlm = wheresight.load("pocket", device="cpu")
encoder = Encoder(lvlm)
rows = encoder.encode([Query(Image.new("RGB", (64, 64), "red"), ("Is it red?",))])
def logits(spec):
    with torch.no_grad(), wheresight.intervene(lvlm, spec) as active:
        inputs = encoder.inputs(rows, rows.rows)
        return lvlm.model(**inputs).logits, active.spec
plain, _ = logits("none")
dimmed, spec = logits("bapa+dim:0.25")
same, _ = logits("dim:factor=1")
print(spec, torch.equal(plain, same), torch.equal(plain, dimmed))
try:
    canonical("dim:factor=11")
except wheresight.errors.SpecError as error:
    print(error)
"""


def test_it_runs_on_the_pocket_model(python: Callable[..., str]) -> None:
    first, second = python("-c", CODE).splitlines()
    assert first == "dim:factor=0.25+bapa True False"
    assert second == "The factor of 'dim' cannot be 11.0: expected 0 to 10."


def test_without_the_package_it_is_not_known() -> None:
    from wheresight.errors import SpecError
    from wheresight.interventions.spec import parse

    with pytest.raises(SpecError, match="dim"):
        parse("dim")
