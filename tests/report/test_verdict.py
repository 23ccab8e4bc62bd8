"""Both sides on a page, on the plane and in a terminal: safe, whole, and no more than is known."""

from __future__ import annotations

import io
import itertools
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from wheresight.report.figures import DARK, LIGHT, recoloured
from wheresight.report.numerals import interval
from wheresight.report.verdict import words
from wheresight.report.verdict.page import page
from wheresight.report.verdict.plane import Box, places, plane
from wheresight.report.verdict.terminal import print_verdict
from wheresight.runs.comparable import BenchmarkRecords, Comparable, ProbeRecords
from wheresight.runs.compare import CompareRequest, compare
from wheresight.runs.verdict import Verdict

EVIL = 'x"><script>alert(1)</script>{{7*7}}</title>\u202e'
VOID = {"meta", "link", "br", "img", "source", "input"}


def asked(rates: dict[str, float], name: str, seed: int, count: int = 90) -> dict[str, list[Any]]:
    """Answers to questions of four options; the same luck for all."""
    luck = np.random.default_rng(seed).random(count)
    options = ["top left", "top right", "bottom left", "bottom right"]
    return {
        spec: [
            {"benchmark": name, "control": "", "question": f"q{n:03}", "cluster": f"{name}{n // 3}",
             "category": "", "group": "", "group_size": 0, "pair": "", "prompt": "Where?",
             "letters": False, "options": options, "right": n % 4, "present": None, "picture": "",
             "intervention": spec, "intervention_json": "[]",
             "logp": np.roll([0.0, -1, -2, -3], n % 4 if luck[n] < rate else n + 1).tolist(),
             "mean_logp": [0.0, -1, -2, -3], "ended": True, "confidence": 1.0, "text": None}
            for n in range(count)
        ]
        for spec, rate in rates.items()
    }  # fmt: skip


@pytest.fixture(scope="module")
def build(make, observer):
    """A verdict on made-up observers: sensitivity, criterion, and how often they know where."""

    def built(given: dict[str, tuple[Any, float, float]], **more: Any) -> Verdict:
        made = make({s: observer(d, c) for s, (d, c, _) in given.items()}, items=30)
        settings = {**made.results.configuration, "model": more.pop("model", "pocket")}
        rates = {spec: rate for spec, (_, _, rate) in given.items()}
        fewer = {spec: rates[spec] for spec in rates if spec not in more.get("lacking", ())}
        benchmarks = [
            BenchmarkRecords("first", "first#a=1", False, ("e",), asked(rates, "first", 1), []),
            BenchmarkRecords(more.pop("second", "second"), "second", False, ("e",),
                             asked(fewer, "s", 2), []),
        ]  # fmt: skip
        probe = ProbeRecords("probe 3 x 3", ("p",), settings, ("c",), made.records, tuple(rates))
        found = Comparable(
            {"model": settings["model"], "dtype": "float32"}, (probe,), tuple(benchmarks),
            (("2ds#control=mirror", "e", "It is a control."),), tuple(rates),
        )  # fmt: skip
        request = CompareRequest(("p", "e"), replicates=300)
        return compare(found, request, command=more.pop("command", "wheresight compare p e"))

    return built


@pytest.fixture(scope="module")
def typical(build):
    return build(
        {"none": ((5, 5, 5, 5, 5, 5, 5, 5, 2), 0.0, 0.8), "bapa": (6.0, 0.0, 0.4),
         "eager": (1.0, -9.0, 0.8), "unasked": (5.0, 0.0, 0.8)},
        lacking=("unasked",),
    )  # fmt: skip


class Reader(HTMLParser):
    """Reads a page and complains of elements that are not closed as they were opened."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, self.getpos()

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_the_page_says_what_the_verdict_says(typical: Verdict) -> None:
    source = page(typical)
    read = Reader(source)
    exact = {a["value"] for tag, a in read.elements if tag == "data"}
    for one in typical.interventions:
        assert one.sentence.replace(" -", " −").replace("(-", "(−") in read.text
        assert one.verdict in read.text
        for numbers in (*one.probes, *one.benchmarks):
            for _, value in numbers:
                estimates = [getattr(value, "estimate", None), getattr(value, "difference", None)]
                for estimate in filter(None, estimates):
                    assert repr(estimate.value) in exact
    assert words.front_note(typical) in read.text
    assert "unasked is not on the plane: it was not measured by second." in read.text
    assert "Left out of awareness: 2ds#control=mirror . It is a control." in read.text
    assert "eager: It answers Yes to " in read.text


def test_the_page_is_one_safe_file(build, stays_at_home) -> None:
    evil = build(
        {"none": (4.0, 0.0, 0.7), EVIL: (3.0, -0.5, 0.6)}, model=EVIL, second=EVIL,
        command=f"wheresight compare {EVIL}",
    )  # fmt: skip
    source = page(evil)
    read = Reader(source)
    stays_at_home(source)
    assert {tag for tag, _ in read.elements}.isdisjoint({"iframe", "object", "form"})
    for _, attributes in read.elements:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "srcset"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#"))
    assert "\u202e" not in source and "{{7*7}}" in read.text and "49" not in read.text[:200]
    assert "<script" not in plane(evil).svg().decode()
    ElementTree.fromstring(plane(evil, "narrow").svg())


def test_the_plane_is_drawn_alike_every_time_on_light_and_dark(typical: Verdict) -> None:
    picture = plane(typical)
    png, svg = picture.png(), picture.svg()
    assert (png, svg) == (plane(typical).png(), plane(typical).svg())
    image = Image.open(io.BytesIO(png))
    assert image.width > 1000 and len(image.convert("RGB").getcolors(1 << 22)) > 100
    assert LIGHT.text.encode() not in recoloured(svg, DARK)
    for one in typical.interventions:
        assert f"{one.intervention}: right at every place " in picture.alt
    assert Image.open(io.BytesIO(plane(typical, "narrow").png())).width < 720


@pytest.mark.parametrize("count", [1, 8, 24])
def test_labels_cover_neither_marks_nor_each_other(count: int) -> None:
    random = np.random.default_rng(3)
    inside = Box(50, 40, 500, 370)
    marks = [(float(x), float(y)) for x, y in random.uniform((150, 120), (380, 300), (count, 2))]
    sizes = [(float(w), 9.0) for w in random.uniform(20, 110, count)]
    found = places(marks, sizes, [], inside)
    for one, other in itertools.combinations(found, 2):
        assert one.covers(other) == 0
    for box, (x, y) in itertools.product(found, marks):
        assert box.covers(Box(x - 3, y - 3, x + 3, y + 3)) == 0
        assert box.covers(inside) == pytest.approx(box.area)


def test_labels_leave_lines_free_where_they_can_and_stay_on_the_picture() -> None:
    inside = Box(0, 0, 200, 100)
    corner = (199.0, 99.0)
    (box,) = places([corner], [(60.0, 9.0)], [], inside)
    assert box.covers(inside) == pytest.approx(box.area)
    middle = (100.0, 50.0)
    upright, level = Box(100, 0, 100, 100), Box(0, 50, 200, 50)
    (box,) = places([middle], [(60.0, 9.0)], [upright, level], inside)
    assert not box.meets(upright) and not box.meets(level)


def test_a_label_stands_nearest_to_its_own_mark() -> None:
    def gap(mark: tuple[float, float], box: Box) -> float:
        nearest = (np.clip(mark[0], box.left, box.right), np.clip(mark[1], box.bottom, box.top))
        return float(np.hypot(mark[0] - nearest[0], mark[1] - nearest[1]))

    marks = [(100.0, 80.0), (118.0, 82.0), (136.0, 78.0)]
    lines = [Box(x, 20, x, 150) for x, _ in marks] + [Box(20, y, 280, y) for _, y in marks]
    found = places(marks, [(44.0, 9.0)] * 3, lines, Box(0, 0, 300, 170))
    for mark, box in zip(marks, found, strict=True):
        assert all(gap(mark, box) <= gap(other, box) + 0.5 for other in marks)


def test_equal_points_have_labels_that_can_both_be_read() -> None:
    found = places([(100.0, 50.0)] * 3, [(40.0, 9.0)] * 3, [], Box(0, 0, 300, 200))
    assert all(a.covers(b) == 0 for a, b in itertools.combinations(found, 2))


@pytest.mark.parametrize("width", [44, 60, 80, 120])
def test_the_terminal_keeps_to_its_width(typical: Verdict, width: int) -> None:
    stream = io.StringIO()
    print_verdict(typical, Console(file=stream, width=width))
    said = stream.getvalue()
    assert all(len(line) <= width for line in said.splitlines())
    flat = " ".join(said.split())
    for one in typical.interventions:
        assert one.sentence.split("(")[0].strip() in flat
    if width < 80:
        assert "widen to 80" in flat
    else:
        bapa = typical.interventions[1]
        assert bapa.awareness.difference is not None
        assert f"{100 * bapa.awareness.difference.value:+.1f}" in said  # type: ignore[operator]
        assert "…" not in said and "widen" not in flat
        assert interval(bapa.awareness.difference, "share", signed=True) in said


def test_what_is_called_constant_and_what_is_called_a_floor(build) -> None:
    found = build({"none": (0.3, 0.0, 0.5), "bapa": (0.4, 0.0, 0.5)})
    assert any("at this floor the axis can tell little apart" in text for text in found.cautions)
    no = build({"none": (4.0, 0.0, 0.5), "bapa": (4.0, 9.0, 0.5)})
    assert no.interventions[1].verdict == "nearly always No"
    assert no.interventions[1].robustness.estimate.value == 0


def test_the_number_of_comparisons_is_told(typical: Verdict, build) -> None:
    note = words.multiplicity_note(typical)
    # Two interventions; nine numbers of the probe, two of each benchmark, the mean of benchmarks.
    assert note.startswith("28 differences from none were looked at, each with its own 95% ")
    assert "about 1.4 would not" in note and "3 pairs of interventions" in note
    alone = build({"none": (4.0, 0.0, 0.5)})
    assert words.multiplicity_note(alone).startswith("Nothing was compared")
    assert words.front_note(alone) == (
        "On the Pareto front, by point estimates: none. The intervals leave no doubt about it."
    )


def test_long_names_fold_and_numbers_do_not(build) -> None:
    long = "scalingvis:alpha=1.25+bapa:layers=0-15"
    found = build({"none": (4.0, 0.0, 0.7), long: (3.0, 0.0, 0.6)})
    stream = io.StringIO()
    print_verdict(found, Console(file=stream, width=80))
    said = stream.getvalue()
    assert all(len(line) <= 80 for line in said.splitlines())
    for side in (found.interventions[1].robustness, found.interventions[1].awareness):
        assert side.difference is not None
        table = said.partition("Changes from")[0]
        assert interval(side.estimate, "share") in table
        assert interval(side.difference, "share", signed=True) in table
