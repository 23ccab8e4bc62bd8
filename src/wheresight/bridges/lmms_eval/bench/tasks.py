"""Which tasks `wheresight bench` knows by name: the paper's tables, and what had to be derived.

BaPA (arXiv 2509.21984), Table 2: MMMU-Pro with 4 and 10 options, answered directly; ScienceQA with
pictures; CRPE relation; HallusionBench. Table 3: existence, count, position and colour of MME.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wheresight.bridges.lmms_eval import TASKS
from wheresight.bridges.lmms_eval.bench import task_files
from wheresight.errors import RunError

MME_CATEGORIES = ("existence", "count", "position", "color")
_HALLUSION = "lmms_eval.tasks.hallusion_bench.evaluate_hb.hb_aggregation_result"


@dataclass(frozen=True)
class Derived:
    """A task that includes one of lmms-eval's and changes a setting; its functions are theirs.

    Attributes:
        official: the task that is included.
        changes: lines of YAML that replace its own.
        why: what the change is for.
    """

    official: str
    changes: str
    why: str


DERIVED = {
    "wheresight_mmmu_pro_4": Derived(
        "mmmu_pro_standard",
        'dataset_name: "standard (4 options)"\n',
        "lmms-eval has MMMU-Pro with 10 options alone; this is the same task on the 4 options.",
    ),
    "wheresight_hallusion_bench": Derived(
        "hallusion_bench_image",
        "metric_list:\n"
        + "".join(
            f"  - metric: {name}\n    aggregation: !function {_HALLUSION}_{name}_intern\n"
            "    higher_is_better: true\n"
            for name in ("aAcc", "qAcc", "fAcc")
        ),
        "Scored by lmms-eval's own rule (Yes anywhere in the answer), not by GPT as its task "
        "hallusion_bench_image is.",
    ),
    "wheresight_mme": Derived(
        "mme",
        "process_docs: !function wheresight.bridges.lmms_eval.bench.mme.four_categories\n"
        "metric_list:\n  - metric: mme_perception_score\n"
        "    aggregation: !function lmms_eval.tasks.mme.utils.mme_aggregate_results\n"
        "    higher_is_better: true\n",
        f"The categories {', '.join(MME_CATEGORIES)} of MME alone, as in the paper's Table 3.",
    ),
}
GROUPS = {
    "downstream": (
        "wheresight_mmmu_pro_4",
        "mmmu_pro_standard",
        "scienceqa_img",
        "crpe_relation",
        "wheresight_hallusion_bench",
        "wheresight_mme",
    ),
}
# Tasks whose score is asked of a paid model, and what to take instead.
_JUDGED = {"hallusion_bench_image": "wheresight_hallusion_bench"}


def own_tasks() -> tuple[str, ...]:
    """Names of the task files that come with this package."""
    return tuple(sorted(path.stem for path in TASKS.glob("*.yaml")))


def known() -> tuple[str, ...]:
    """Names that are this package's own."""
    return (*GROUPS, *DERIVED, *own_tasks())


def expand(names: Iterable[str]) -> list[str]:
    """Tasks of the names given, groups opened, each once and in order.

    Raises:
        RunError: a name that there is not, or a task that needs a judge.
    """
    found: list[str] = []
    for name in names:
        for one in GROUPS.get(name, (name,)):
            found += [one] if one in DERIVED else task_files.tasks_of(one, known())
    for name in found:
        if name in _JUDGED:
            raise RunError(
                f"The task {name!r} has GPT judge every answer over the network, which wheresight "
                f"bench does not do. Take {_JUDGED[name]!r}, which is scored by lmms-eval's own "
                "rule, or run it with lmms-eval itself."
            )
    return list(dict.fromkeys(found))


def config_of(name: str) -> dict[str, Any]:
    """A task's settings, with those that a derived task replaces."""
    if name not in DERIVED:
        return task_files.read(task_files.file_of(name, known()))
    derived = DERIVED[name]
    config = task_files.read(task_files.file_of(derived.official, known()))
    return {**config, **task_files.parse(derived.changes)}


def write_task_files(folder: Path, names: Sequence[str], extra: dict[str, str]) -> None:
    """Write the task files that lmms-eval has not itself, for its --include_path.

    Args:
        folder: made if it is not there.
        names: the tasks that will be run.
        extra: further lines for some of them, by name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    own = own_tasks()
    for name in names:
        if name in DERIVED:
            included, changes = task_files.index()[DERIVED[name].official], DERIVED[name].changes
        elif name in own:
            included, changes = TASKS / f"{name}.yaml", ""
        else:
            continue
        lines = f"include: {included}\ntask: {name}\n{changes}{extra.get(name, '')}"
        (folder / f"{name}.yaml").write_text(lines, encoding="utf-8")
