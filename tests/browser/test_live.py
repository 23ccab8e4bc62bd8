"""A page that is watched while records appear: it is renewed under the reader's hands."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wheresight.runs.serve import serving
from wheresight.runs.watch import Watch


def test_a_live_page_is_renewed_without_losing_place_or_filters(
    opened: Callable[..., Any], study: Path, tmp_path: Path
) -> None:
    moved, aside = tmp_path / "moved", tmp_path / "aside"
    shutil.copytree(study / "moved", moved)
    *_, last = sorted((moved / "records").glob("*.parquet"))
    shutil.move(last, aside)
    watch = Watch([str(moved)], replicates=100)
    watch.look()
    with serving(watch) as address:
        page = opened(address)
        strips = page.locator(".sample-list > li").first.locator(".outcome")
        strips.first.wait_for()
        assert strips.count() == 1
        caption = page.locator(".sample-list bdi").first.text_content()
        text = page.locator(".filters [name=text]")
        text.fill(caption)
        page.locator(".sample-list summary").first.click()
        page.locator("#run details").nth(1).locator("summary").click()
        text.focus()
        page.evaluate("scrollTo(0, document.querySelector('#samples').offsetTop - 40)")
        before = page.evaluate("document.querySelector('.filters').getBoundingClientRect().top")
        shutil.move(aside, last)
        strips.nth(1).wait_for()
        assert text.input_value() == caption
        assert page.evaluate("document.activeElement.name") == "text"
        assert page.locator(".sample-list .composites > li").count() >= 9
        assert page.locator("#run details[open]").count() == 2
        assert "Watching: " in page.locator("#live").text_content()
        # More stands above than before; what is being read stays where it was on the screen.
        after = page.evaluate("document.querySelector('.filters').getBoundingClientRect().top")
        assert abs(after - before) < 2 and page.evaluate("scrollY") > 500
        expected = (study / "moved" / "report.html").read_text("utf-8")
        assert page.request.get(f"{address}report.html").text() == expected
    page.get_by_text("does not answer any more").wait_for()
    assert page.locator("h1").is_visible()
