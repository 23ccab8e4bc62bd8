"""The pages: one for every name, nothing in them out of date, every link leads somewhere."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from fenced import PAGES, ROOT, blocks

from wheresight.interventions.registry import BUILT_IN as METHODS
from wheresight.probes.registry import BUILT_IN as DIAGNOSTICS

DOCS = ROOT / "docs"
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    """The script docs/generate.py."""
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("folder", "names"), [("methods", set(METHODS)), ("diagnostics", set(DIAGNOSTICS))]
)
def test_every_name_has_a_page_and_every_page_a_name(folder: str, names: set[str]) -> None:
    pages = {page.stem for page in (DOCS / folder).glob("*.md")} - {"index"}
    assert pages == names


def test_what_is_made_from_the_classes_is_up_to_date(generate: ModuleType) -> None:
    outdated = [page.relative_to(ROOT).as_posix() for page in generate.outdated()]
    assert not outdated, "Run python docs/generate.py"


def test_an_old_page_would_be_noticed(
    generate: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = DOCS / "methods" / "bapa.md"
    made = {generate.BEGIN: generate.method_block("bapa", {})}
    text = page.read_text("utf-8").replace("| seam | positions |", "| seam | mask |")
    monkeypatch.setattr(generate, "blocks", lambda: [(page, made)])
    assert generate.with_blocks(text, made, page) != text
    assert list(generate.outdated()) == [page]  # without its measured cost it differs


def test_measured_costs_are_read_from_the_benchmarks(generate: ModuleType) -> None:
    costs = generate.measured_costs()
    assert set(costs) <= set(METHODS)
    text = (ROOT / "benchmarks" / "README.md").read_text("utf-8")
    for name in ("none", "bapa", "cca", "uac", "pool"):
        assert costs[name]
        for cost in costs[name]:
            assert cost.partition(" ")[2].rpartition("` ")[2] in text


@pytest.mark.parametrize("name", METHODS)
def test_a_methods_page_has_its_formula_and_its_limits(name: str) -> None:
    page = DOCS / "methods" / f"{name}.md"
    by_hand = page.read_text("utf-8").partition("<!-- End of what is made.")[2]
    heads = re.findall(r"^## (.*)$", by_hand, re.MULTILINE)
    assert heads[:3] == ["Formula", "Use it for", "What it cannot show"]
    assert blocks(page, "text")


@pytest.mark.parametrize("name", DIAGNOSTICS)
def test_a_diagnostics_page_says_how_to_read_it(name: str) -> None:
    text = (DOCS / "diagnostics" / f"{name}.md").read_text("utf-8")
    heads = re.findall(r"^## (.*)$", text, re.MULTILINE)
    for head in (
        "What is measured",
        "How to read its figure",
        "Formula",
        "Patterns",
        "Its records",
    ):
        assert head in heads


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and MyST make them."""
    text = _FENCED.sub("", page.read_text("utf-8"))
    heads = re.findall(r"^#{1,6} (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    text = _FENCED.sub("", page.read_text("utf-8"))
    for match in _LINK.finditer(text):
        path, _, anchor = (match[1] or match[2]).partition("#")
        if re.match(r"[a-z]+:", path):
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{path} in {page.name}"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"#{anchor} in {page.name}"


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("myst_parser", reason="the site is built by the extra [docs]")
    pytest.importorskip("furo", reason="the site is built by the extra [docs]")
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", "-d", tmp_path / "trees"]
    done = subprocess.run(
        [*map(str, command), str(DOCS), str(tmp_path / "site")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "site" / "methods" / "bapa.html").is_file()
    made = (tmp_path / "site" / "index.html").read_text("utf-8")
    assert "README.md" in made and 'href="../README.md"' not in made
