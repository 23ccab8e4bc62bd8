"""What all pages share: templates, escaping, the one document around them, the script's hash.

A page is one HTML file that asks the network for nothing: its policy allows no source at all, and
no script but the one whose hash it names. Every text from data passes `printable` and jinja2's
escaping. Numbers stand in <data> elements, with the exact value beside the rounded one.
"""

from __future__ import annotations

import base64
import datetime
import functools
import hashlib
import json
import re
from typing import Any

import jinja2
from markupsafe import Markup, escape

import wheresight
from wheresight.report.numerals import Unit, p_value, sign, written
from wheresight.report.texts import one_line, printable
from wheresight.runs.results import Estimate

DOCUMENT = "document.html.j2"  # a page by itself
PART = "part.html.j2"  # the same content as a part of a larger page
_SCRIPT = "page.js"
_LIVE = "live.js"
_LONGEST_CAPTION = 240
_NEGATIVE = re.compile(r"(?<=[ (])-(?=\d)")  # the minus of a number within a sentence


def render(template: str, layout: str = DOCUMENT, **content: Any) -> str:
    """Return a page, or a part of one.

    Args:
        template: one that extends `layout`.
        layout: DOCUMENT or PART.
        content: what the template reads.
    """
    found = environment().get_template(template)
    return found.render(layout=layout, version=wheresight.__version__, **content)


def watched(page: str, version: str) -> str:
    """Return a page that asks where it came from for its next version, and is else the same.

    Args:
        page: a whole one.
        version: what the server calls it, of letters and digits.
    """
    before, opening, after = page.partition('<main id="content">')
    after, closing, end = after.rpartition("</body>")
    head = before.replace(str(escape(_policy())), str(escape(_policy(True))), 1)
    status = f'<p id="live" class="note" role="status" data-version="{version}">Watching.</p>\n'
    script = f"<script>{_script(_LIVE)}</script>\n"
    return f"{head}{status}{opening}{after}{script}{closing}{end}"


@functools.lru_cache(maxsize=1)
def environment() -> jinja2.Environment:
    """Return the templates' environment: all is escaped, and texts are made printable."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("wheresight.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_clean,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": _number,
        "p": lambda p: true_minus(p_value(p)),
        "clip": lambda text, limit=_LONGEST_CAPTION: one_line(str(text), limit),
        "date": _date,
        "minus": true_minus,
        "typeset": lambda text: _NEGATIVE.sub("−", text).replace(" %²", "\u00a0%²"),
        "data": data,
    }
    environment.globals |= {"sign": sign, "script": _script, "policy": _policy}
    return environment


def data(content: Any) -> Markup:
    """Return data for the page's script as JSON that cannot end its element."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(printable(text).replace("<", "\\u003c").replace("&", "\\u0026"))


def flat(values: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Return nested settings as (dotted name, text)."""
    found: list[tuple[str, str]] = []
    for name, value in values.items():
        path = f"{prefix}{name}"
        if isinstance(value, dict) and value:
            found += flat(value, f"{path}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            found.append((path, text))
    return found


def true_minus(text: str) -> str:
    """A minus sign in place of a hyphen; a lone hyphen becomes a dash."""
    return text.replace("-", "−") if len(text) > 1 else text.replace("-", "–")


def _clean(value: Any) -> Any:
    return printable(value) if type(value) is str else value


def _date(text: str) -> str:
    """A moment in ISO 8601 as people write it; any other text as it is."""
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        return one_line(text, 40)
    zone = " UTC" if moment.utcoffset() == datetime.timedelta() else ""
    return f"{moment:%Y-%m-%d %H:%M}{zone or moment.strftime(' %z').rstrip()}"


def _number(
    estimate: Estimate, unit: Unit, signed: bool = False, with_unit: bool = True, br: bool = False
) -> Markup:
    """An estimate with its interval; exact values stand in the elements' attributes."""
    if estimate.value is None:
        return Markup('<span class="none" title="{}">undefined</span>').format(
            printable(estimate.reason or "")
        )
    suffix = sign(unit, difference=signed) if with_unit else ""
    value = Markup('<data class="value" value="{}">{}{}</data>').format(
        repr(estimate.value), true_minus(written(estimate.value, unit, signed=signed)), suffix
    )
    if estimate.low is None or estimate.high is None:
        return value
    ends = Markup('<data value="{}">{}</data> to <data value="{}">{}</data>').format(
        repr(estimate.low),
        true_minus(written(estimate.low, unit, signed=signed)),
        repr(estimate.high),
        true_minus(written(estimate.high, unit, signed=signed)),
    )
    gap = Markup("<br>") if br else " "
    return value + gap + Markup('<span class="interval">{}</span>').format(ends)


@functools.cache
def _script(name: str) -> Markup:
    """One of the page's scripts, which are ours and hold nothing from data."""
    loader = environment().loader
    assert loader is not None
    return Markup(loader.get_source(environment(), name)[0])


@functools.cache
def _policy(live: bool = False) -> str:
    """What the page may load: nothing, but the page of a running study may ask where it is from."""
    scripts = (_SCRIPT, _LIVE) if live else (_SCRIPT,)
    hashes = " ".join(f"'sha256-{_hash(_script(name))}'" for name in scripts)
    connect = "connect-src 'self'; " if live else ""
    return (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {hashes}; "
        f"{connect}base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
