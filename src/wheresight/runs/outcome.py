"""From a folder's records to results.json and report.html; no model is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wheresight.errors import WheresightError
from wheresight.runs.progress import Progress, Silent
from wheresight.runs.results import Environment, Results, write
from wheresight.runs.store import RunFolder

if TYPE_CHECKING:
    import pyarrow as pa

    from wheresight.report.thumbnails import Render


def summarise_folder(
    folder: RunFolder,
    *,
    render: Render | None = None,
    replicates: int = 2000,
    progress: Progress | None = None,
) -> tuple[Results, str]:
    """Make results.json and report.html from a folder's records; no model is needed.

    Returns the numbers and the address of the page.

    Args:
        folder: the run.
        render: recipe JSON to picture, or None to try the run's own source.
        replicates: bootstrap replicates.
    """
    from wheresight.report.build import write_report

    progress = progress or Silent()
    results, records = results_of(folder, replicates=replicates, progress=progress)
    progress.say("Drawing the report")
    with folder.files() as place:
        write(results, place)
        report = write_report(place, results, records, render or renderer_of(folder))
    return results, folder.place.uri(report.name)


def results_of(
    folder: RunFolder, *, replicates: int = 2000, progress: Progress | None = None
) -> tuple[Results, pa.Table]:
    """Compute a folder's results from its records; nothing is written.

    Returns the numbers, and the records that they are of.
    """
    from wheresight.runs.summarise import summarise

    manifest = folder.manifest()
    records = folder.read()
    (progress or Silent()).say(f"Computing intervals from {records.num_rows:,} records")
    environment = manifest["environment"]
    results = summarise(
        records,
        configuration=manifest["identity"],
        environment=Environment.model_validate(environment) if environment else None,
        command=manifest["request"]["command"],
        replicates=replicates,
    )
    return results, records


def renderer_of(folder: RunFolder) -> Render | None:
    """Draws a folder's composites from its own source, if that is still there and unchanged."""
    return _renderer(folder.manifest()["identity"])


def _renderer(identity: dict[str, Any]) -> Render | None:
    """Draws composites from the run's own source, if it is still there and unchanged."""
    from wheresight.stimuli.composites import Recipe
    from wheresight.stimuli.render import Renderer
    from wheresight.stimuli.sources import open_source

    try:
        source = open_source(identity["source"])  # the name carries columns and sample
    except WheresightError:
        return None  # the report says that pictures could not be drawn
    if source.fingerprint != identity["source_fingerprint"]:
        return None
    renderer = Renderer(source)
    return lambda recipe: renderer.render(Recipe.from_json(recipe))
