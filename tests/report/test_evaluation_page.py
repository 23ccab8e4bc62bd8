"""The page and the terminal of an evaluation: safe, complete, and as the numbers are."""

from __future__ import annotations

import html.parser
import io
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from wheresight.probes.evaluate import Evaluated
from wheresight.report.evaluation import numbers, words
from wheresight.report.evaluation.boxes import AtHand, LabelledBox
from wheresight.report.evaluation.build import NO_BENCHMARK, page, write_page
from wheresight.report.evaluation.examples import choose
from wheresight.report.evaluation.pictures import accuracy_picture
from wheresight.report.evaluation.terminal import print_evaluation
from wheresight.runs.evaluation import summarise
from wheresight.runs.evaluation_results import BenchmarkResult, Evaluation
from wheresight.runs.results import Bootstrap, Environment

EVIL = "<script>alert(1)</script>\"'&\u202e"
WAYS = ("left", "right")
VOID = {"meta", "link", "br", "img", "source", "input"}


def record(
    number: int, said: str, right: str, spec: str = "none", benchmark: str = "b", **more: Any
) -> Evaluated:
    options = more.pop("options", WAYS)
    logp = [-0.2 if option == said else -2.0 for option in options]
    base = Evaluated(
        benchmark=benchmark, control="", question=f"q{number}", cluster=f"c{number}",
        category=f"is {right}", group=f"g{number // 2}", group_size=2, pair="", prompt="Where?",
        letters=False, options=list(options), right=list(options).index(right), present=None,
        picture=f"p{number}", intervention=spec, intervention_json="[]", logp=logp,
        mean_logp=logp, ended=False, confidence=0.9, text=said,
    )  # fmt: skip
    base.update(more)  # type: ignore[typeddict-item]
    return base


def rights(spec: str = "none", benchmark: str = "b", wrong: int = 0) -> list[Evaluated]:
    """Sixteen questions, of which the first so many are answered wrongly."""
    found = []
    for n in range(16):
        right = WAYS[n % 2]
        found.append(record(n, WAYS[(n + (n < wrong)) % 2], right, spec, benchmark))
    return found


def whole(records: list[Evaluated], specs: tuple[str, ...] = ("none", "bapa")) -> Evaluation:
    return Evaluation(
        schema_version=1,
        command=f"wheresight evaluate {EVIL}",
        configuration={"model": EVIL},
        environment=Environment.capture(hardware={"device": EVIL}),
        bootstrap=Bootstrap(
            replicates=200, seed=0, level=0.95, cluster="cluster", clusters=16, method="m"
        ),
        benchmarks=summarise(records, specs, replicates=200),
        caution=None,
    )


def entry(records: list[Evaluated]) -> BenchmarkResult:
    return whole(records).benchmarks[0]


class Tags(html.parser.HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.names: list[str] = []
        self.targets: list[str] = []
        self.boxes: list[str] = []  # what pointing at each says
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.targets += [v or "" for k, v in attrs if k in ("src", "href", "srcset")]
        if ("class", "box") in attrs:
            self.boxes.append(dict(attrs)["data-tip"] or "")
        assert not any(k.startswith("on") for k, _ in attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, self.getpos()

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def drawn(name: str) -> AtHand:
    return AtHand(lambda question: Image.new("RGB", (300, 200), "red"))


@pytest.fixture(scope="module")
def records() -> list[Evaluated]:
    blank = [{**r, "control": "blank"} for r in rights(wrong=8)]
    mirrored = [
        record(
            n,
            WAYS[(n + (1 if n or spec == "none" else 0)) % 2],
            WAYS[(n + 1) % 2],
            spec,
            "b#control=mirror",
        )
        for spec in ("none", "bapa")
        for n in range(16)
    ]
    return [*rights(), *rights("bapa", wrong=6), *blank, *mirrored]  # type: ignore[list-item]


@pytest.fixture(scope="module")
def evaluation(records: list[Evaluated]) -> Evaluation:
    return whole(records)


def test_nothing_from_data_is_markup_and_nothing_is_fetched(stays_at_home) -> None:
    nasty = [
        record(n, said, "left", spec, EVIL, options=("left", EVIL), prompt=EVIL, category=EVIL,
               picture=EVIL + str(n), text=EVIL)
        for spec in ("none", EVIL)
        for n, said in enumerate(("left", EVIL))
    ]  # fmt: skip
    text = page(whole(nasty, ("none", EVIL)), nasty, drawn)
    read = Tags(text)
    stays_at_home(text)
    assert {"iframe", "object", "form"}.isdisjoint(read.names)
    assert all(target.startswith(("data:", "#")) for target in read.targets)
    assert "\u202e" not in text and "alert(1)" in read.text
    assert text.count("<img") == 1 and text.count("<svg") == 2


def test_what_the_page_says_is_what_was_found(
    evaluation: Evaluation, records: list[Evaluated]
) -> None:
    read = Tags(page(evaluation, records, drawn))
    first = evaluation.benchmarks[0].interventions[1].readers[0]
    assert first.accuracy.value == 10 / 16
    for said in ("62.5%", "−37.5 points", "guessing 50.0%", "blank pictures", "above every"):
        assert said in read.text, said
    assert "100.0% (79.4 to 100.0) of the answers of the model as published follow" in read.text
    assert "Right under none, wrong under bapa." in read.text
    assert "before the control" in read.text and "16 questions" in read.text


def test_pictures_that_cannot_be_drawn_are_said_to_be_missing(
    evaluation: Evaluation, records: list[Evaluated]
) -> None:
    text = page(evaluation, records, lambda name: None)
    assert NO_BENCHMARK in Tags(text).text and "webp" not in text
    assert NO_BENCHMARK not in page(evaluation, records, drawn)


def boxed(boxes: list[LabelledBox]) -> tuple[Tags, str]:
    """The page of one wrong answer about a red picture with these boxes."""
    wrong = rights(wrong=1)
    at_hand = AtHand(lambda question: Image.new("RGB", (200, 100), "red"), lambda question: boxes)
    text = page(whole(wrong, ("none",)), wrong, lambda name: at_hand)
    return Tags(text), text


def test_labels_of_boxes_are_only_text(stays_at_home) -> None:
    script = "<script>alert(2)</script>"
    read, text = boxed([((10, 10, 50, 60), script), ((60, 10, 90, 60), EVIL)])
    stays_at_home(text)
    assert read.names.count("script") == 1  # our own
    (first, place), (second, _) = [tip.split("\n") for tip in read.boxes]
    assert (first, second) == (script, EVIL.replace("\u202e", "\ufffd"))
    assert place == "10 to 50 across, 10 to 60 down, in pixels"
    assert 'style="left:5.000%;top:10.000%;width:20.000%;height:50.000%"' in text
    assert f"In the boxes: 1 {script} , 2 <script>alert(1)" in read.text


def test_a_box_partly_outside_is_drawn_and_one_wholly_outside_is_told() -> None:
    read, _ = boxed([((-40, 20, 20, 60), "edge"), ((300, 0, 310, 9), "far")])
    (tip,) = read.boxes
    assert tip.split("\n")[0] == "edge" and tip.endswith("Partly outside of the picture")
    assert "In the box: edge . 1 box lies outside of the picture." in read.text


def test_without_boxes_there_is_no_switch_and_no_word_of_them(
    evaluation: Evaluation, records: list[Evaluated]
) -> None:
    for read in (boxed([])[0], Tags(page(evaluation, records, drawn))):
        assert read.boxes == [] and "input" not in read.names
        assert "In the box" not in read.text and "Boxes of what is asked" not in read.text
    assert "input" in boxed([((0, 0, 9, 9), "")])[0].names


def test_files_of_an_older_page_go(
    evaluation: Evaluation, records: list[Evaluated], tmp_path: Path
) -> None:
    figures = tmp_path / "figures"
    figures.mkdir()
    for name in ("accuracy-9-old.png", "mine.png"):
        (figures / name).write_text("x")
    assert write_page(tmp_path, evaluation, records, drawn) == "evaluation.html"
    names = sorted(path.name for path in figures.iterdir())
    assert names == ["accuracy-1-b.png", "accuracy-1-b.svg", "accuracy-2-b-control-mirror.png",
                     "accuracy-2-b-control-mirror.svg", "mine.png"]  # fmt: skip
    with Image.open(figures / "accuracy-1-b.png") as picture:
        assert picture.width > 600
    assert write_page(tmp_path, evaluation, records, drawn)
    again = (figures / "accuracy-1-b.svg").read_bytes()
    assert accuracy_picture(evaluation.benchmarks[0], 1, 2).svg() == again


def test_the_alternative_text_says_what_is_shown(evaluation: Evaluation) -> None:
    alt = accuracy_picture(evaluation.benchmarks[0], 1, 1).alt
    assert "none 100.0% (79.4 to 100.0); bapa 62.5%" in alt
    assert "guessing 50.0%; most frequent answer 50.0%; blank pictures 50.0%" in alt


def test_examples_are_changed_answers_and_the_surest_faults() -> None:
    none = [*rights(wrong=2), record(20, "left", "right")]
    none[-1]["logp"] = [-0.01, -9.0]  # wrong, and the surest of all
    bapa = [*rights("bapa", wrong=4), record(20, "left", "right", "bapa")]
    bapa[0] = record(0, "left", "left", "bapa")
    found = choose({"none": none, "bapa": bapa}, each=1)
    assert [example.question for example in found] == ["q2", "q0", "q20"]
    assert [example.why.split(",")[0] for example in found] == [
        "Right under none", "Wrong under none", "Wrong under every intervention",
    ]  # fmt: skip
    reading = found[2].readings[0]
    assert (reading.picked, reading.right, round(reading.share, 3)) == ("left", False, 1.0)
    assert choose({"none": rights()}) == []
    same = [{**r, "picture": "p"} for r in rights(wrong=5)]
    assert len(choose({"none": same})) == 1  # type: ignore[dict-item]


def test_an_answer_that_stayed_under_a_control_is_shown_with_the_one_before() -> None:
    after = [record(n, "left", WAYS[n % 2]) for n in range(4)]
    before = [record(n, "left", WAYS[(n + 1) % 2]) for n in range(4)]
    found = choose({"none": after}, before, each=1)
    assert found[0].question == "q1" and "did not" in found[0].why  # right before, wrong after
    assert found[0].before is not None and found[0].before[0].right
    assert not found[0].readings[0].right and found[0].before[1] == "left"


def test_sets_that_were_cut_are_counted_in_both_ways() -> None:
    part = [r for r in rights() if r["question"] != "q1"]  # of 8 sets one is cut
    lines = {line.label: line for line in numbers.together(entry(part), readers=1)}
    assert lines["all of a set"].numbers[0].value == 1.0  # type: ignore[union-attr]
    assert lines["all of a set, as published"].numbers[0].value == 7 / 7.5  # type: ignore[union-attr]
    assert "7 asked whole, 1 in part" in lines["all of a set"].note


def test_sentences_go_no_further_than_their_intervals() -> None:
    seen = entry([*rights(), *rights("bapa", wrong=8)])
    assert words.verdict(seen, seen.interventions[0].readers[0].accuracy) == words.ABOVE
    assert words.verdict(seen, seen.interventions[1].readers[0].accuracy) == words.NOT_ABOVE
    assert "fewer are right" in words.comparison(seen, 1)
    alike = entry([*rights(wrong=4), *rights("bapa", wrong=4)])
    assert "show no difference" in words.comparison(alike, 1)
    better = entry([*rights(wrong=8), *rights("bapa")])
    assert "more are right" in words.comparison(better, 1) and words.control(better) == ""


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_terminal_needs_80_columns_for_any_number_of_interventions(count: int) -> None:
    specs = ("none", "bapa", "mca", "cca", "agci:lambda=0.3")[:count]
    found = whole([r for n, spec in enumerate(specs) for r in rights(spec, wrong=n)], specs)
    stream = io.StringIO()
    print_evaluation(found, Console(file=stream, width=80))
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= 80 and not any("…" in line for line in lines)
    assert lines[2].startswith("right by likeliest option; likeliest option by token")
    if count == 1:
        assert re.search(r"100\.0 \(79\.4 to 100\.0\)", stream.getvalue())
        return
    row = next(line for line in lines if line.startswith("  bapa"))
    assert re.fullmatch(r"  bapa +93\.8 \(.+ to .+\) +-6\.2 \(.+ to .+\) minus none *", row)
    assert "guessing 50.0; always the most frequent answer 50.0" in " ".join(
        " ".join(lines).split()
    )
