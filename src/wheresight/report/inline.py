"""Drawings inside a page: one copy that takes the page's colours, light or dark."""

from __future__ import annotations

import re
from dataclasses import dataclass

from markupsafe import Markup

from wheresight.report.figures import Picture, Theme, recoloured
from wheresight.report.texts import printable
from wheresight.report.tips import given, taken

# Names of the page's own colours (`templates/report.css`).
_PAGE = Theme("page", "var(--text)", "var(--faint)", "var(--ground)")
_LEAVE_OUT = re.compile(
    r"<metadata>.*?</metadata>|<title>.*?</title>|<style.*?</style>|<!--.*?-->|>\s+(?=<)", re.DOTALL
)
_NAMESPACES = re.compile(r'\s(?:xmlns(?::\w+)?|version|id)="[^"]*"')
_NAMED = re.compile(r'((?:\sid=")|(?:xlink:href="#)|(?:="url\(#))')


@dataclass(frozen=True)
class Drawing:
    """A picture inside the page.

    Attributes:
        wide: its SVG.
        narrow: another for narrow screens; empty where one serves all.
        title, alt: as the picture's own.
    """

    wide: Markup
    narrow: Markup
    title: str
    alt: str

    @property
    def points(self) -> bool:
        """Does any part of it say something when it is pointed at?"""
        return 'class="spot"' in self.wide


def drawing(name: str, wide: Picture, narrow: Picture | None = None) -> Drawing:
    """Draw a picture for the page.

    Args:
        name: of letters, digits and dashes; one of its own for every drawing of a page.
        wide: the picture.
        narrow: what narrow screens see of it.
    """
    drawn = "" if narrow is None else inline(narrow.svg(), f"{name}-narrow", narrow.alt)
    return Drawing(inline(wide.svg(), name, wide.alt), Markup(drawn), wide.title, wide.alt)


def inline(svg: bytes, name: str, alt: str) -> Markup:
    """Return an SVG that was drawn in LIGHT as an element of a page.

    Args:
        svg: as `Picture.svg` makes it. It is safe: matplotlib escapes, and its letters are paths.
        name: goes before all its ids, so that the drawings of a page do not take each other's.
        alt: what it shows, in words.
    """
    svg_text, tips = taken(svg.decode())
    text = recoloured(svg_text.encode(), _PAGE).decode()
    head, _, body = text[text.index("<svg") :].partition(">")
    body = _NAMED.sub(rf"\g<1>{name}-", _LEAVE_OUT.sub(_between_tags, body))
    body = given(body, tips)
    said = Markup('class="drawing" role="img" aria-label="{}"').format(printable(alt, 4000))
    return Markup(f"{_NAMESPACES.sub('', head).replace('<svg', f'<svg {said}', 1)}>{body.strip()}")


def _between_tags(found: re.Match[str]) -> str:
    return ">" if found[0].startswith(">") else ""
