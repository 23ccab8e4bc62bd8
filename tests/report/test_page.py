"""The page: one safe file that says what the results say."""

from __future__ import annotations

import itertools
import re
from html.parser import HTMLParser

import pytest

from wheresight.report.build import write_report
from wheresight.report.html import page
from wheresight.report.measures import cell_measures, measures

VOID = {"meta", "link", "br", "img", "source", "input"}


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
        assert len({name for name, _ in attrs}) == len(attrs), (tag, attrs)
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, self.getpos()

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.words.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def source(typical, draw):
    return page(typical.results, typical.records, draw)


@pytest.fixture(scope="module")
def read(source):
    return Reader(source)


def test_it_asks_the_network_for_nothing(source, read, stays_at_home):
    stays_at_home(source)
    for _, attributes in read.elements:
        for name in ("src", "href", "srcset", "action", "data", "poster", "background"):
            value = attributes.get(name)
            assert value is None or name == "data" or value.startswith(("data:", "#")), value
    assert {tag for tag, _ in read.elements}.isdisjoint(
        {"iframe", "object", "embed", "base", "audio", "video"}
    )
    assert not [a for _, a in read.elements if any(name.startswith("on") for name in a)]
    assert len(source.encode()) < 3_000_000


def test_texts_from_data_are_only_text(make, observer, draw, stays_at_home):
    nasty = ("<script>alert(1)</script>", "{{7*7}} {% raw %}", "</style><img src=x onerror=a()>")
    spec = 'x"><script>alert(2)</script>{{7*7}}</title>'
    made = make(
        {"none": observer((2, 0, 0, 0, 2, 2, 0, 2, 0)), spec: observer(0.5, -1)},
        items=3, captions=[*nasty], command="wheresight probe\n --out '<b>{{7*7}}' \x1b[31m\u202e",
    )  # fmt: skip
    results = made.results.model_copy(
        update={
            "configuration": {"model": "<i>m</i>", "</pre>": {"<u>": ["<s>", None]}},
            "environment": made.results.environment.model_copy(
                update={"versions": {"<script>": "</table>"}, "date": "<date>"}
            ),
        }
    )
    text = page(results, made.records, draw)
    found = Reader(text)
    stays_at_home(text)
    assert {a["src"][:5] for a in found.all("img")} == {"data:"}
    assert "{{7*7}}" in found.text
    assert all(caption in found.text for caption in nasty)
    assert spec in found.text
    for said in (
        "<i>m</i>",
        "</pre>.<u>",
        '["<s>", null]',
        "<date>",
        "'<b>{{7*7}}' \ufffd[31m\ufffd",
    ):
        assert said in found.text
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_every_number_shown_is_the_number_of_the_results(typical, read):
    shown = [a["value"] for a in read.all("data")]
    exact = {str(float(v)) for v in shown}
    results = typical.results
    wanted = []
    for result in results.interventions:
        wanted += [m.read(result.overall) for m in measures(results)]
        wanted += [m.read(c) for c in result.cells for m in cell_measures(results)]
    for comparison in results.comparisons:
        wanted += [m.read(comparison.overall) for m in measures(results)]
        wanted += [cell_measures(results)[0].read(c) for c in comparison.cells]
    for estimate in wanted:
        for number in (estimate.value, estimate.low, estimate.high):
            assert str(float(number)) in exact
    known = {str(float(n)) for e in _estimates(results.model_dump()) for n in e if n is not None}
    known |= {str(float(margin)) for margin in typical.records["margin"].to_pylist()}
    assert exact <= known


def _estimates(node):
    if isinstance(node, dict):
        if {"value", "low", "high"} <= set(node):
            yield node["value"], node["low"], node["high"]
        for child in node.values():
            yield from _estimates(child)
    elif isinstance(node, list):
        for child in node:
            yield from _estimates(child)


def test_rounded_text_agrees_with_the_exact_value(source):
    pairs = re.findall(r'<data class="value" value="([^"]+)">([−+\d.]+)(%| points)</data>', source)
    assert len(pairs) > 50
    for exact, text, _ in pairs:
        rounded = float(text.replace("−", "-"))
        assert min(abs(rounded - float(exact) * k) for k in (1, 100)) < 0.0501


def test_it_is_accessible(read):
    html = read.all("html")[0]
    assert html["lang"] == "en"
    assert all(a.get("alt") for a in read.all("img"))
    levels = [int(tag[1]) for tag, _ in read.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
    assert len(read.all("caption")) == len(read.all("table"))
    assert all(a.get("scope") in ("row", "col") for a in read.all("th"))
    ids = [a["id"] for _, a in read.elements if "id" in a]
    assert len(ids) == len(set(ids))
    targets = {a["href"][1:] for a in read.all("a")}
    assert targets <= set(ids)
    scrolled = [a for a in read.all("div") if a.get("class") == "scroll"]
    assert all(a["tabindex"] == "0" and a["aria-label"] for a in scrolled)


def test_it_holds_what_a_reader_needs(typical, read):
    text = read.text
    assert typical.results.command in text
    for said in (
        "Two sides",
        "awareness",
        "Cochran's Q",
        "McNemar",
        "Criterion shift",
        "numpy 2.0",
        "Items left out",
        "150 bootstrap replicates",
    ):
        assert said in text
    images = [a for a in read.all("img") if a["src"].startswith("data:image/webp")]
    assert len(images) == 6 * 9
    assert {a.get("aria-label") for a in read.all("span") if a.get("role") == "img"} == {
        "right",
        "wrong",
    }


def test_without_a_renderer_it_is_complete_but_for_pictures(typical):
    found = Reader(page(typical.results, typical.records, None))
    assert "The pictures could not be drawn, because the source" in found.text
    assert not [a for a in found.all("img") if "webp" in a["src"]]
    assert len([a for a in found.all("ul") if a.get("class") == "readings"]) == 6 * 9


def test_a_renderer_that_fails_is_reported(typical):
    def fail(recipe):
        raise OSError("no such <picture>")

    assert (
        "Some pictures could not be drawn: no such <picture>"
        in Reader(page(typical.results, typical.records, fail)).text
    )


def test_big_grids_stay_small_files(make, observer, draw):
    made = make({"none": observer(1.0)}, rows=8, columns=8, items=12, replicates=100)
    text = page(made.results, made.records, draw)
    assert len(text.encode()) < 3_000_000
    Reader(text)


def test_published_protocol_shows_no_false_alarms(published):
    found = Reader(page(published.results, published.records))
    assert "Hit rate, none" in found.text
    assert "False-alarm rate" not in found.text


def test_unknown_grid_and_undefined_numbers(make, observer):
    made = make({"none": observer(1.0)}, items=1, replicates=100)
    unknown = made.results.model_copy(update={"grid": None})
    assert "cell 8" in Reader(page(unknown, made.records)).text


def test_report_is_written_whole_and_anew(make, observer, tmp_path):
    made = make(
        {"none": observer(2.0), "bapa": observer(2.0)}, items=8, rows=1, columns=2, replicates=100
    )
    stale = tmp_path / "figures" / "cells-9-old.png"
    other = tmp_path / "figures" / "mine.png"
    stale.parent.mkdir()
    stale.write_bytes(b"")
    other.write_bytes(b"")
    path = write_report(tmp_path, made.results, made.records)
    assert path == tmp_path / "report.html"
    assert not stale.exists()
    assert other.exists()
    names = {file.name for file in stale.parent.iterdir()} - {"mine.png"}
    assert names == {
        f"{name}.{kind}"
        for name in ("cells-1-none", "cells-2-bapa", "difference-1-bapa-minus-none", "comparison")
        for kind in ("png", "svg")
    }
    assert path.read_text(encoding="utf-8") == page(made.results, made.records)


def test_a_folder_that_cannot_be_written_is_a_run_error(typical, tmp_path):
    from wheresight.errors import RunError

    (tmp_path / "figures").write_text("in the way")
    with pytest.raises(RunError, match="could not be written"):
        write_report(tmp_path, typical.results, typical.records)
