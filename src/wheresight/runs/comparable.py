"""What folders of probes and evaluations hold, checked to be of one model, and joined by test.

A test is a probe with its settings, or a benchmark. The same test in two folders is joined, so that
interventions that were measured at different times are compared on the same items.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from wheresight.errors import RunError
from wheresight.probes.evaluate import Evaluated
from wheresight.report.texts import one_line
from wheresight.runs.evaluate import MANIFEST
from wheresight.runs.evaluation_records import read
from wheresight.runs.places import open_place
from wheresight.runs.store import RunFolder

_PROBE = "run.json"
_OF_THE_MODEL = ("model_revision", "dtype", "attention")
_BLANK = "blank"

_Key = tuple[str, bool]  # a benchmark's spec, and whether letters were asked for


@dataclass(frozen=True, eq=False)
class ProbeRecords:
    """One probe.

    Attributes:
        label: what to call it.
        folders: where its records lie.
        settings: what decides them.
        commands: that made them.
        table: records; each intervention's come from the first folder that has it.
        interventions: those of the table, in order.
    """

    label: str
    folders: tuple[str, ...]
    settings: dict[str, Any]
    commands: tuple[str, ...]
    table: pa.Table
    interventions: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class BenchmarkRecords:
    """One benchmark.

    Attributes:
        label: what to call it.
        name: its spec.
        letters: whether letters were asked for.
        folders: where its records lie.
        answers: by intervention, in order; all of the same questions in the same order.
        blank: the same questions about blank pictures, under one intervention; empty if not asked.
    """

    label: str
    name: str
    letters: bool
    folders: tuple[str, ...]
    answers: dict[str, list[Evaluated]]
    blank: list[Evaluated]


@dataclass(frozen=True, eq=False)
class Comparable:
    """Folders that may be compared.

    Attributes:
        model: name, revision, dtype, attention and adapter of the model of all of them.
        probes, benchmarks: what was measured.
        left_out: (spec, folder, reason) of benchmarks that do not count as awareness.
        interventions: all that any of them has, in order.
    """

    model: dict[str, Any]
    probes: tuple[ProbeRecords, ...]
    benchmarks: tuple[BenchmarkRecords, ...]
    left_out: tuple[tuple[str, str, str], ...]
    interventions: tuple[str, ...]

    def tests(self) -> dict[str, Sequence[str]]:
        """Each test's label with its interventions; labels are all different."""
        found: dict[str, Sequence[str]] = {p.label: p.interventions for p in self.probes}
        return found | {b.label: tuple(b.answers) for b in self.benchmarks}


@dataclass(frozen=True, eq=False)
class _Folder:
    name: str
    configuration: dict[str, Any]
    command: str
    table: pa.Table | None  # of a probe
    answers: list[Evaluated]  # of an evaluation
    interventions: tuple[str, ...]


def open_folders(
    folders: Sequence[str], say: Callable[[str], None] = lambda text: None
) -> Comparable:
    """Read folders that `wheresight probe` and `wheresight evaluate` wrote.

    A damaged file of an evaluation's records is set aside; nothing else is changed.

    Raises:
        RunError: a folder that holds neither, folders of different models, no probe or no
            evaluation among them, records that are missing, damaged or contradictory.
    """
    found = []
    for name in dict.fromkeys(folders):
        say(f"Reading {name}")
        found.append(_open(name))
    _refuse_different_models(found)
    probes = [folder for folder in found if folder.table is not None]
    evaluations = [folder for folder in found if folder.table is None]
    for kind, verb, some in (
        ("probe", "probe", probes),
        ("evaluation", "evaluate", evaluations),
    ):
        if not some:
            raise RunError(
                f"There is no {kind} among the folders {', '.join(f.name for f in found)}. A "
                f"verdict needs both sides: give a folder that `wheresight {verb} --out DIR` wrote "
                "as well."
            )
    benchmarks, left_out = _benchmarks(evaluations)
    return Comparable(
        model=_model(found),
        probes=tuple(_probes(probes)),
        benchmarks=tuple(benchmarks),
        left_out=tuple(left_out),
        interventions=tuple(
            dict.fromkeys(spec for f in (*evaluations, *probes) for spec in f.interventions)
        ),
    )


def _open(name: str) -> _Folder:
    place = open_place(name)
    held = place.names()
    if _PROBE in held:
        run = RunFolder(name)
        manifest = run.manifest()
        table = run.read()
        asked = manifest["request"].get("options", {}).get("interventions", ())
        known = table["intervention"].unique().to_pylist()
        first = [spec for spec in asked if spec in known]
        specs = tuple(dict.fromkeys([*first, *sorted(known)]))
        command = manifest["request"].get("command", "")
        return _Folder(name, manifest["identity"], command, table, [], specs)
    if MANIFEST.name in held:
        manifest = MANIFEST.read(place)
        answers = [record for unit in manifest["units"] for record in read(place, unit)]
        specs = tuple(manifest["interventions"])
        return _Folder(name, manifest["configuration"], manifest["command"], None, answers, specs)
    raise RunError(
        f"{name!r} holds neither a probe nor an evaluation (there is no {_PROBE} and no "
        f"{MANIFEST.name}). Expected a folder that `wheresight probe --out DIR` or `wheresight "
        "evaluate --out DIR` wrote."
    )


# ---- one model --------------------------------------------------------------------------------


def _of_the_model(folder: _Folder) -> list[str]:
    adapters = [name for name in folder.configuration if name.startswith("adapter")]
    return [*_OF_THE_MODEL, *adapters]


def _refuse_different_models(folders: Sequence[_Folder]) -> None:
    names = dict.fromkeys(name for folder in folders for name in _of_the_model(folder))
    differ = []
    for name in names:
        values: dict[str, str] = {}
        for folder in folders:
            value = json.dumps(folder.configuration.get(name), ensure_ascii=False)
            values.setdefault(value, folder.name)
        if len(values) > 1:
            shown = " and ".join(f"{value} in {where!r}" for value, where in values.items())
            differ.append(f"{name.replace('_', ' ')} is {shown}")
    if differ:
        raise RunError(
            f"The folders are not of the same model ({'; '.join(differ)}). Give folders that were "
            "made with one model, dtype, attention and adapter."
        )


def _model(folders: Sequence[_Folder]) -> dict[str, Any]:
    first = folders[0]
    names = dict.fromkeys(["model", *_of_the_model(first)])
    return {name: first.configuration.get(name) for name in names}


# ---- one test ---------------------------------------------------------------------------------


def _probes(folders: Sequence[_Folder]) -> list[ProbeRecords]:
    groups: dict[str, list[_Folder]] = {}
    for folder in folders:
        decides = {k: v for k, v in folder.configuration.items() if k != "model"}
        groups.setdefault(json.dumps(decides, sort_keys=True), []).append(folder)
    found = list(groups.values())
    labels = _different(
        [_probe_label(group[0].configuration) for group in found],
        _apart([group[0].configuration for group in found]),
    )
    return [_probe(label, group) for label, group in zip(labels, found, strict=True)]


def _probe_label(settings: Mapping[str, Any]) -> str:
    return f"probe {settings['rows']} x {settings['columns']}, {settings['source']}"


def _apart(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """What tells probes apart: the settings in which any two of them differ."""
    names = dict.fromkeys(name for one in settings for name in one if name != "model")
    differ = [n for n in names if len({json.dumps(one.get(n)) for one in settings}) > 1]
    return [
        ", ".join(["probe", *(f"{n} {one_line(str(one.get(n)), 40)}" for n in differ)])
        for one in settings
    ]


def _probe(label: str, folders: Sequence[_Folder]) -> ProbeRecords:
    tables, seen = [], list[str]()
    for folder in folders:
        assert folder.table is not None
        new = [spec for spec in folder.interventions if spec not in seen]
        if new:
            column = folder.table["intervention"]
            tables.append(folder.table.filter(pc.is_in(column, pa.array(new))))
        seen += new
    return ProbeRecords(
        label=label,
        folders=tuple(folder.name for folder in folders),
        settings=folders[0].configuration,
        commands=tuple(folder.command for folder in folders),
        table=tables[0] if len(tables) == 1 else pa.concat_tables(tables),
        interventions=tuple(seen),
    )


def _benchmarks(
    folders: Sequence[_Folder],
) -> tuple[list[BenchmarkRecords], list[tuple[str, str, str]]]:
    answers: dict[_Key, dict[str, tuple[str, list[Evaluated]]]] = {}  # by intervention: folder too
    blanks: dict[_Key, list[Evaluated]] = {}
    where: dict[_Key, list[str]] = {}
    for folder in folders:
        for key, by_control in _by_benchmark(folder.answers).items():
            where.setdefault(key, []).append(folder.name)
            held = answers.setdefault(key, {})
            for spec, given in by_control.get("", {}).items():
                if held:
                    _refuse_other_questions(key[0], next(iter(held.values())), given, folder.name)
                held.setdefault(spec, (folder.name, given))
            for given in by_control.get(_BLANK, {}).values():
                blanks.setdefault(key, given)
    reasons = {key: _why_not(key, answers) for key in answers}
    counted = [key for key, reason in reasons.items() if reason is None]
    if not counted:
        raise RunError(
            "All benchmarks of the evaluations given are on blank pictures, which show no "
            "awareness. Give an evaluation of a benchmark with its pictures."
        )
    labels = _different([_short(*key) for key in counted], [_whole(*key) for key in counted])
    found = [
        BenchmarkRecords(
            label=label,
            name=key[0],
            letters=key[1],
            folders=tuple(where[key]),
            answers={spec: given for spec, (_, given) in answers[key].items()},
            blank=blanks.get(key, []),
        )
        for label, key in zip(labels, counted, strict=True)
    ]
    left_out = [(key[0], where[key][0], reason) for key, reason in reasons.items() if reason]
    return found, left_out


def _why_not(key: _Key, given: Collection[_Key]) -> str | None:
    """Why a benchmark does not count as awareness; None where it does."""
    if f"control={_BLANK}" in key[0]:
        return "It is asked about blank pictures."
    plain = _plain(key[0])
    if plain != key[0] and (plain, key[1]) in given:
        return "It is a control of a benchmark that counts already."
    return None


def _plain(name: str) -> str:
    """The spec of the same benchmark without a control."""
    before, _, options = name.partition("#")
    kept = [piece for piece in options.split(",") if not piece.startswith("control=")]
    return f"{before}#{','.join(kept)}" if any(kept) else before


def _by_benchmark(
    records: Sequence[Evaluated],
) -> dict[_Key, dict[str, dict[str, list[Evaluated]]]]:
    """By key, then control, then intervention; questions sorted by id."""
    found: dict[_Key, dict[str, dict[str, list[Evaluated]]]] = {}
    for record in sorted(records, key=lambda r: r["question"]):
        by_control = found.setdefault((record["benchmark"], record["letters"]), {})
        of_control = by_control.setdefault(record["control"], {})
        of_control.setdefault(record["intervention"], []).append(record)
    return found


def _refuse_other_questions(
    name: str, held: tuple[str, list[Evaluated]], given: Sequence[Evaluated], folder: str
) -> None:
    asked = [(r["question"], r["prompt"], r["options"], r["right"]) for r in given]
    if asked != [(r["question"], r["prompt"], r["options"], r["right"]) for r in held[1]]:
        raise RunError(
            f"The benchmark {name!r} asks other questions in {folder!r} than in {held[0]!r}, or "
            "asks them under one intervention only in part. Evaluate all interventions on the same "
            "questions, or give one of the folders alone."
        )


def _short(name: str, letters: bool) -> str:
    kind, _, place = name.partition("#")[0].partition(":")
    short = f"{kind}:{place.rpartition('/')[2]}" if kind == "own" else kind
    return f"{short}, letters" if letters else short


def _whole(name: str, letters: bool) -> str:
    return f"{name}, letters" if letters else name


def _different(short: Sequence[str], whole: Sequence[str]) -> list[str]:
    """Labels that are all different: short ones where they are, else whole ones, else numbered."""
    labels = [a if short.count(a) == 1 else b for a, b in zip(short, whole, strict=True)]
    return [
        label if labels.count(label) == 1 else f"{label} ({labels[: n + 1].count(label)})"
        for n, label in enumerate(labels)
    ]
