"""The task wheresight/grid_probe, run by Inspect's own eval: its samples, scores and numbers."""

from __future__ import annotations

import hashlib
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("inspect_ai", reason="the extra [inspect] is not installed here")

from inspect_ai.model import ModelOutput, ModelUsage, get_model
from PIL import Image

from wheresight.bridges.inspect.grid_probe import _png
from wheresight.bridges.inspect.yes_no import READINGS, readings
from wheresight.runs.grid_run import GridRequest, run_grid
from wheresight.runs.progress import Silent
from wheresight.runs.request import open_grid
from wheresight.runs.results import Results
from wheresight.runs.store import RunFolder
from wheresight.statistics.dispersion import delta, noise_floor

SMALL = {"items": 2, "grid": "2x2"}
# A method under which the small model errs, so that numbers are not all 0 or 1.
ERRS = "bapa_far"
MODEL = "wheresight/pocket"


def numbers(log: Any) -> dict[str, float]:
    """All metrics of a run by name."""
    found: dict[str, float] = {}
    for score in log.results.scores:
        found |= {name: metric.value for name, metric in score.metrics.items()}
    return found


def answers(log: Any) -> dict[str, tuple[str, str]]:
    """By sample: what was said, and how it was read."""
    return {
        sample.id: (sample.output.completion, sample.scores["yes_no"].answer)
        for sample in log.samples
    }


def said(text: str) -> ModelOutput:
    output = ModelOutput.from_content("mockllm/model", text)
    output.usage = ModelUsage()  # else tokens are counted by a tokenizer from the network
    return output


def constant(text: str) -> Any:
    """A model that always says the same."""
    return get_model("mockllm/model", custom_outputs=lambda *_: said(text))


def drawn() -> Any:
    """A model whose answer hangs on the picture and the question, by a hash: yes, no or neither."""

    def answer(messages: Any, *_: Any) -> ModelOutput:
        told = messages[-1].content[0].image + messages[-1].text
        number = hashlib.sha256(told.encode()).digest()[0]
        return said(("Yes", "No", "No.", "yes, it is", "Maybe")[number % 5])

    return get_model("mockllm/model", custom_outputs=answer)


@pytest.fixture(scope="module")
def logs(evaluate: Any) -> dict[tuple[str, int], Any]:
    """The pocket model without and with an intervention, one question at once and eight."""
    return {
        (spec, size): evaluate(MODEL, {"intervention": spec, "batch_size": size}, **SMALL)
        for spec in ("none", "bapa", ERRS)
        for size in (1, 8)
        if spec != ERRS or size == 8
    }


@pytest.mark.parametrize("spec", ["none", "bapa"])
def test_answers_do_not_depend_on_the_batch(logs: Any, spec: str) -> None:
    alone, together = logs[spec, 1], logs[spec, 8]
    assert len(answers(alone)) == 2 * 4 * 3
    assert answers(alone) == answers(together)
    assert numbers(alone) == numbers(together)


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Results]:
    """The same items through `wheresight probe --generate`."""
    out = tmp_path_factory.mktemp("probed") / "run"
    specs = ("none", "bapa", ERRS)
    request = GridRequest(out=str(out), interventions=specs, generate=True, **SMALL)
    results = run_grid(request).results
    assert results is not None
    return out, results


@pytest.mark.parametrize("spec", ["none", "bapa", ERRS])
def test_numbers_are_those_of_the_probe(logs: Any, probed: tuple[Path, Results], spec: str) -> None:
    out, results = probed
    theirs = results.intervention(spec)
    log, found = logs[spec, 8], numbers(logs[spec, 8])

    rows = {
        f"{row['item']}-cell{row['cell']}-{row['question']}": (row["text"], row["answer"])
        for row in RunFolder(out).read().to_pylist()
        if row["intervention"] == spec
    }
    assert answers(log) == rows
    identity = RunFolder(out).manifest()["identity"]
    assert log.eval.metadata == {**identity, "model": MODEL}
    if spec == ERRS:
        assert 0 < found["balanced_accuracy"] < 1

    def same(name: str, estimate: Any) -> None:
        for end, value in (("_low", estimate.low), ("_high", estimate.high)):
            assert found[name + end] == pytest.approx(value, nan_ok=True), name

    rates = ("balanced_accuracy", "hit_rate", "false_alarm_rate")
    for name in rates:
        estimate = getattr(theirs.overall, name)
        assert found[name] == pytest.approx(estimate.value), name
        same(name, estimate)
    for cell in theirs.cells:
        for name in rates[:2]:
            assert found[f"{name}_cell_{cell.cell}"] == pytest.approx(getattr(cell, name).value)
    assert found["delta"] == pytest.approx(theirs.overall.spread.delta.value)
    assert found["delta_noise_floor"] == pytest.approx(theirs.overall.spread.noise_floor.value)
    for name, spread in (
        ("delta", theirs.overall.spread),
        ("balanced_delta", theirs.overall.balanced_spread),
    ):
        assert found[f"{name}_debiased"] == pytest.approx(spread.delta_debiased.value)
        same(f"{name}_debiased", spread.delta_debiased)
    for name in ("flip_rate", "strict_accuracy"):
        estimate = getattr(theirs.overall.agreement, name)
        assert found[name] == pytest.approx(estimate.value)
        same(name, estimate)
    assert found["items"] == results.counts.items == 2


@pytest.mark.parametrize(
    ("text", "hits", "alarms", "balanced"),
    [("Yes", 1.0, 1.0, 0.5), ("No.", 0.0, 0.0, 0.5), ("A mug.", 0.0, 0.0, 0.0)],
)
def test_a_constant_answer_earns_nothing(
    evaluate: Any, text: str, hits: float, alarms: float, balanced: float
) -> None:
    found = numbers(evaluate(constant(text), canvas=96, **SMALL))
    assert found["hit_rate"] == hits
    assert found["false_alarm_rate"] == alarms
    assert found["balanced_accuracy"] == balanced
    assert all(found[f"balanced_accuracy_cell_{cell}"] == balanced for cell in range(4))
    assert found["delta"] == found["flip_rate"] == found["strict_accuracy"] == 0.0


def test_numbers_of_any_answers_follow_from_their_definitions(evaluate: Any) -> None:
    """Also with two epochs, each an item of its own of the same key picture."""
    log = evaluate(drawn(), items=6, grid="2x2", canvas=96, more={"epochs": 2})
    found = numbers(log)
    items = sorted({sample.metadata["item"] for sample in log.samples})
    first = [sample for sample in log.samples if sample.epoch == 1]
    read = np.full((3, len(items), 4), "", dtype=object)  # kinds, items, cells
    for sample in first:
        of = sample.metadata
        kind = ("positive", "absent", "sibling").index(of["kind"])
        read[kind, items.index(of["item"]), of["cell"]] = sample.scores["yes_no"].answer
        assert sample.target == ("No" if kind else "Yes")
    hits, negatives = read[0] == "yes", read[1:]
    asked = negatives != ""
    assert set(negatives[asked]) == {"yes", "no", "neither"}

    def balanced(cells: Any) -> float:
        right = (negatives[..., cells] == "no").sum() / asked[..., cells].sum()
        return float((hits[:, cells].mean() + right) / 2)

    assert found["hit_rate"] == pytest.approx(hits.mean())
    assert found["false_alarm_rate"] == pytest.approx((negatives[asked] == "yes").mean())
    assert found["balanced_accuracy"] == pytest.approx(balanced(slice(None)))
    for cell in range(4):
        assert found[f"hit_rate_cell_{cell}"] == pytest.approx(hits[:, cell].mean())
        assert found[f"balanced_accuracy_cell_{cell}"] == pytest.approx(balanced(cell))
    percent = 100.0 * np.concatenate([hits, hits])
    floor = float(noise_floor(percent, np.concatenate([np.arange(6)] * 2))[0])
    assert found["items"] == 12
    assert found["delta"] == pytest.approx(float(delta(percent.mean(axis=0))))
    assert found["delta_noise_floor"] == pytest.approx(floor)
    assert found["delta_debiased"] == pytest.approx(found["delta"] - floor)
    assert found["strict_accuracy_low"] <= found["strict_accuracy"] <= found["strict_accuracy_high"]


def test_a_limit_leaves_items_out_that_are_not_complete(evaluate: Any) -> None:
    found = numbers(evaluate(constant("Yes"), canvas=96, more={"limit": 17}, **SMALL))
    assert found["items"] == 1  # of 12 questions; 5 of the second item's
    found = numbers(evaluate(constant("Yes"), canvas=96, more={"limit": 5}, **SMALL))
    assert found["items"] == 0 and math.isnan(found["delta"])
    assert found["hit_rate"] == 1.0


def test_the_papers_protocol_asks_positives_alone(evaluate: Any) -> None:
    log = evaluate(constant("Yes"), canvas=96, protocol="paper", question="is {caption}", **SMALL)
    found = numbers(log)
    assert {s.metadata["kind"] for s in log.samples} == {"positive"}
    assert all(s.input == f"is {s.metadata['caption']}" for s in log.samples)
    assert found["hit_rate"] == 1.0 and "balanced_accuracy" not in found


def test_samples_say_what_they_are_and_what_is_shown(logs: Any) -> None:
    log = logs["none", 8]
    sample = next(s for s in log.samples if s.metadata["cell"] == 3)
    assert (sample.metadata["row"], sample.metadata["column"]) == (1, 1)
    assert sample.id == f"{sample.metadata['item']}-cell3-{sample.metadata['kind']}"
    assert log.eval.metadata["source"] == "pocket" and log.eval.metadata["canvas"] == 96
    assert set(sample.scores["yes_no"].metadata["readings"]) == set(READINGS)
    assert sample.output.metadata == {"intervention": "none"}


def test_pictures_are_the_probes_own_pixel_for_pixel() -> None:
    _, probe = open_grid(GridRequest(out="", **SMALL), Silent())
    for composite in probe.shown(probe.items):
        recipe = composite.recipe.to_json()
        shown = Image.open(io.BytesIO(_png("pocket", recipe)))
        drawn = probe.render(recipe)
        assert (shown.mode, shown.size) == (drawn.mode, drawn.size) == ("RGB", (96, 96))
        assert shown.tobytes() == drawn.tobytes()


def test_the_readings_differ_where_texts_are_unclear() -> None:
    assert readings("Yes, there is no doubt.") == {
        "first_word": "yes",
        "exact": "neither",
        "strict": "neither",
        "first": "yes",
        "last": "no",
    }
    assert set(readings("**No**").values()) == {"no"}
    assert set(readings("Nothing.").values()) == {"neither"}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"items": 0}, "0 items"),
        ({"grid": "9x9"}, "9x9"),
        ({"protocol": "both"}, "Unknown protocol"),
        ({"reading": "kindly"}, "Unknown reading"),
        ({"source": "nowhere"}, "Unknown source"),
        ({"question": "which"}, "Unknown question"),
    ],
)
def test_a_wrong_parameter_is_a_sentence(
    evaluate: Any, given: dict[str, Any], sentence: str
) -> None:
    from inspect_ai._util.error import PrerequisiteError

    with pytest.raises(PrerequisiteError) as raised:
        evaluate(constant("Yes"), **{**SMALL, **given})
    assert sentence in str(raised.value)
