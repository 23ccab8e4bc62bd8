"""What lies below a folder becomes one page, and its folders stay as they are."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from wheresight.cli.main import app
from wheresight.errors import RunError
from wheresight.runs.compare import CompareRequest, run_compare
from wheresight.runs.diagnose import DiagnoseRequest, run_diagnose
from wheresight.runs.evaluate import EvaluateRequest, run_evaluate
from wheresight.runs.grid_run import GridRequest, run_grid
from wheresight.runs.study import build, find, held_by

BOTH = ("none", "bapa")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A probe, an evaluation, a diagnostic of the same items, and a comparison."""
    folder = tmp_path_factory.mktemp("study")
    asked = {"interventions": BOTH, "replicates": 100}
    run_grid(GridRequest(out=str(folder / "a" / "moved"), items=3, grid="2x2", **asked))  # type: ignore[arg-type]
    run_evaluate(
        EvaluateRequest(
            out=str(folder / "asked"), benchmarks=("2ds#images=2",), blind=False, **asked  # type: ignore[arg-type]
        )
    )  # fmt: skip
    run_diagnose(
        DiagnoseRequest(
            out=str(folder / "inside"), tools=("flow:items=2",), grid="2x2", **asked  # type: ignore[arg-type]
        )
    )  # fmt: skip
    return folder


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_everything_below_a_folder_is_found_in_the_order_of_a_page(study: Path) -> None:
    found = find([str(study), str(study / "asked")])
    assert [one.kind for one in found] == ["Probe", "Evaluation", "Diagnostics"]
    assert held_by(str(study)) is None and held_by(str(study / "asked")) == "Evaluation"


def test_one_page_of_all_and_nothing_in_the_folders_changes(study: Path) -> None:
    before = state(study)
    made = build(find([str(study)]), [str(study)], replicates=100)
    assert made.parts == 4 and made.missing == () and made.samples == {}
    for said in ("right at every place", "Flow, none", "2ds#images=2", "wheresight report"):
        assert said in made.page
    # Attention of the diagnostic lies over the composites of the probe's first two items.
    assert made.page.count('"label":"Flow, ') == 2
    assert state(study) == before
    assert build(find([str(study)]), [str(study)], replicates=100).page == made.page


def test_a_single_folders_page_is_its_own(study: Path) -> None:
    moved = study / "a" / "moved"
    made = build(find([str(moved)]), [str(moved)], replicates=100)
    assert made.page == (moved / "report.html").read_text("utf-8")


def test_a_comparison_at_hand_is_shown_and_not_made_again(study: Path, tmp_path: Path) -> None:
    folders = (str(study / "a" / "moved"), str(study / "asked"))
    run_compare(CompareRequest(folders, str(tmp_path / "both"), replicates=100))
    page = (tmp_path / "both" / "compare.html").read_bytes()
    made = build(find([*folders, str(tmp_path)]), [*folders], replicates=100)
    assert made.parts == 3 and "tmp" not in (tmp_path / "both" / "compare.json").name
    (tmp_path / "both" / "compare.html").unlink()
    done = CliRunner().invoke(app, ["report", str(tmp_path / "both")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "both" / "compare.html").read_bytes() == page


def test_a_part_that_cannot_be_read_hides_no_other(study: Path, tmp_path: Path) -> None:
    (tmp_path / "tuned").mkdir()
    (tmp_path / "tuned" / "choices.json").write_text("[]")
    moved = str(study / "a" / "moved")
    out = tmp_path / "new" / "page.html"
    done = CliRunner().invoke(
        app,
        ["report", moved, str(tmp_path / "tuned"), "--replicates", "100", "-o", str(out)],
    )
    assert done.exit_code == 0, done.output
    assert "Not shown" in done.output and "Report of 1 part" in done.output
    assert "There is no tuning file" in out.read_text("utf-8")
    with pytest.raises(RunError, match="There is no tuning file"):
        build(find([str(tmp_path / "tuned")]), ["x"], replicates=100)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["report", "nowhere", "here", "-o", "x.html"], "There is no folder 'nowhere'"),
        (["report", ".", "-o", "x.html"], "'.' holds no run of wheresight"),
        (["report", ".", "-o", "x.pdf"], "expected an .html file"),
        (["serve", "nowhere"], "There is no folder 'nowhere' to watch"),
    ],
)
def test_what_is_not_there_is_said_in_a_sentence(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, RunError) and said in str(done.exception)
    assert list(tmp_path.iterdir()) == []
