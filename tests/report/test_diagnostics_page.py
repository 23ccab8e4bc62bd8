"""The page of diagnostics: everything escaped, nothing from elsewhere, numbers as they are."""

from __future__ import annotations

import html.parser
import re

import numpy as np
import pytest
from markupsafe import Markup

from wheresight.probes.diagnostic import Finding
from wheresight.probes.registry import diagnostic
from wheresight.report.diagnostics.build import Section, page
from wheresight.report.diagnostics.numbers import table, with_interval, written
from wheresight.report.inline import Drawing
from wheresight.runs.diagnosis import Diagnosed, Diagnosis, FoundNumber, diagnosed
from wheresight.runs.results import Bootstrap, Environment

EVIL = "<script>alert(1)</script>\"'&\u202e"


def found(**changes: object) -> Finding:
    base = dict(name="a.b", label="A quantity", value=0.5, low=0.25, high=0.75, unit="share")
    return Finding(**{**base, **changes})  # type: ignore[arg-type]


def entry(*findings: Finding) -> Diagnosed:
    tool = diagnostic("psi")
    return diagnosed(tool, ["none", "bapa"], {"none": "records/x.parquet"}, [EVIL], list(findings))


def whole(one: Diagnosed) -> Diagnosis:
    return Diagnosis(
        schema_version=1,
        command=f"wheresight diagnose {EVIL}",
        configuration={"model": EVIL, "source": EVIL, "rows": 3, "columns": 3},
        environment=Environment.capture(hardware={"device": EVIL}),
        bootstrap=Bootstrap(
            replicates=100, seed=0, level=0.95, cluster="key", clusters=3, method="m"
        ),
        diagnostics=[one],
        left_out=[EVIL],
        caution=None,
    )


class Tags(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.targets: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.targets += [v or "" for k, v in attrs if k in ("src", "href")]


def test_nothing_from_data_is_markup_and_nothing_is_fetched(stays_at_home) -> None:
    one = entry(found(label=EVIL, note=EVIL, intervention=EVIL, where={"condition": EVIL}))
    sides, lines = table(one, headline=True)
    shown = [Drawing(Markup("<svg></svg>"), Markup(), EVIL, EVIL)]
    text = page(whole(one), [Section(one, shown, sides, lines, sides, lines, 3)])
    tags = Tags()
    tags.feed(text)
    stays_at_home(text)
    assert all(t.startswith(("data:", "#")) for t in tags.targets)
    assert "\u202e" not in text
    assert "&lt;script&gt;" in text
    assert "3 more lines are in findings.json" in text


def test_numbers_stand_beside_each_other() -> None:
    one = entry(
        found(),
        found(value=0.25, low=0.2, high=0.3, intervention="bapa"),
        found(value=-0.25, low=-0.5, high=-0.1, intervention="bapa", versus="none"),
        found(name="c", label="Other", unit="", value=0.000731, headline=False),
        found(name="c", label="Other", where={"layer": 3}, headline=False),
        found(name="c", label="Other", where={"condition": "rows"}, headline=False),
    )
    sides, lines = table(one, headline=True)
    assert [side.title for side in sides] == ["none", "bapa", "bapa - none"]
    (line,) = lines
    assert [with_interval(n) for n in line.numbers if n] == [
        ("50.0%", "25.0 to 75.0"),
        ("25.0%", "20.0 to 30.0"),
        ("-25.0 points", "-50.0 to -10.0"),
    ]
    _, rest = table(one, headline=False)
    assert [r.label for r in rest] == ["Other", "Other (layer 3)", "Other (rows)"]


def test_plain_numbers_have_three_figures() -> None:
    given = [0.000731, 12.345, 0.0, -1234.5, 3.2e-7]
    assert [written(x, "") for x in given] == ["0.000731", "12.3", "0", "-1,234", "3.20e-07"]
    assert written(0.5, "nats", signed=True) == "+0.50"
    assert written(None, "share") == "-"


@pytest.mark.parametrize("value", [np.nan, 1.0])
def test_what_is_undefined_says_why(value: float) -> None:
    number = FoundNumber.of(found(value=value, low=np.nan, high=np.nan, note=""))
    assert number.estimate.reason
    noted = FoundNumber.of(found(value=value, low=np.nan, high=np.nan, note="Too few."))
    assert noted.estimate.reason == "Too few."
    assert re.fullmatch(r"(1|100)\.0%|-", with_interval(number)[0])
