"""The paper's Tables 2 and 3 from a bench's tasks (BaPA, arXiv 2509.21984, section 5.4)."""

from __future__ import annotations

from dataclasses import dataclass

from wheresight.bridges.lmms_eval.bench.results import Bench, Metric, Task


@dataclass(frozen=True)
class Column:
    """One column: a metric of a task."""

    heading: str
    metric: Metric


@dataclass(frozen=True)
class PaperTable:
    """One table of the paper with the columns that were measured."""

    title: str
    note: str
    columns: list[Column]


def paper_tables(bench: Bench) -> list[PaperTable]:
    """Those tables of which something was measured."""
    found = []
    for title, note, columns in (
        (_TITLE_2, _NOTE_2, _two(bench)),
        (_TITLE_3, _NOTE_3, _three(bench)),
    ):
        if columns:
            found.append(PaperTable(title, note, columns))
    return found


_TITLE_2 = "Downstream tasks, as in Table 2"
_NOTE_2 = (
    "The paper keeps only questions with exactly one picture; so does this table where a task has "
    "others. HallusionBench is its share of right answers (aAcc). The paper does not say by which "
    "prompts and readers its numbers were made; these are lmms-eval's."
)
_TITLE_3 = "MME, as in Table 3"
_NOTE_3 = (
    "Each category counts accuracy over questions plus accuracy over pairs of questions about one "
    "picture, in percent, so it ends at 200; the total is their sum."
)


def _two(bench: Bench) -> list[Column]:
    named = {
        "wheresight_mmmu_pro_4": "MMMU-Pro, 4 options",
        "mmmu_pro_standard": "MMMU-Pro, 10 options",
        "scienceqa_img": "ScienceQA image",
        "crpe_relation": "CRPE relation",
        "wheresight_hallusion_bench": "HallusionBench",
    }
    found = []
    for name, heading in named.items():
        task = bench.task(name)
        if task is not None and task.metrics:
            found.append(Column(heading, _with_one_picture(task)))
    return found


def _with_one_picture(task: Task) -> Metric:
    first = task.metrics[0]
    return task.metric(f"{first.name},one picture") or first


def _three(bench: Bench) -> list[Column]:
    task = bench.task("wheresight_mme") or bench.task("mme")
    if task is None:
        return []
    name = "mme_perception_score"
    parts = ("existence", "count", "position", "color")
    found = [
        Column(part, metric)
        for part in parts
        if (metric := task.metric(f"{name},{part}")) is not None
    ]
    total = task.metric(name)
    if task.name == "wheresight_mme" and total is not None:
        found.append(Column("total", total))
    return found
