"""The exceptions users may see. Each message is made of full sentences: what was given, what was
expected, what to do. The command line prints the message alone and exits with code 2.

    WheresightError
    ├── SpecError        an intervention, its parameters, or the grammar of a spec
    ├── ModelError       a model, its processor, its layout, or a seam that did not fire
    ├── StimulusError    an image, a caption, a source of pairs, or a grid
    └── RunError         an output folder, its records, or the disk under it
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class WheresightError(Exception):
    """Base of every error that the user can put right."""


class SpecError(WheresightError):
    """An intervention spec that cannot be read, or that the model cannot host."""


class ModelError(WheresightError):
    """A model that cannot be loaded, wrapped, or trusted to have been changed as asked."""


class StimulusError(WheresightError):
    """An image, caption or source that cannot be used."""


class RunError(WheresightError):
    """An output folder or record that cannot be written, read, or mixed with this run."""


def unknown_name(kind: str, given: str, known: Iterable[str]) -> str:
    """Return the sentence for a name that is not in a registry, with the nearest known ones.

    >>> unknown_name("intervention", "bappa", ["bapa", "none"])
    "Unknown intervention 'bappa'. Did you mean 'bapa'? Known: bapa, none."
    """
    names = sorted(known)
    near = difflib.get_close_matches(given, names, n=3, cutoff=0.5)
    guess = f" Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
    return f"Unknown {kind} {given!r}.{guess} Known: {', '.join(names) or 'none'}."
