"""Every table and figure of three papers as data: what is printed, and how to measure it.

One JSON file an entry, in `entries/PAPER/NAME.json`: numbers and where they stand, commands of
`wheresight` as lists of arguments, and where their files hold what the entry is about. Nothing of
an entry is code. Importing this package is cheap: no model library is imported before a plan is
made.
"""

from __future__ import annotations

from wheresight.reproduce.catalogue import entries, entry, find, models, papers
from wheresight.reproduce.entry import Entry

__all__ = ["Entry", "entries", "entry", "find", "models", "papers"]
