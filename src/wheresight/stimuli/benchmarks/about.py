"""What a benchmark asks, where to get it, and on what terms: for those who choose one.

A benchmark's module says so in a mapping `ABOUT` from its names, beside the functions that open
them; a third party's module may have one too.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class About:
    """What is to be known of one benchmark.

    Attributes:
        asks: what is asked, in a sentence.
        spec: how it is named, such as `vsr-zeroshot:FOLDER`.
        get: where its data come from; that it is drawn here, where it is.
        licence: of its data.
        options: meaning of each of its own options.
        paper: where it was published; empty for ours.
    """

    asks: str
    spec: str
    get: str
    licence: str
    options: Mapping[str, str] = field(default_factory=dict)
    paper: str = ""


# What every benchmark takes; `open_benchmark` says more.
GENERAL = {
    "control": "blank, mirror, swap, permute or added: the same with one reason for right answers "
    "taken away",
    "part": "all, validation, test, adaptvis-validation or adaptvis-test",
    "sample": "about so many questions, whole sets and pictures",
    "wording": "own, letters or bare",
}


def about(name: str, opened_by: str) -> About:
    """What its module says of a benchmark; little, where it says nothing.

    Args:
        name: of the benchmark.
        opened_by: the `module:function` behind it.
    """
    module_name, _, function = opened_by.partition(":")
    module = importlib.import_module(module_name)
    said: Mapping[str, About] = getattr(module, "ABOUT", {})
    if name in said:
        return said[name]
    text = (getattr(module, function).__doc__ or module.__doc__ or "").strip()
    first = text.splitlines()[0] if text else "not said"
    return About(first, name, f"see {module_name}", "not said")
