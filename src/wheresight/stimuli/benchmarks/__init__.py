"""Benchmarks of spatial awareness, opened by a spec: `NAME[:PLACE][#option=value,...]`.

A new benchmark is one file with a function `open(location, options) -> Benchmark` and one line in
`BENCHMARKS`; third parties register theirs through the entry-point group `wheresight.benchmarks`.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import cast

from PIL import Image

from wheresight.errors import StimulusError, unknown_name
from wheresight.stimuli.benchmarks import parts
from wheresight.stimuli.benchmarks.controls import CONTROLS, Controlled
from wheresight.stimuli.benchmarks.files import digest
from wheresight.stimuli.benchmarks.options import whole_number
from wheresight.stimuli.benchmarks.question import (
    Benchmark,
    Question,
    bare,
    check_questions,
    lettered,
)

__all__ = [
    "CONTROLS",
    "Benchmark",
    "Controlled",
    "Question",
    "benchmarks",
    "open_benchmark",
    "without_control",
]

BENCHMARKS = {
    "2ds": "wheresight.stimuli.benchmarks.twods:open",
    "localisation": "wheresight.stimuli.benchmarks.localisation:open",
    "whatsup-a": "wheresight.stimuli.benchmarks.whatsup:open_a",
    "whatsup-b": "wheresight.stimuli.benchmarks.whatsup:open_b",
    "whatsup-coco-one": "wheresight.stimuli.benchmarks.whatsup:open_coco_one",
    "whatsup-coco-two": "wheresight.stimuli.benchmarks.whatsup:open_coco_two",
    "whatsup-vg-one": "wheresight.stimuli.benchmarks.whatsup:open_vg_one",
    "whatsup-vg-two": "wheresight.stimuli.benchmarks.whatsup:open_vg_two",
    "vsr-random": "wheresight.stimuli.benchmarks.vsr:open_random",
    "vsr-zeroshot": "wheresight.stimuli.benchmarks.vsr:open_zeroshot",
    "own": "wheresight.stimuli.benchmarks.own:open",
}
PARTS = ("all", "validation", "test", "adaptvis-validation", "adaptvis-test")
WORDINGS = {"own": lambda question: question, "letters": lettered, "bare": bare}


class Chosen:
    """Some questions of a benchmark, perhaps in other words."""

    def __init__(self, benchmark: Benchmark, questions: Sequence[Question], name: str) -> None:
        self.name = name
        self.fingerprint = digest(benchmark.fingerprint, name.partition("#")[2])
        self._benchmark = benchmark
        self._questions = check_questions(questions, name)

    def questions(self) -> Sequence[Question]:
        """The chosen ones, in the benchmark's order."""
        return self._questions

    def picture(self, question: Question) -> Image.Image:
        """As the benchmark draws it."""
        return self._benchmark.picture(question)


def benchmarks() -> dict[str, str]:
    """Names of benchmarks and the `module:function` behind each, those of plug-ins included."""
    found = {e.name: e.value for e in entry_points(group="wheresight.benchmarks")}
    return {**found, **BENCHMARKS}


def open_benchmark(spec: str) -> Benchmark:
    """Open a benchmark.

    The spec is its name, then the folder or file it needs, then options, such as `2ds#images=100`,
    `whatsup-a:FOLDER`, `vsr-zeroshot:FOLDER#split=dev`, `own:questions.jsonl#wording=letters`. All
    benchmarks have these options beside their own:

    - `control`: one of CONTROLS; see `controls`.
    - `part`: `validation` and `test` never cut a set or picture in two; `adaptvis-validation` and
      `adaptvis-test` are the published split, which does.
    - `sample`: about so many questions, whole sets and pictures.
    - `wording`: `own`, `letters` (options behind letters), `bare` (the question alone).

    Raises:
        StimulusError: an unknown benchmark or option, files that are not there or not as published.
    """
    before, _, after = spec.partition("#")
    name, _, place = before.partition(":")
    known = benchmarks()
    if name not in known:
        raise StimulusError(
            unknown_name("benchmark", name, known)
            + " Expected NAME, NAME:PLACE or NAME#option=value."
        )
    options = _options(spec, after)
    general = {key: options.pop(key) for key in _GENERAL if key in options}
    _check_general(**general)
    module, _, function = known[name].partition(":")
    found = cast(Benchmark, getattr(importlib.import_module(module), function)(place, options))
    return derive(found, **general)


def derive(
    benchmark: Benchmark,
    *,
    control: str | None = None,
    part: str = "all",
    sample: str | None = None,
    wording: str = "own",
) -> Benchmark:
    """A benchmark under a control, of which a part is taken, in a wording; in this order.

    Part and sample are chosen among the questions of the benchmark itself, so that they are the
    same under every control.

    Raises:
        StimulusError: an unknown control, part or wording; a sample of nothing.
    """
    _check_general(control, part, sample, wording)
    whole = benchmark.questions()
    keep = set(_part(whole, part))
    if sample is not None:
        held = [n for n in range(len(whole)) if n in keep]
        keep = {held[n] for n in parts.sample([whole[n] for n in held], int(sample))}
    ids = {whole[n].id for n in keep}
    found = benchmark if control is None else Controlled(benchmark, control)
    given = {"control": control, "part": part, "sample": sample, "wording": wording}
    named = [f"{k}={v}" for k, v in given.items() if v is not None and v != _GENERAL[k]]
    if not named:
        return found
    joined = f"{benchmark.name}{',' if '#' in benchmark.name else '#'}{','.join(named)}"
    worded = [WORDINGS[wording](q) for q in found.questions() if q.id in ids]
    return Chosen(found, worded, joined)


def without_control(name: str) -> tuple[str, str | None]:
    """The name of the same benchmark without its control, and the control; None for none.

    >>> without_control("2ds#images=9,control=mirror,wording=bare")
    ('2ds#images=9,wording=bare', 'mirror')
    """
    before, _, options = name.partition("#")
    pieces = options.split(",") if options else []
    controls = [piece for piece in pieces if piece.startswith("control=")]
    kept = ",".join(piece for piece in pieces if piece not in controls)
    plain = f"{before}#{kept}" if kept else before
    return plain, controls[0].partition("=")[2] if controls else None


def _check_general(
    control: str | None = None, part: str = "all", sample: str | None = None, wording: str = "own"
) -> None:
    if control is not None and control not in CONTROLS:
        raise StimulusError(unknown_name("control", control, CONTROLS))
    if part not in PARTS:
        raise StimulusError(unknown_name("part", part, PARTS))
    if wording not in WORDINGS:
        raise StimulusError(unknown_name("wording", wording, WORDINGS))
    if sample is not None:
        whole_number("any benchmark", "sample", sample, 1)


_GENERAL = {"control": None, "part": "all", "sample": None, "wording": "own"}


def _part(questions: Sequence[Question], part: str) -> list[int]:
    if part == "all":
        return list(range(len(questions)))
    if part.startswith("adaptvis"):
        validation, test = parts.adaptvis_split(len(questions))
    else:
        validation, test = parts.split(questions)
    return validation if part.endswith("validation") else test


def _options(spec: str, text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for piece in text.split(",") if text else ():
        key, equals, value = piece.partition("=")
        if not equals or not value or key in found:
            raise StimulusError(
                f"The benchmark {spec!r} has the option {piece!r}. Expected each option once, as "
                "name=value, parted by commas."
            )
        found[key] = value
    return found
