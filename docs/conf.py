"""How Sphinx builds these pages: Markdown by MyST, the theme Furo. `make docs` runs it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent

project = "wheresight"
project_copyright = "the authors of wheresight, Apache-2.0"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = "wheresight"
# A page is a source, and what it links to outside of this folder is read in the repository.
html_copy_source = False
html_show_sourcelink = False
exclude_patterns = ["_build"]
myst_heading_anchors = 3
nitpicky = True

# Links from these pages to files of the repository, such as ../benchmarks/README.md, work where
# the repository is shown. On the built pages they lead to this place, if it is given.
REPOSITORY = os.environ.get("WHERESIGHT_REPOSITORY", "")
_OUTSIDE = re.compile(r"\[([^\]]+)\]\(((?:\.\./)+)([^)\s#]+)(#[^)\s]*)?\)")


def _outside_links(app: Any, page: str, source: list[str]) -> None:
    """Turn links to files that are not pages into links to the repository, or into their names."""
    here = (ROOT / "docs" / page).parent

    def link(match: re.Match[str]) -> str:
        target = (here / (match[2] + match[3])).resolve()
        if target.is_relative_to(ROOT / "docs") or not target.exists():
            return match[0]
        path = target.relative_to(ROOT).as_posix()
        where = f"{REPOSITORY.rstrip('/')}/{path}{match[4] or ''}" if REPOSITORY else ""
        return f"[{match[1]}]({where})" if where else f"{match[1]} (`{path}`)"

    source[0] = _OUTSIDE.sub(link, source[0])


def setup(app: Any) -> None:
    """Sphinx calls this first."""
    app.connect("source-read", _outside_links)
