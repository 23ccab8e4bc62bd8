"""Two-way tables of positions by masks, and the overview of runs with many interventions."""

from __future__ import annotations

import io

from rich.console import Console

from wheresight.interventions.spec import canonical
from wheresight.report.crossed import crossed
from wheresight.report.html import page
from wheresight.report.numerals import interval, written
from wheresight.report.terminal import print_results

FOUR = ("none", "mask:bidirectional", "bapa", "bapa+mask:bidirectional")


def made_of(make, observer, specs, **options):
    strengths = {canonical(spec): observer(1.2 + n / 4) for n, spec in enumerate(specs)}
    return make(strengths, items=12, replicates=100, **options)


def printed(results, width) -> str:
    stream = io.StringIO()
    print_results(results, Console(file=stream, width=width, color_system=None, no_color=True))
    return stream.getvalue()


def test_two_by_two(make, observer):
    table = crossed(made_of(make, observer, FOUR).results)
    assert table is not None
    assert table.rows == ("none", "bapa")
    assert table.columns == ("none", "mask:bidirectional")
    specs = {place: found.intervention for place, found in table.cells.items()}
    assert specs == {
        ("none", "none"): "none",
        ("none", "mask:bidirectional"): "mask:bidirectional",
        ("bapa", "none"): "bapa",
        ("bapa", "mask:bidirectional"): "bapa+mask:bidirectional",
    }


def test_an_incomplete_table_is_no_table(make, observer):
    assert crossed(made_of(make, observer, FOUR[:3]).results) is None
    assert crossed(made_of(make, observer, ("none", "bapa")).results) is None


def test_a_mask_tried_once_does_not_spoil_the_table(make, observer):
    table = crossed(made_of(make, observer, (*FOUR, "mask:ring", "cca")).results)
    assert table is not None
    assert set(table.rows) == {"none", "bapa"}
    assert set(table.columns) == {"none", "mask:bidirectional"}


def test_a_method_that_is_not_installed_is_left_out(make, observer):
    made = make({"none": observer(1.0), "absent:x=1": observer(1.0)}, items=12, replicates=100)
    assert crossed(made.results) is None


def test_the_page_and_the_terminal_show_it(make, observer):
    made = made_of(make, observer, FOUR)
    html = page(made.results, made.records)
    assert 'id="crossed"' in html
    assert html.count('href="#crossed"') == 1
    text = printed(made.results, 120)
    assert "the model's own mask" in text
    for result in made.results.interventions:
        estimate = result.overall.balanced_accuracy
        shown = f"{written(estimate.value, 'share')} ({interval(estimate, 'share')})"
        assert shown in text
    plain = made_of(make, observer, ("none", "bapa"))
    assert 'id="crossed"' not in page(plain.results, plain.records)


def test_many_interventions_are_one_line_each(make, observer):
    specs = ("none", "bapa", "cca", "mca", "reverse", "bapa_far", "v2pe", "shuffle")
    made = made_of(make, observer, specs)
    text = printed(made.results, 120)
    assert "Headline numbers" in text
    assert "All numbers" not in text
    for result in made.results.interventions:
        row = next(x for x in text.splitlines() if x.strip().startswith(f"{result.intervention} "))
        assert written(result.overall.balanced_accuracy.value, "share") in row
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 120
