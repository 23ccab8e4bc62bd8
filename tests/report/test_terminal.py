"""The terminal: complete at any width, with and without colour."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from wheresight.report.measures import (
    cell_measures,
    measures,
)
from wheresight.report.numerals import (
    interval,
    written,
)
from wheresight.report.terminal import print_results


def printed(results, width=100, **options) -> str:
    stream = io.StringIO()
    options = {"color_system": None, "no_color": True} | options
    print_results(results, Console(file=stream, width=width, **options))
    return stream.getvalue()


@pytest.mark.parametrize("width", [40, 60, 100, 160])
def test_every_number_is_there_and_no_line_is_too_long(typical, width):
    text = printed(typical.results, width)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    for result in typical.results.interventions:
        for measure in measures(typical.results):
            estimate = measure.read(result.overall)
            assert written(estimate.value, measure.unit) in text
            assert interval(estimate, measure.unit) in text
        for cell in result.cells:
            assert written(cell.balanced_accuracy.value, "share") in text
    flat = " ".join(text.split())
    assert "no difference between places that these 60 items can show" in flat
    assert "False alarms rise" in flat


@pytest.mark.parametrize(("rows", "columns"), [(1, 2), (8, 8)])
@pytest.mark.parametrize("width", [38, 60, 100])
def test_grids_of_any_size(make, observer, rows, columns, width):
    made = make({"none": observer(1.5)}, rows=rows, columns=columns, items=12, replicates=100)
    text = printed(made.results, width)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    measure = cell_measures(made.results)[0]
    for cell in made.results.interventions[0].cells:
        assert written(measure.read(cell).value, "share") in text
    assert text.count("*") >= 2  # the lowest cell, and what the mark means


def test_colour_is_added_and_not_needed(typical):
    plain = printed(typical.results)
    coloured = printed(
        typical.results, color_system="truecolor", no_color=False, force_terminal=True
    )
    assert "\x1b[" not in plain
    assert "48;2;" in coloured
    sixteen = printed(typical.results, color_system="standard", no_color=False, force_terminal=True)
    assert "\x1b[48" not in sixteen
    assert "\x1b[4;" not in plain


def test_control_characters_of_a_spec_do_not_reach_the_terminal(make, observer):
    made = make({"none": observer(2.0), "x\x1b]0;title\x07[red]\n": observer(2.0)}, items=12)
    text = printed(made.results)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "[red]" in text  # markup is text, not style


def test_ascii_console(typical):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    print_results(typical.results, Console(file=stream, width=80, color_system=None))
    stream.flush()
    text = stream.buffer.getvalue().decode("ascii")
    assert "%^2" in text


def test_unknown_grid(typical):
    unknown = typical.results.model_copy(update={"grid": None})
    assert "9 cells" in printed(unknown)


def test_published_protocol(published):
    text = printed(published.results)
    assert "False-alarm" not in text
    assert "hit rate in %" in text
