"""All that lies below some folders on one page: comparisons, probes, evaluations and the rest.

Nothing in the folders is changed. Where there are probes and evaluations of one model and no
comparison of them, they are compared for the page.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wheresight.errors import RunError, WheresightError
from wheresight.probes.diagnostic import Records
from wheresight.report import study
from wheresight.report.document import DOCUMENT, PART
from wheresight.report.samples import Maps
from wheresight.report.study import Missing, Part, Said
from wheresight.report.texts import one_line, slug
from wheresight.runs.diagnose_findings import Drawn, diagnosis_of
from wheresight.runs.evaluate import evaluation_of
from wheresight.runs.outcome import renderer_of, results_of
from wheresight.runs.places import open_place
from wheresight.runs.progress import Progress, Silent
from wheresight.runs.store import RunFolder
from wheresight.runs.summarise import check_bootstrap

if TYPE_CHECKING:
    from wheresight.runs.verdict import Verdict

# What says of a folder what it holds, and what that is called, in the order of a page.
KINDS = {
    "compare.json": "Verdict",
    "run.json": "Probe",
    "evaluate.json": "Evaluation",
    "tune.json": "Tuning",
    "diagnose.json": "Diagnostics",
}
_TUNING = "choices.json"  # what a tuning begins with; its evaluations are no parts
_PASSED_OVER = {"records", "figures", "samples"}
# Settings that decide what an item's composites look like and what is asked about them.
_SAME_SAMPLES = (
    "model", "model_revision", "adapter", "source_fingerprint", "question", "rows", "columns",
    "layout", "canvas", "tile", "background", "jitter", "seed",
)  # fmt: skip


@dataclass(frozen=True)
class Found:
    """A folder that holds something.

    Attributes:
        kind: one of the values of KINDS.
        folder: where.
    """

    kind: str
    folder: str


@dataclass(frozen=True)
class Study:
    """A page with what it links to.

    Attributes:
        page: HTML.
        samples: further pages of samples, by their address beside the page.
        parts: how many folders are shown.
        missing: folders that hold something that cannot be shown, and why.
    """

    page: str
    samples: dict[str, str]
    parts: int
    missing: tuple[Missing, ...]


def find(folders: Sequence[str]) -> list[Found]:
    """What lies in these folders and below them, in the order of a page.

    Raises:
        RunError: if a folder is not there, or nothing of wheresight's is in any of them.
    """
    found: dict[str, Found] = {}
    for folder in folders:
        for one in _below(folder):
            found.setdefault(os.path.abspath(one.folder) if _local(one.folder) else one.folder, one)
    if not found:
        raise RunError(
            f"{', '.join(map(repr, folders))} holds no run of wheresight, nor does a folder below. "
            "Expected folders of `wheresight probe`, `evaluate`, `diagnose`, `tune` or `compare`, "
            "or a folder that holds some."
        )
    order = list(KINDS.values())
    return sorted(found.values(), key=lambda one: order.index(one.kind))


def held_by(folder: str) -> str | None:
    """What kind of thing a folder holds itself; None if it holds none."""
    names = set(open_place(folder).names())
    kinds = [kind for name, kind in KINDS.items() if name in names]
    return kinds[0] if kinds else ("Tuning" if _TUNING in names else None)


def _below(folder: str) -> list[Found]:
    if not _local(folder):
        kind = held_by(folder)
        return [Found(kind, folder)] if kind else []
    if not Path(folder).is_dir():
        raise RunError(f"There is no folder {folder!r}. Give one that wheresight wrote into.")
    found = []
    for at, names, _ in os.walk(folder):
        kind = held_by(at)
        if kind:
            found.append(Found(kind, at))
        names[:] = (
            []
            if kind == "Tuning"
            else sorted(n for n in names if n not in _PASSED_OVER and not n.startswith("."))
        )
    return found


def _local(folder: str) -> bool:
    return hasattr(open_place(folder), "path")


def build(
    found: Sequence[Found],
    folders: Sequence[str],
    *,
    replicates: int = 2000,
    progress: Progress | None = None,
    whole: bool = True,
    samples_at: str = "samples",
) -> Study:
    """Make the page. A single folder's page is that which it has by itself.

    Args:
        found: what to show.
        folders: that were asked for; the page says how to make it again.
        replicates: of the bootstrap.
        progress: is told each step.
        whole: expect all records of diagnostics and evaluations, and something to show; else show
            what is there.
        samples_at: folder of the further pages, as the page sees it.

    Raises:
        RunError: if there is nothing that can be shown.
    """
    check_bootstrap(replicates)
    builder = _Builder(found, replicates, progress or Silent(), whole, samples_at)
    parts, missing = builder.parts()
    if not parts and whole:
        raise RunError(missing[0].reason if missing else "There is nothing to show.")
    if len(found) == 1 and parts:
        page = parts[0].page
    else:
        command = shlex.join(["wheresight", "report", *folders, "--out", "report.html"])
        page = study.page(parts, missing, command)
    return Study(page, builder.samples, len(parts), tuple(missing))


class _Builder:
    """Makes parts; what one part tells another is kept between them."""

    def __init__(
        self,
        found: Sequence[Found],
        replicates: int,
        progress: Progress,
        whole: bool,
        samples_at: str,
    ) -> None:
        self._found, self._replicates, self._progress = found, replicates, progress
        self._whole, self._samples_at = whole, samples_at
        self._alone = len(found) == 1
        self._maps: list[tuple[dict[str, Any], Maps]] = []
        self.samples: dict[str, str] = {}
        self._anchors: set[str] = set()

    def parts(self) -> tuple[list[Part], list[Missing]]:
        """All parts that can be made, in the order of the page, and what cannot be shown."""
        makers = {
            "Verdict": self._verdict,
            "Probe": self._probe,
            "Evaluation": self._evaluation,
            "Tuning": self._tuning,
            "Diagnostics": self._diagnostics,
        }
        made: dict[int, Part] = {}
        missing: list[Missing] = []
        # Diagnostics first: their maps lie over the composites of probes.
        order = sorted(range(len(self._found)), key=lambda n: self._found[n].kind != "Diagnostics")
        for n in order:
            one = self._found[n]
            try:
                made[n] = makers[one.kind](one)
            except WheresightError as error:
                missing.append(Missing(one.folder, str(error)))
        parts = [made[n] for n in sorted(made)]
        try:
            compared = self._compared()
        except WheresightError as error:
            missing.append(Missing("Robustness beside awareness", str(error)))
        else:
            parts[:0] = compared
        return parts, missing

    def _layout(self, one: Found) -> dict[str, Any]:
        if self._alone:
            return {"layout": DOCUMENT}
        return {"layout": PART, "kind": one.kind, "folder": _short(one.folder)}

    def _part(self, one: Found, model: object, said: Sequence[Said], page: str) -> Part:
        base = _letters(f"{one.kind}-{Path(one.folder).name}")
        anchor, number = base, 1
        while anchor in self._anchors:
            number += 1
            anchor = f"{base}-{number}"
        self._anchors.add(anchor)
        return Part(anchor, one.kind, _short(one.folder), str(model), said, page)

    def _count(self, kind: str) -> int:
        return sum(one.kind == kind for one in self._found)

    def _probe(self, one: Found) -> Part:
        from wheresight.report import html, words

        folder = RunFolder(one.folder)
        results, records = results_of(folder, replicates=self._replicates, progress=self._progress)
        settings = results.configuration
        maps = [
            maps
            for of, maps in self._maps
            if all(of.get(name) == settings.get(name) for name in _SAME_SAMPLES)
        ]
        number = 1 + sum(f.kind == "Probe" for f in self._found[: self._found.index(one)])
        at = self._samples_at if self._alone else f"{self._samples_at}/{number}"
        self._progress.say(f"Drawing {one.folder}")
        made = html.pages(
            results, records, renderer_of(folder), maps=maps, samples_at=at,
            share=self._count("Probe"), **self._layout(one),
        )  # fmt: skip
        self.samples |= made.samples
        said = [
            Said(r.intervention, words.verdict(results, r), words.summary(results, r))
            for r in results.interventions
        ]
        said += [
            Said(f"{c.b} - {c.a}", "", words.comparison(results, c)) for c in results.comparisons
        ]
        return self._part(one, settings.get("model", "not recorded"), said, made.page)

    def _evaluation(self, one: Found) -> Part:
        from wheresight.report.evaluation import build as pages
        from wheresight.report.evaluation import words
        from wheresight.runs.evaluation_page import renders

        evaluation, records, fingerprints = evaluation_of(
            open_place(one.folder), self._progress, self._replicates, whole=self._whole
        )
        self._progress.say(f"Drawing {one.folder}")
        page = pages.page(
            evaluation, records, renders(fingerprints, {}), share=self._count("Evaluation"),
            **self._layout(one),
        )  # fmt: skip
        said = []
        for entry in evaluation.benchmarks:
            first = entry.interventions[0].readers[0].accuracy
            said.append(Said(entry.benchmark, words.verdict(entry, first), words.summary(entry)))
            said += [
                Said(entry.benchmark, "", words.comparison(entry, n))
                for n in range(1, len(entry.interventions))
            ]
        return self._part(one, evaluation.configuration["model"], said, page)

    def _diagnostics(self, one: Found) -> Part:
        from wheresight.report.diagnostics import build as pages

        diagnosis, drawn, context = diagnosis_of(
            open_place(one.folder), self._progress, self._replicates, whole=self._whole
        )
        if not diagnosis.diagnostics:
            raise RunError(f"No diagnostic of {one.folder!r} has all its records yet.")
        self._maps += [(diagnosis.configuration, maps) for maps in maps_of(drawn)]
        page = pages.page(
            diagnosis, pages.sections_of(diagnosis, drawn, context), **self._layout(one)
        )
        said = [Said(entry.name, entry.title, entry.question) for entry in diagnosis.diagnostics]
        return self._part(one, diagnosis.configuration["model"], said, page)

    def _tuning(self, one: Found) -> Part:
        from wheresight.report import tuning, tuning_page
        from wheresight.runs.tuned import read_from

        tuned = read_from(open_place(one.folder))
        said = [Said("", "", sentence) for sentence in tuning.verdict(tuned)]
        page = tuning_page.page(tuned, **self._layout(one))
        return self._part(one, tuned.configuration["model"], said, page)

    def _verdict(self, one: Found) -> Part:
        from wheresight.runs.verdict import read_from

        return self._placed(one, read_from(open_place(one.folder)), _short(one.folder))

    def _placed(self, one: Found, verdict: Verdict, where: str) -> Part:
        from wheresight.report.verdict import page as pages

        said = [Said(p.intervention, p.verdict, p.sentence) for p in verdict.interventions]
        page = pages.page(verdict, **{**self._layout(one), "folder": where})
        part = self._part(one, verdict.model.get("model", "not recorded"), said, page)
        return replace(part, folder=where)

    def _compared(self) -> list[Part]:
        """Robustness beside awareness, where both were measured and nobody has compared them."""
        from wheresight.runs.comparable import open_folders
        from wheresight.runs.compare import CompareRequest, compare

        sides = [one.folder for one in self._found if one.kind in ("Probe", "Evaluation")]
        if self._count("Verdict") or not (self._count("Probe") and self._count("Evaluation")):
            return []
        request = CompareRequest(tuple(sides), replicates=self._replicates)
        command = shlex.join(["wheresight", "compare", *sides])
        found = open_folders(sides, self._progress.say)
        verdict = compare(found, request, command=command, progress=self._progress)
        return [self._placed(Found("Verdict", "verdict"), verdict, ", ".join(map(_short, sides)))]


def maps_of(drawn: Sequence[Drawn]) -> list[Maps]:
    """Maps over composites among the records of diagnostics, one for a sample and cell.

    Each is scaled so that its own greatest value is 255.
    """
    needed = {"item", "question", "cell", "map", "height", "width"}
    found = []
    for tool, tables, _ in drawn:
        for spec, table in tables.items():
            if needed <= set(table) and len(table["item"]):
                of = _by_sample(table)
                height, width = int(table["height"][0]), int(table["width"][0])
                found.append(Maps(f"{tool.title}, {spec}", height, width, of))
    return found


def _by_sample(table: Records) -> dict[tuple[str, str], list[bytes | None]]:
    size = int(table["height"][0]) * int(table["width"][0])
    cells = int(table["cell"].max()) + 1
    found: dict[tuple[str, str], list[bytes | None]] = {}
    columns = (table[name] for name in ("item", "question", "cell", "map"))
    for item, kind, cell, values in zip(*columns, strict=True):
        values = np.nan_to_num(np.asarray(values, np.float64))
        most = values.max(initial=0.0)
        if len(values) == size and most > 0:
            scaled = np.clip(255 * values / most, 0, 255).round().astype(np.uint8)
            own = found.setdefault((str(item), str(kind)), [None] * cells)
            own[int(cell)] = scaled.tobytes()
    return found


def _short(folder: str) -> str:
    """A folder's name as people know it: the last two steps of its path."""
    return one_line("/".join(Path(folder).parts[-2:]) if _local(folder) else folder, 120)


def _letters(text: str) -> str:
    """Of a text what an anchor may have."""
    return slug(text, 40).replace(".", "-")
