"""The page of an evaluation from its folder, with the pictures of the benchmarks at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PIL import Image

from wheresight.errors import WheresightError
from wheresight.probes.evaluate import Evaluated
from wheresight.report.evaluation.boxes import AtHand, LabelledBox
from wheresight.report.evaluation.build import Renders, write_page
from wheresight.runs.evaluation_results import Evaluation
from wheresight.runs.places import Place
from wheresight.stimuli.benchmarks import Benchmark, open_benchmark


def draw(
    place: Place,
    evaluation: Evaluation,
    records: Sequence[Evaluated],
    fingerprints: Mapping[str, str],
    opened: Mapping[str, Benchmark] | None = None,
) -> str:
    """Write evaluation.html and figures/, and return the page's address.

    Args:
        place: the evaluation's.
        evaluation: its numbers.
        records: what they were made from.
        fingerprints: of each benchmark when it was asked, by its name. One that is not at hand, or
            another by now, lends no pictures, and the page says so.
        opened: benchmarks that are open already, by their names.
    """
    with place.folder() as folder:
        name = write_page(folder, evaluation, records, renders(fingerprints, opened or {}))
    return place.uri(name)


def renders(fingerprints: Mapping[str, str], opened: Mapping[str, Benchmark]) -> Renders:
    """What draws the pictures of benchmarks, and knows their boxes; see `draw`."""

    def render(name: str) -> AtHand | None:
        try:
            benchmark = opened[name] if name in opened else open_benchmark(name)
        except WheresightError:
            return None
        if benchmark.fingerprint != fingerprints.get(name):
            return None
        questions = {question.id: question for question in benchmark.questions()}

        def picture(question: str) -> Image.Image:
            return benchmark.picture(questions[question])

        def boxes(question: str) -> list[LabelledBox]:
            found = questions[question]
            labels = found.box_labels or ("",) * len(found.boxes)
            return list(zip(found.boxes, labels, strict=True))

        return AtHand(picture, boxes)

    return render
