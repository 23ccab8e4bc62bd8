"""A tuning from its grid to its page: what is chosen on, what is reported, and what never is run.

What is right is written down from what the model itself answers, under a setting or as it is, so
that which setting is best is known whatever the model.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from PIL import Image, ImageDraw
from rich.console import Console

import wheresight
from wheresight.errors import RunError, SpecError, StimulusError, WheresightError
from wheresight.lvlm.scoring import Scorer
from wheresight.probes.evaluate import evaluate
from wheresight.report.tuning import cautions, print_tuned, verdict
from wheresight.runs import tune as running
from wheresight.runs.tune import redraw, run_tune
from wheresight.runs.tune_plan import TuneRequest
from wheresight.runs.tuned import Tuned, read
from wheresight.stimuli.benchmarks import open_benchmark

OPTIONS = ["left", "right", "top", "bottom"]
STRONG = (
    "shift:amount=-30.0",
    "shift:amount=30.0",
    "temperature:alpha=0.0",
    "scalingvis:alpha=5.0",
)
Answered = Callable[[str], dict[str, str]]


def write(folder: Path, answers: dict[str, str] | None = None, pictures: int = 16) -> str:
    """Coloured squares, with two questions each that make a set; `left` is right unless told."""
    rows = []
    for n in range(pictures):
        canvas = Image.new("RGB", (96, 96), "white")
        place = [(4, 36), (64, 36), (36, 4), (36, 64)][n % 4]
        colour = ("red", "blue", "green")[n % 3]
        ImageDraw.Draw(canvas).rectangle(
            (*place, place[0] + 18 + n, place[1] + 18 + n), fill=colour
        )
        canvas.save(folder / f"{n}.png")
        for k, stem in enumerate((f"Where is the {colour} square?", "Where is the square?")):
            rows.append({"id": f"{n}.{k}", "image": f"{n}.png", "question": stem,
                         "options": OPTIONS, "answer": (answers or {}).get(f"{n}.{k}", "left"),
                         "category": f"c{k}", "group": f"g{n}", "pair": f"g{n}"})  # fmt: skip
    (folder / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"own:{folder / 'q.jsonl'}"


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> Answered:
    """What the model answers to each question, by the intervention."""
    benchmark = open_benchmark(write(tmp_path_factory.mktemp("asked")))
    found = evaluate(Scorer(wheresight.load("pocket", device="cpu")), benchmark, ["none", *STRONG])
    return lambda spec: {
        r["question"]: r["options"][r["logp"].index(max(r["logp"]))] for r in found[spec]
    }


@pytest.fixture(scope="module")
def strong(answered: Answered) -> str:
    """The setting that changes most answers; a model that looks at pictures changes some."""
    stock = answered("none")
    changed = {s: sum(stock[q] != a for q, a in answered(s).items()) for s in STRONG}
    assert max(changed.values()) > 4
    return max(changed, key=changed.__getitem__)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, answered: Answered, strong: str) -> str:
    """Questions of which the model under that setting gets all right."""
    return write(tmp_path_factory.mktemp("own"), answered(strong))


@pytest.fixture(scope="module")
def grid(strong: str) -> str:
    name, _, item = strong.partition(":")
    parameter, _, value = item.partition("=")
    weak = "0.001" if name == "shift" else "1.001"
    return f"{name}:{parameter}={{{weak},{value}}}"


def request(out: Path, own: str, grid: str, **more: Any) -> TuneRequest:
    given = {"device": "cpu", "replicates": 100, "blind": False, **more}
    return TuneRequest(out=str(out), benchmark=own, intervention=grid, **given)


def refuse(*args: Any, **more: Any) -> Any:
    raise AssertionError("a model was loaded, and there was nothing to do")


@pytest.fixture(scope="module")
def done(
    tmp_path_factory: pytest.TempPathFactory, own: str, grid: str
) -> tuple[Path, TuneRequest, Tuned]:
    other = write(tmp_path_factory.mktemp("other"), pictures=4)
    asked = request(tmp_path_factory.mktemp("run") / "out", own, grid, transfer=(other,))
    return Path(asked.out), asked, run_tune(asked)


def test_the_best_on_validation_is_chosen_and_reported_on_test(
    done: tuple[Path, TuneRequest, Tuned], strong: str
) -> None:
    out, asked, found = done
    assert found == read(out)
    assert found.choice.spec == strong and not found.stock_is_best
    stock, weak, best = found.candidates
    assert stock.spec == "none" and stock.minus_none is None and stock.values == {}
    assert best.objective.value == 1.0 and best.spec == found.choice.spec
    assert weak.values.keys() == best.values.keys() and len(weak.values) == 1
    assert best.minus_none is not None and best.minus_none.value is not None
    assert best.minus_none.value == pytest.approx(1 - (stock.objective.value or 0))
    assert sum(c.chosen_again or 0 for c in found.candidates) == pytest.approx(1)
    assert found.split.kind == "sets" and found.split.shared == 0
    assert found.split.validation.questions + found.split.test.questions == 32
    assert found.test.chosen is not None and found.test.chosen.value == 1.0
    assert found.test.minus_none is not None and found.test.minus_none.low is not None
    assert found.test.result.questions == found.split.test.questions
    assert [side.intervention for side in found.test.result.interventions] == [
        "none", found.choice.spec,
    ]  # fmt: skip
    assert found.test.minus_none == found.test.result.interventions[1].reader("logp").minus_first
    (transfer,) = found.transfer
    assert transfer.result.benchmark == asked.transfer[0] and transfer.result.questions == 8
    assert len(found.looks) == 1
    assert any("beats" in line or "holds" in line for line in verdict(found))


def specs_of(folder: Path) -> dict[str, set[str]]:
    rows = duckdb.sql(
        f"SELECT DISTINCT benchmark, intervention FROM '{folder}/records/*.parquet'"
    ).fetchall()
    found: dict[str, set[str]] = {}
    for benchmark, spec in rows:
        found.setdefault(benchmark, set()).add(spec)
    return found


def test_of_the_test_part_only_the_chosen_setting_has_records(
    done: tuple[Path, TuneRequest, Tuned],
) -> None:
    out, _, found = done
    chosen = {"none", found.choice.spec}
    held = specs_of(out / "test")
    assert set(held) == {found.test.result.benchmark, found.transfer[0].result.benchmark}
    assert all(specs == chosen for specs in held.values())
    on = specs_of(out / "validation")
    assert list(on) == [found.split.validation.benchmark]
    assert on[found.split.validation.benchmark] == set(found.grid.passes)
    asked = [
        duckdb.sql(f"SELECT DISTINCT question, picture FROM '{out}/{part}/records/*.parquet' "
                   f"WHERE benchmark LIKE '%part={part}'").fetchall()
        for part in ("validation", "test")
    ]  # fmt: skip
    assert not {row[1] for row in asked[0]} & {row[1] for row in asked[1]}
    assert len(asked[0]) + len(asked[1]) == 32


def test_the_same_command_again_does_nothing_twice(
    done: tuple[Path, TuneRequest, Tuned], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, asked, found = done
    before = {path: path.read_bytes() for path in out.rglob("*.parquet")}
    page = (out / "tune.html").read_bytes()
    monkeypatch.setattr(running, "load_scorer", refuse)
    assert run_tune(asked) == found
    assert {path: path.read_bytes() for path in out.rglob("*.parquet")} == before
    assert (out / "tune.html").read_bytes() == page


def test_one_model_is_loaded_and_what_is_damaged_is_done_again(
    done: tuple[Path, TuneRequest, Tuned], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, asked, found = done
    copy = tmp_path / "copy"
    shutil.copytree(out, copy, ignore=shutil.ignore_patterns(".lock*"))
    for part in ("validation", "test"):
        sorted((copy / part / "records").iterdir())[0].write_bytes(b"damaged")
    loaded = []
    honest = running.load_scorer

    def counting(*given: Any) -> Any:
        loaded.append(given)
        return honest(*given)

    monkeypatch.setattr(running, "load_scorer", counting)
    again = run_tune(request(copy, asked.benchmark, asked.intervention, transfer=asked.transfer))
    assert len(loaded) == 1
    assert again.candidates == found.candidates and again.choice == found.choice
    assert again.test.chosen == found.test.chosen and again.looks == found.looks


def test_another_choice_on_the_same_test_part_is_counted(
    done: tuple[Path, TuneRequest, Tuned], tmp_path: Path
) -> None:
    out, asked, found = done
    copy = tmp_path / "copy"
    shutil.copytree(out, copy, ignore=shutil.ignore_patterns(".lock*"))
    # Settings that change no answer tie with the model as it is, which is then the choice.
    again = run_tune(request(copy, asked.benchmark, "shift:amount={1e-5,2e-5}"))
    assert again.stock_is_best and again.choice.tied == [one.spec for one in again.candidates[1:]]
    assert [look.chosen for look in again.looks] == [found.choice.spec, "none"]
    assert any("looked at 2 times" in line for line in cautions(again))
    assert "Choices that were tested" in (copy / "tune.html").read_text()
    assert specs_of(copy / "test")[again.test.result.benchmark] == {"none", found.choice.spec}
    assert [side.intervention for side in again.test.result.interventions] == ["none"]


def test_nothing_beats_the_model_as_it_is(tmp_path: Path, answered: Answered, grid: str) -> None:
    own = write(tmp_path, answered("none"))
    found = run_tune(request(tmp_path / "out", own, grid, objective="sets"))
    assert found.stock_is_best and found.choice.spec == "none"
    assert found.test.chosen is None and found.test.minus_none is None
    assert found.candidates[0].objective.value == found.test.none.value == 1.0
    assert verdict(found)[0].startswith("Nothing tuned beats the model as it is")
    assert specs_of(tmp_path / "out" / "test") == {found.test.result.benchmark: {"none"}}
    page = (tmp_path / "out" / "tune.html").read_text()
    assert "Nothing tuned beats the model as it is" in page
    console = Console(width=140, record=True)
    print_tuned(found, console)
    assert "Nothing tuned beats the model as it is" in console.export_text()


def test_text_is_read_as_published_and_settings_are_put_together(tmp_path: Path, own: str) -> None:
    grid = "adaptvis:low={0,1},high={1,4},threshold={0,0.5,1}"
    asked = request(tmp_path / "out", own, grid, split="published", max_new_tokens=3)
    found = run_tune(asked)
    assert found.chosen_by.reader == "published"
    by_spec = {one.spec: one for one in found.candidates}
    assert len(by_spec) == 13 and len(found.grid.passes) == 3
    assert [look.configuration["max_new_tokens"] for look in found.looks] == [3]
    # The confidence is never below 0.
    lowest = [one for one in by_spec.values() if one.values.get("threshold") == "0"]
    assert {one.unsure for one in lowest} == {0, None}  # both factors 1 change nothing: no look
    assert by_spec["adaptvis:low=1.0,high=4.0,threshold=0.0"].objective == (
        by_spec["adaptvis:low=0.0,high=4.0,threshold=0.0"].objective
    )
    # Rows are drawn alone here, so sets are cut.
    assert found.split.shared > 0 and found.split.validation.questions == int(0.2 * 32)
    assert any("cuts sets and pictures" in line for line in cautions(found))
    assert "threshold" in (tmp_path / "out" / "tune.html").read_text()


def test_a_threshold_that_the_last_digits_decide_is_run_itself(tmp_path: Path, own: str) -> None:
    part = open_benchmark(f"{own}#part=validation")
    scorer = Scorer(wheresight.load("pocket", device="cpu"))
    first = evaluate(scorer, part, ["none"])["none"][0]["confidence"]
    found = run_tune(request(tmp_path / "out", own, f"adaptvis:threshold={{0.1,{first!r}}}"))
    assert found.grid.passes.count(f"adaptvis:threshold={first!r}") == 1
    assert len(found.grid.passes) == 4  # with none, and the two that the other is made of
    assert found.candidates[2].unsure is None and found.candidates[1].unsure is not None


def test_the_page_is_made_again_from_the_numbers(done: tuple[Path, TuneRequest, Tuned]) -> None:
    out, _, found = done
    page = (out / "tune.html").read_bytes()
    (out / "tune.html").unlink()
    again, address = redraw(str(out))
    assert again == found and address == (out / "tune.html").resolve().as_uri()
    assert (out / "tune.html").read_bytes() == page


def test_the_page_asks_the_network_for_nothing(done: tuple[Path, TuneRequest, Tuned]) -> None:
    out, _, found = done
    page = (out / "tune.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert page.count("<script") == 1 and "default-src 'none'" in page.replace("&#39;", "'")
    assert "Used for choosing" in page and "not a result" in page
    assert page.count("chosen</span>") == 1 and str(out.name) in page
    assert {path.name for path in (out / "figures").iterdir()} == {
        "tune-validation.png", "tune-validation.svg",
    }  # fmt: skip
    console = Console(width=140, record=True)
    print_tuned(found, console)
    said = console.export_text()
    assert "Used for choosing" in said and "chosen minus none" in said


def test_what_is_refused_before_a_model_loads(
    tmp_path: Path, own: str, grid: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "load_scorer", refuse)

    def refused(kind: type[WheresightError], said: str, **more: Any) -> None:
        fields = {"benchmark": own, "intervention": grid, **more}
        asked = TuneRequest(out=str(tmp_path / "out"), device="cpu", **fields)
        with pytest.raises(kind, match=said):
            run_tune(asked)

    refused(RunError, "No intervention was given", intervention="")
    refused(SpecError, "nothing to choose", intervention="scalingvis:alpha=2")
    refused(SpecError, "circle", intervention="circle:radius={1,2}+scalingvis:alpha={1,2}")
    refused(RunError, "Unknown grid", grid="publish")
    refused(RunError, "Unknown split", split="adaptvis")
    refused(RunError, "Unknown objective", objective="recall")
    refused(RunError, "Unknown reader", reader="logits")
    refused(RunError, "reads generated text", reader="published")
    refused(RunError, "does not go with --letters", letters=True, max_new_tokens=2, reader="last")
    refused(RunError, "does not go with no --letters", max_new_tokens=2, reader="letter")
    refused(RunError, "is one part already", benchmark=f"{own}#part=test")
    refused(RunError, "not of yes and no", objective="balanced-accuracy")
    refused(RunError, "no complete sets", objective="sets", benchmark=own, split="published",
            transfer=(write_halves(tmp_path),))  # fmt: skip
    refused(RunError, "no part in the choice", transfer=(own,))
    refused(StimulusError, "is no file", transfer=("own:/nowhere/q.jsonl",))
    assert not (tmp_path / "out").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("mine")
    with pytest.raises(RunError, match="holds no tuning"):
        run_tune(request(tmp_path / "full", own, grid))


def write_halves(folder: Path) -> str:
    """A benchmark whose sets are never whole: WhatsUp with one of four relations."""
    (folder / "controlled_images").mkdir()
    Image.new("RGB", (20, 10)).save(folder / "controlled_images" / "mug_on_table.jpeg")
    captions = ["A mug on a table", *(f"A mug {w} a table" for w in ("under", "behind", "left"))]
    row = {"image_path": "data/controlled_images/mug_on_table.jpeg", "caption_options": captions}
    (folder / "controlled_images_dataset.json").write_text(json.dumps([row]))
    return f"whatsup-a:{folder}"
