"""One page over all that was found out about a model: probes, evaluations, diagnostics and more.

Each part is the page that its folder has by itself, fitted in: its headings one level down, its ids
under a name of its own. What the parts say is gathered at the top.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from wheresight.report.document import render

_HEADING = re.compile(r"(?<=<)(/?)h([1-5])\b")
_SECTION = re.compile(r'(<section id="[^"]*"(?: class="[^"]*")?) aria-labelledby="[^"]*"')
# Our templates alone write these: in texts from data, quotes and < are escaped.
_NAMED = re.compile(
    r'((?: id=| for=| aria-labelledby=| aria-controls=)"'
    r'|(?: href=| xlink:href=)"#|="url\(#)'
)


@dataclass(frozen=True)
class Said:
    """One sentence of the summary, about one thing."""

    about: str
    label: str
    text: str


@dataclass(frozen=True)
class Part:
    """One part of the page.

    Attributes:
        anchor: its place in the page, of letters, digits and dashes.
        kind: what it is, in a word or two.
        folder: where its records lie.
        model: whose it is.
        said: what it says, for the summary.
        page: what it shows: a page with the layout PART.
    """

    anchor: str
    kind: str
    folder: str
    model: str
    said: Sequence[Said]
    page: str

    @property
    def fitted(self) -> Markup:
        """The page, fitted in."""
        # A section with a name is a landmark, and those of several parts would share their names.
        plain = _SECTION.sub(r"\1", self.page)
        lower = _HEADING.sub(lambda found: f"{found[1]}h{int(found[2]) + 1}", plain)
        return Markup(_NAMED.sub(rf"\g<1>{self.anchor}-", lower))


@dataclass(frozen=True)
class Missing:
    """A folder that has nothing to show, and why, in a sentence."""

    folder: str
    reason: str


def page(parts: Sequence[Part], missing: Sequence[Missing], command: str) -> str:
    """Return the page.

    Args:
        parts: in the order in which a reader wants them.
        missing: folders that could not be read.
        command: what makes this page again.
    """
    models = list(dict.fromkeys(part.model for part in parts))
    return render("study.html.j2", parts=parts, missing=missing, models=models, command=command)
