"""One small study of the pocket model, its page, and a Chromium that may not use the network."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from wheresight.runs.diagnose import DiagnoseRequest, run_diagnose
from wheresight.runs.evaluate import EvaluateRequest, run_evaluate
from wheresight.runs.grid_run import GridRequest, run_grid
from wheresight.runs.study import build, find

CHROMIUM = "WHERESIGHT_CHROMIUM"  # a path, where it is not on PATH
BOTH = ("none", "bapa")


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a probe, an evaluation and a diagnostic, all of the pocket model."""
    folder = tmp_path_factory.mktemp("study")
    run_grid(
        GridRequest(out=str(folder / "moved"), items=8, interventions=BOTH, replicates=100),
        command=["wheresight", "probe", "--out", "moved"],
    )
    run_evaluate(
        EvaluateRequest(
            out=str(folder / "asked"), interventions=BOTH, blind=False, replicates=100,
            # Harder than 2DS itself, of which this model gets nearly all right: there are examples.
            benchmarks=("2ds#images=4,variant=more_objects",),
        )
    )  # fmt: skip
    run_diagnose(
        DiagnoseRequest(
            out=str(folder / "inside"), tools=("flow:items=2",), interventions=BOTH, replicates=100
        )
    )
    return folder


@pytest.fixture(scope="session")
def page_file(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page over all of the study."""
    made = build(find([str(study)]), [str(study)], replicates=100)
    assert made.parts == 4 and not made.missing
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(made.page, "utf-8")
    return path


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """The system's Chromium; none is downloaded."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = os.environ.get(CHROMIUM) or shutil.which("chromium") or shutil.which("google-chrome")
    if not path:
        pytest.skip(f"There is no Chromium on PATH; {CHROMIUM} may say where one is.")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Opens an address in a new window; fails where the page complains or leaves its place."""
    contexts, complaints = [], []

    def open_page(address: str, width: int = 1100, colours: str = "light", **options: Any) -> Any:
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme=colours, **options
        )
        contexts.append(context)
        page = context.new_page()
        origin = "file://" if address.startswith("file://") else address

        def gate(route: Any) -> None:
            if route.request.url.startswith((origin, "data:")):
                route.continue_()
            else:
                complaints.append(f"asked for {route.request.url}")
                route.abort()

        def complain(said: Any) -> None:
            # A live page whose server has ended says so itself, and the browser says it too.
            if said.type == "error" and "ERR_CONNECTION_REFUSED" not in said.text:
                complaints.append(said.text)

        page.route("**/*", gate)
        page.on("console", complain)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
