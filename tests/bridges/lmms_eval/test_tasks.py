"""Every task of the paper's tables, and three more, through lmms-eval's own code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_data import TASKS, caption

import wheresight
from wheresight.bridges.lmms_eval.bench import local_data, samples, task_files, tasks
from wheresight.bridges.lmms_eval.bench.units import Answers
from wheresight.lvlm.encoding import Query
from wheresight.lvlm.option_scoring import OptionScorer
from wheresight.lvlm.scoring import Scorer
from wheresight.statistics.clustered import Clusters

SPECS = ("none", "bapa")
Found = dict[tuple[str, int], dict[str, Any]]


# A task that compares likelihoods, as lmms-eval's seedbench_ppl does, on POPE's questions.
BY_LIKELIHOOD = """
task: pope_by_likelihood
dataset_path: lmms-lab-encoder/POPE
test_split: test
output_type: multiple_choice
doc_to_visual: !function lmms_eval.tasks.pope.utils.pope_doc_to_visual
doc_to_text: question
doc_to_choice: ["yes", "no"]
doc_to_target: "{{['yes', 'no'].index(answer)}}"
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
"""


@pytest.fixture(scope="module")
def include(local: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of task files; the working directory holds all data under the hub's names."""
    import datasets

    root = tmp_path_factory.mktemp("tasks")
    wanted = {name: task_files.dataset_of(tasks.config_of(name)) for name in TASKS}
    folders = {name: local_data.folder_of(local, name, wanted[name]) for name in TASKS}
    assert all(folders.values())
    local_data.stage(folders, wanted, root / "data")  # type: ignore[arg-type]
    tasks.write_task_files(root / "tasks", TASKS, {})
    (root / "tasks" / "pope_by_likelihood.yaml").write_text(BY_LIKELIHOOD)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root / "data")
        patch.setenv("LMMS_EVAL_DATASETS_CACHE", str(root / "cache"))
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", root / "cache")
        yield root / "tasks"


@pytest.fixture(scope="module")
def found(include: Path) -> Found:
    """Results of all tasks under both interventions, one prompt at once and eight."""
    from in_process import evaluate

    both = [(spec, size) for spec in SPECS for size in (1, 8)]
    return {(spec, size): evaluate(TASKS, include, spec, size) for spec, size in both}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("spec", SPECS)
def test_batches_of_one_and_of_eight_are_alike(found: Found, task: str, spec: str) -> None:
    one, eight = found[spec, 1], found[spec, 8]
    assert one["results"][task] == eight["results"][task]
    texts = [[s["filtered_resps"] for s in f["samples"][task]] for f in (one, eight)]
    assert texts[0] == texts[1] and len(texts[0]) >= 3


def test_the_two_interventions_are_two(found: Found) -> None:
    """They differ somewhere, so the equalities above are not of a model that is deaf."""

    def all_texts(spec: str) -> list[Any]:
        return [s["filtered_resps"] for t in TASKS for s in found[spec, 8]["samples"][t]]

    assert all_texts("none") != all_texts("bapa")


@pytest.mark.parametrize("task", TASKS)
def test_scores_are_read_back_from_samples(found: Found, task: str) -> None:
    """The first number of each task is the average of what its samples tell."""
    for spec in SPECS:
        results = found[spec, 8]
        own = Answers(results, results["samples"][task], {})
        first, *_ = samples.numbers(task, own, lambda labels: Clusters(labels, replicates=50))
        assert first.drawn is not None, first
        value = first.drawn.value
        assert float(value) == pytest.approx(first.official, abs=1e-5)


def test_what_derived_tasks_ask(found: Found) -> None:
    asked = {task: found["none", 8]["samples"][task] for task in TASKS}
    four, ten = asked["wheresight_mmmu_pro_4"][0], asked["mmmu_pro_standard"][0]
    assert f"D. {caption(3)}" in four["arguments"][0] and "E. " not in four["arguments"][0]
    assert f"J. {caption(9)}" in ten["arguments"][0]
    categories = {s["mme_perception_score"]["category"] for s in asked["wheresight_mme"]}
    assert categories == set(tasks.MME_CATEGORIES) and len(asked["wheresight_mme"]) == 16
    assert "Answer the question using a single word or phrase." in str(asked["pope"][0])
    assert len(asked["wheresight_hallusion_bench"]) == 6


def test_pictures_of_gqa_come_from_its_other_configuration(found: Found) -> None:
    assert [s["target"] for s in found["none", 8]["samples"]["gqa"]] == [
        caption(0), caption(1), caption(0)
    ]  # fmt: skip


def test_a_task_of_likelihoods_is_that_of_option_scoring(include: Path) -> None:
    """lmms-eval's multiple choice, which its own models of these families refuse."""
    from in_process import evaluate
    from small_data import scene

    names = ["pope_by_likelihood"]
    by_size = [evaluate(names, include, "bapa", size, simple=True) for size in (1, 8)]
    scorer = Scorer(wheresight.load("pocket", device="cpu"))
    asked = [f"Is there a {caption(k)} in the image?" for n in range(4) for k in (n, n + 20)]
    queries = [Query(scene(n // 2), (text,)) for n, text in enumerate(asked)]
    options = OptionScorer(scorer)
    (scores,) = options.score_all(scorer.encode(queries), [["yes", "no"]] * 8, ["bapa"])
    right = sum(one.picked == n % 2 for n, one in enumerate(scores)) / 8
    for result in by_size:
        assert result["results"]["pope_by_likelihood"]["acc,none"] == right
        logs = [s["filtered_resps"] for s in result["samples"]["pope_by_likelihood"]]
        for own, one in zip(logs, scores, strict=True):
            assert [-loss for loss, _ in own] == pytest.approx(list(one.logp), abs=1e-4)
