"""Pointing at a part of a picture: the right numbers, as text alone, and no pixel changed."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest
from matplotlib.figure import Figure

from wheresight.probes.diagnostic import Finding
from wheresight.report import tips
from wheresight.report.diagnostics.numbers import finding_tip
from wheresight.report.figures import Picture, comparison_picture
from wheresight.report.inline import drawing
from wheresight.report.measures import measures
from wheresight.report.texts import printable
from wheresight.runs.results import Estimate

SVG = "{http://www.w3.org/2000/svg}"
EVIL = "x\"'><script>alert(1)</script></title>&amp;{{7*7}}\u202e\x1b #1b1f24\nsecond line"


def picture(text: str | None) -> Picture:
    def draw(theme):
        figure = Figure(figsize=(2, 2))
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=theme.text)
        axes.set(xlim=(0, 1), ylim=(0, 1))
        if text is not None:
            tips.spot(axes, text, 0.5, (0.2, 0.8))
            tips.square(axes, text, 0.5, 0.5)
        return figure

    return Picture("x", "x", "x", draw, trim=False)


class Spots(HTMLParser):
    """The texts of a drawing's points, and all of its elements."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.said: list[str] = []
        self.elements: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        self.said += [value for name, value in attrs if name == "data-tip"]


def test_a_text_from_data_is_only_text_in_the_file_and_in_the_page() -> None:
    made = picture(EVIL)
    root = ElementTree.fromstring(made.svg())
    titles = [group.findtext(f"{SVG}title") for group in root.iter(f"{SVG}g")]
    assert [text for text in titles if text] == [printable(EVIL)] * 2
    shown = drawing("x", made)
    read = Spots(shown.wide)
    assert read.said == [printable(EVIL)] * 2 and shown.points
    assert not {"script", "title"} & set(read.elements)
    assert "tip-" not in shown.wide and "\u202e" not in shown.wide


def test_a_picture_with_points_looks_as_without() -> None:
    assert picture(EVIL).png() == picture(None).png()
    assert not drawing("x", picture(None)).points


def test_a_square_lies_where_it_was_put() -> None:
    shown = drawing("x", picture("here")).wide
    found = re.search(r'<rect x="(\S+)" y="(\S+)" width="(\S+)" height="(\S+)"/></g>', shown)
    assert found is not None
    # The whole panel, as matplotlib lays out an only one in 2 x 2 inches of 72 points.
    left, top, width, height = map(float, found.groups())
    assert (left, top) == pytest.approx((0.125 * 144, 0.12 * 144), abs=0.01)
    assert (width, height) == pytest.approx((0.775 * 144, 0.77 * 144), abs=0.01)


def test_a_finding_says_what_it_is_and_where() -> None:
    found = Finding(
        "x.y", "Focus", 1.25, 0.5, 2.0, unit="z", intervention="bapa", versus="none",
        where={"cell": 4, "layer": 3, "condition": "raster"},
    )  # fmt: skip
    assert finding_tip(found) == (
        "bapa minus none\nFocus, place 5, layer 3, raster: +1.25 (+0.50 to +2.00)"
    )
    alone = Finding("x", "Share", 0.125, unit="share")
    assert finding_tip(alone) == "none\nShare: 12.5%"
    assert finding_tip(Finding("x", "Share", float("nan"))) == "none\nShare: undefined"


def test_numbers_are_written_with_unit_interval_and_true_minus() -> None:
    change = Estimate(value=-0.025, low=-0.1, high=0.05, reason=None)
    assert tips.number("minus none", change, "share", signed=True) == (
        "minus none: −2.5 points (−10.0 to +5.0)"
    )
    alone = Estimate(value=0.5, low=None, high=None, reason="It is no sample.")
    assert tips.number("guessing", alone, "share") == "guessing: 50.0%"
    assert tips.number("d'", Estimate.undefined("no negatives"), "z") == "d': undefined"
    assert (tips.span(change, 100), tips.span(alone)) == ((-10.0, 5.0), (0.5, 0.5))


@pytest.mark.parametrize("columns", [1, 2])
def test_every_dot_of_the_comparison_says_its_numbers(typical, columns: int) -> None:
    results = typical.results
    said = Spots(drawing("x", comparison_picture(results, columns)).wide).said
    count = f"{results.counts.items} items about {results.counts.clusters} key pictures"
    shown = 0
    for measure in measures(results):
        for result in results.interventions:
            estimate = measure.read(result.overall)
            first = tips.number(measure.label, estimate, measure.unit)
            (found,) = [s for s in said if s.startswith(f"{result.intervention}\n{first}")] or [""]
            if not found:
                continue
            shown += 1
            changes = [
                tips.number(f"minus {c.a}", measure.read(c.overall), measure.unit, signed=True)
                for c in results.comparisons
                if c.b == result.intervention
            ]
            assert found.split("\n") == [result.intervention, first, *changes, count]
    assert shown == len(said) == 16
