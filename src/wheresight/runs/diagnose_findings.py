"""From the records of diagnostics to findings.json and the page; no model is needed."""

from __future__ import annotations

from collections.abc import Sequence

from wheresight.probes.diagnostic import Context, Diagnostic, Finding, Records
from wheresight.probes.grid import GridSettings
from wheresight.probes.registry import diagnostic_of
from wheresight.runs import diagnostic_records as records
from wheresight.runs.diagnosis import FILE_NAME, Diagnosed, Diagnosis, diagnosed
from wheresight.runs.manifest import ManifestFile
from wheresight.runs.places import Place, open_place
from wheresight.runs.progress import Progress, Silent
from wheresight.runs.results import Bootstrap, Environment
from wheresight.runs.summarise import METHOD
from wheresight.skeletons import CAUTION, is_skeleton

MANIFEST = ManifestFile("diagnose.json", 1, "diagnostics", "`wheresight diagnose --out DIR` wrote")

# A diagnostic with its records by intervention and its findings.
Drawn = tuple[Diagnostic, dict[str, Records], list[Finding]]


def redraw(
    where: str, *, replicates: int | None = None, progress: Progress | None = None
) -> tuple[Diagnosis, str]:
    """Make findings.json and the page again from a folder's records; no model is needed."""
    place = open_place(where)
    with place.hold("redraw", "0"):
        return write_findings(place, progress or Silent(), replicates)


def write_findings(
    place: Place, progress: Progress, replicates: int | None = None
) -> tuple[Diagnosis, str]:
    """Compute findings.json from the records that the manifest names, and draw the page.

    Returns the findings and the page's address.
    """
    from wheresight.report.diagnostics.build import write_page

    diagnosis, drawn, context = diagnosis_of(place, progress, replicates)
    with place.folder() as folder:
        place.write(FILE_NAME, (diagnosis.model_dump_json(indent=2) + "\n").encode())
        page = write_page(folder, diagnosis, drawn, context)
    return diagnosis, place.uri(page)


def diagnosis_of(
    place: Place, progress: Progress, replicates: int | None = None, *, whole: bool = True
) -> tuple[Diagnosis, list[Drawn], Context]:
    """Compute findings from the records that the manifest names; nothing is written.

    Args:
        place: of the diagnostics.
        progress: is told each diagnostic.
        replicates: of the bootstrap; those of the run unless told.
        whole: expect all records; else a diagnostic that lacks some is passed over, as is due
            while a run is under way.

    Returns:
        The findings; each diagnostic with its records by intervention and its findings; and what
        its pictures may know.
    """
    manifest = MANIFEST.read(place)
    settings = GridSettings.model_validate(manifest["configuration"])
    context = Context(
        settings=settings,
        replicates=replicates or manifest["replicates"],
        seed=settings.seed,
    )
    entries: list[Diagnosed] = []
    drawn: list[Drawn] = []
    for entry in manifest["diagnostics"]:
        tool = diagnostic_of(entry["spec"].partition(":")[0], entry["options"])
        if not whole and not all(records.has(place, tool, u) for u in entry["units"].values()):
            continue
        progress.say(f"Computing intervals and drawing: {tool.name}")
        found = {spec: records.read(place, tool, unit) for spec, unit in entry["units"].items()}
        tables = {spec: table for spec, (_, table) in found.items()}
        findings = tool.findings(tables, context) if tables else []
        files = {spec: name for spec, (name, _) in found.items()}
        entries.append(diagnosed(tool, list(tables), files, entry["left_out"], findings))
        drawn.append((tool, tables, findings))
    environment = manifest["environment"]
    diagnosis = Diagnosis(
        schema_version=1,
        command=manifest["command"],
        configuration=manifest["configuration"],
        environment=Environment.model_validate(environment) if environment else None,
        bootstrap=Bootstrap(
            replicates=context.replicates, seed=context.seed, level=context.level, cluster="key",
            clusters=_clusters(drawn), method=METHOD,
        ),
        diagnostics=entries,
        left_out=manifest["left_out"],
        caution=CAUTION if is_skeleton(settings.model) else None,
    )  # fmt: skip
    return diagnosis, drawn, context


def _clusters(drawn: Sequence[Drawn]) -> int:
    """Key pictures in all records together."""
    keys = {
        str(key)
        for _, tables, _ in drawn
        for table in tables.values()
        for key in table.get("key", ())
    }
    return len(keys)
