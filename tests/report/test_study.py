"""Several folders on one page: fitted together, nothing lost, nothing changed."""

from __future__ import annotations

import itertools
import re

import pytest

from wheresight.report.document import PART, watched
from wheresight.report.html import page as probe_page
from wheresight.report.html import pages
from wheresight.report.study import Missing, Part, Said, page


@pytest.fixture(scope="module")
def whole(typical, draw):
    parts = []
    for name in ("first", "second"):
        text = pages(
            typical.results, typical.records, draw, layout=PART, kind="Probe", folder=name, share=2
        ).page
        said = [Said("none", "place matters", "A sentence with <b>.")]
        parts.append(Part(f"probe-{name}", "Probe", f"study/{name}", "pocket", said, text))
    missing = [Missing("study/third", "It has no records yet.")]
    return page(parts, missing, "wheresight report study --out report.html")


def test_ids_are_apart_and_every_link_leads_somewhere(whole):
    ids = re.findall(r'\sid="([^"]*)"', whole)
    assert len(ids) == len(set(ids)) > 100
    for pattern in (r'\shref="#([^"]*)"', r'xlink:href="#([^"]*)"', r'="url\(#([^)]*)\)"'):
        named = re.findall(pattern, whole)
        assert named and set(named) <= set(ids), pattern
    for named in re.findall(r'aria-labelledby="([^"]*)"', whole):
        assert named in ids


def test_headings_go_down_one_step_at_a_time(whole):
    levels = [int(level) for level in re.findall(r"<h([1-6])\b", whole)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert len(re.findall(r"</h[1-6]>", whole)) == len(levels)


def test_it_says_what_parts_say_and_what_is_missing(whole, stays_at_home, monkeypatch):
    assert "A sentence with &lt;b&gt;." in whole and "It has no records yet." in whole
    assert "wheresight report study --out report.html" in whole
    assert whole.count('<article class="part"') == 2
    data = re.findall(r'<script type="application/json">', whole)
    assert len(data) == 2
    assert re.search(r"default-src &#39;none&#39;", whole)


def test_texts_from_data_are_not_fitted(make, observer, draw):
    evil = 'a" id="x" href="#y" <h2>'
    made = make({"none": observer(1.0)}, items=2, replicates=100, captions=[evil])
    text = pages(made.results, made.records, draw, layout=PART, kind="Probe", folder="f").page
    whole = page([Part("p", "Probe", "f", "m", [], text)], [], "")
    assert "<bdi>a&#34; id=&#34;x&#34; href=&#34;#y&#34; &lt;h2&gt;</bdi>" in whole
    assert '"c":"a\\" id=\\"x\\" href=\\"#y\\" \\u003ch2>"' in whole


def test_a_watched_page_is_the_page_and_asks_for_the_next(typical):
    plain = probe_page(typical.results, typical.records)
    live = watched(plain, "abc123")
    assert 'data-version="abc123"' in live and "connect-src &#39;self&#39;; " in live
    without = re.sub(r'<p id="live".*?</p>\n', "", live)
    without = re.sub(r"<script>\"use strict\";\n// A page that is served.*?</script>\n", "",
                     without, flags=re.DOTALL)  # fmt: skip
    policy = r'(?<=http-equiv="Content-Security-Policy" content=")[^"]*'
    assert re.sub(policy, "", without) == re.sub(policy, "", plain)
    assert len(re.findall("sha256-", live)) == 2
