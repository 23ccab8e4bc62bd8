"""results.json: made from records, honest about models that do not look, read back as written."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from wheresight.errors import RunError
from wheresight.runs import results as schema
from wheresight.runs.records import RECORD_SCHEMA
from wheresight.runs.results import Estimate, Results, json_schema, read, write
from wheresight.runs.schema_page import schema_markdown
from wheresight.runs.summarise import summarise

ROOT = Path(__file__).parents[2]
QUESTIONS = ("positive", "absent", "sibling")


def records(
    answer,
    *,
    items: int = 12,
    cells: int = 9,
    interventions: tuple[str, ...] = ("none",),
    questions: tuple[str, ...] = QUESTIONS,
    keys: int | None = None,
) -> pa.Table:
    """Records in which answer(item, cell, question, intervention) gives (answer, margin)."""
    rows = []
    for intervention in interventions:
        for item in range(items):
            for cell in range(cells):
                for question in questions:
                    said, margin = answer(item, cell, question, intervention)
                    rows.append(
                        {
                            "item": f"item{item:04d}",
                            "key": f"key{item % (keys or items):04d}",
                            "cell": cell,
                            "question": question,
                            "intervention": intervention,
                            "intervention_json": "[]",
                            "caption": "a cat",
                            "expected": question == "positive",
                            "margin": margin,
                            "argmax_id": 0,
                            "argmax_token": said,
                            "answer": said,
                            "text": None,
                            "recipe": "{}",
                            "unit": "u",
                        }
                    )
    return pa.Table.from_pylist(rows, schema=RECORD_SCHEMA)


def summary(table: pa.Table, **options) -> Results:
    options = {"configuration": {"rows": 3, "columns": 3}, "replicates": 200} | options
    return summarise(table, command="test", **options)


def always(said: str):
    return lambda item, cell, question, intervention: (said, {"yes": 2.0, "no": -2.0}.get(said, 0))


def noisy(seed: int, shift: dict[str, float] | None = None, slope: float = 0.0):
    """A model that sees: margins are normal about +1 or -1, lower in later cells by the slope."""

    def answer(item, cell, question, intervention):
        stream = np.random.default_rng([seed, item, cell, QUESTIONS.index(question)])
        margin = stream.normal(1.0 if question == "positive" else -1.0)
        margin += (shift or {}).get(intervention, 0.0) - slope * cell
        return ("yes" if margin > 0 else "no"), margin

    return answer


@pytest.mark.parametrize("said", ["yes", "no", "neither"])
def test_a_model_that_does_not_look_scores_chance_or_less(said):
    result = summary(records(always(said))).interventions[0]
    overall = result.overall
    assert overall.spread.delta.value == 0
    assert overall.agreement.consistent_rate.value == 1
    assert overall.balanced_accuracy.value == (0 if said == "neither" else 0.5)
    assert overall.d_prime.value == pytest.approx(0, abs=1e-12)
    assert overall.auc.value == 0.5
    assert overall.agreement.strict_accuracy.value == 0
    assert overall.cochran_q.p is None and overall.cochran_q.reason
    assert any("say nothing about robustness" in w for w in result.warnings)
    assert any("do not tell positives from negatives" in w for w in result.warnings)
    assert any("neither Yes nor No. They count" in w for w in result.warnings) == (
        said == "neither"
    )
    bias = overall.criterion.value
    assert bias < -1 if said == "yes" else bias > 1


def test_answers_that_are_neither_are_right_on_neither_side():
    def answer(item, cell, question, intervention):
        return ("yes", 1.0) if question == "positive" else ("neither", -1.0)

    overall = summary(records(answer)).interventions[0].overall
    assert overall.hit_rate.value == 1
    assert overall.false_alarm_rate.value == 0
    assert overall.correct_rejection_rate.value == 0
    assert overall.neither_rate_negative.value == 1
    assert overall.balanced_accuracy.value == 0.5
    assert overall.margin_balanced_accuracy.value == 1
    assert overall.agreement.strict_accuracy.value == 0


def test_numbers_by_hand():
    """Two items, two cells: item 0 is right throughout; item 1 misses cell 1 and falls for the
    sibling in cell 0."""

    def answer(item, cell, question, intervention):
        if question == "positive":
            right = not (item == 1 and cell == 1)
            return ("yes", 2.0) if right else ("no", -1.0)
        wrong = question == "sibling" and item == 1 and cell == 0
        return ("yes", 3.0) if wrong else ("no", -2.0)

    out = summary(records(answer, items=2, cells=2), configuration={"rows": 1, "columns": 2})
    one = out.interventions[0]
    first, second = one.cells
    assert (first.hit_rate.value, second.hit_rate.value) == (1, 0.5)
    assert (first.false_alarm_rate.value, second.false_alarm_rate.value) == (0.25, 0)
    assert first.false_alarm_rate_by_kind["sibling"].value == 0.5
    assert first.false_alarm_rate_by_kind["absent"].value == 0
    assert first.balanced_accuracy.value == pytest.approx((1 + 0.75) / 2)
    # Cell 0: both positives at 2; negatives -2, -2, -2, 3. 6 of 8 pairs won.
    assert first.auc.value == pytest.approx(6 / 8)
    assert first.auc_by_kind["sibling"].value == pytest.approx(2 / 4)
    assert first.mean_margin_negative.value == pytest.approx((-6 + 3) / 4)
    assert one.overall.spread.average.value == pytest.approx(75)
    assert one.overall.spread.delta.value == pytest.approx(1250)
    assert one.overall.spread.range.value == pytest.approx(50)
    assert one.overall.spread.worst.value == pytest.approx(50)
    assert (one.overall.worst_cell, one.overall.balanced_worst_cell) == (1, 1)
    # Residuals of the two items are (-25, 25) and (25, -25): 2500 / (2 x 1 x 1).
    assert one.overall.spread.noise_floor.value == pytest.approx(1250)
    assert one.overall.spread.delta_debiased.value == pytest.approx(0)
    assert one.overall.agreement.consistent_rate.value == 0.5
    assert one.overall.agreement.flip_rate.value == 0.5
    assert one.overall.agreement.flip_rate_if_independent.value == pytest.approx(0.5)
    assert one.overall.agreement.strict_accuracy_positive.value == 0.5
    assert one.overall.agreement.strict_accuracy.value == 0.5
    assert (first.row, first.column, second.column) == (0, 0, 1)
    assert out.counts.items == 2 and out.counts.questions["sibling"] == 2


def test_every_interval_holds_its_estimate():
    out = summary(records(noisy(1, slope=0.1), items=60, interventions=("none", "bapa")))
    checked = 0

    def walk(node):
        nonlocal checked
        if isinstance(node, Estimate):
            if node.value is not None and node.low is not None:
                assert node.low - 1e-9 <= node.value <= node.high + 1e-9, node
                checked += 1
        elif isinstance(node, schema.Model):
            for name in type(node).model_fields:
                walk(getattr(node, name))
        elif isinstance(node, dict):
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(out)
    assert checked > 500


def test_row_order_and_names_of_other_interventions_change_nothing():
    table = records(noisy(2), items=20, interventions=("bapa", "none", "a"))
    shuffled = table.take(np.random.default_rng(0).permutation(table.num_rows))
    first, second = summary(table), summary(shuffled)
    when = {"environment": first.environment}
    assert first == second.model_copy(update=when)
    alone = summary(table, interventions=["none"])
    assert alone.interventions[0] == first.interventions[0]
    assert first.interventions[0].intervention == "none"
    assert [(c.a, c.b) for c in first.comparisons] == [("none", "a"), ("none", "bapa")]


def test_equal_interventions_do_not_differ():
    out = summary(records(noisy(3), items=20, interventions=("none", "again")))
    comparison = out.comparisons[0]
    assert comparison.overall.spread.delta.value == 0
    assert comparison.overall.auc.low == comparison.overall.auc.high == 0
    assert all(test.p == 1 and test.p_holm == 1 for test in comparison.mcnemar)
    assert comparison.criterion_shift.share.value is None
    assert "contains 0" in comparison.criterion_shift.share.reason
    assert comparison.criterion_shift.shift.value == pytest.approx(0, abs=1e-9)


def test_a_lean_to_yes_is_found_out():
    """The same margins with 2.5 nats added: Delta falls, AUC stays, and the criterion explains."""
    table = records(
        noisy(4, shift={"lean": 2.5}, slope=0.25), items=150, interventions=("none", "lean")
    )
    out = summary(table, replicates=300)
    comparison = out.comparisons[0]
    difference = comparison.overall
    assert difference.spread.delta.high < 0
    assert difference.auc.value == pytest.approx(0, abs=1e-12)
    assert difference.criterion.high < 0
    assert difference.false_alarm_rate.low > 0
    assert comparison.criterion_shift.share.value == pytest.approx(1, abs=0.1)
    gained = [t for t in comparison.mcnemar if t.question == "positive"]
    lost = [t for t in comparison.mcnemar if t.question == "absent"]
    assert all(t.only_a_right == 0 for t in gained) and all(t.only_b_right == 0 for t in lost)
    assert len(comparison.mcnemar) == 27
    assert all(t.p <= t.p_holm for t in comparison.mcnemar)


def test_only_complete_items_count():
    table = records(noisy(5), items=10, interventions=("none", "bapa"))
    mask = [
        not (row["item"] == "item0003" and row["cell"] == 8 and row["intervention"] == "bapa")
        for row in table.select(["item", "cell", "intervention"]).to_pylist()
    ]
    table = table.filter(pa.array(mask))
    out = summary(table)
    assert (out.counts.items, out.counts.items_left_out) == (9, 1)
    assert summary(table, interventions=["none"]).counts.items == 10


def test_items_without_a_sibling_still_count():
    table = records(noisy(6), items=10)
    keep = [
        row["question"] != "sibling" or row["item"] < "item0004"
        for row in table.select(["item", "question"]).to_pylist()
    ]
    out = summary(table.filter(pa.array(keep)))
    assert out.counts.items == 10
    assert out.counts.questions == {"positive": 10, "absent": 10, "sibling": 4}
    cell = out.interventions[0].cells[0]
    pooled = 10 * cell.false_alarm_rate_by_kind["absent"].value
    pooled += 4 * cell.false_alarm_rate_by_kind["sibling"].value
    assert cell.false_alarm_rate.value == pytest.approx(pooled / 14)
    by_kind = cell.auc_by_kind
    expected = (10 * by_kind["absent"].value + 4 * by_kind["sibling"].value) / 14
    assert cell.auc.value == pytest.approx(expected)


def test_paper_protocol():
    out = summary(records(noisy(7), questions=("positive",)))
    overall = out.interventions[0].overall
    assert out.protocol == "paper"
    assert overall.balanced_spread is None and overall.balanced_worst_cell is None
    assert overall.d_prime.value is None and "no negatives" in overall.d_prime.reason
    assert overall.auc.reason == overall.agreement.strict_accuracy.reason == overall.d_prime.reason
    assert overall.spread.delta.value is not None
    assert "always says Yes" in out.interventions[0].warnings[0]
    both = records(noisy(7))
    assert summary(both, protocol="paper").interventions == out.interventions
    assert summary(both, configuration={"protocol": "paper"}).grid is None


def test_a_shared_key_image_widens_the_interval():
    """Five items on each key that answer alike are worth little more than one."""

    def answer(item, cell, question, intervention):
        return noisy(8)(item % 12, cell, question, intervention)

    alone = summary(records(answer, items=60, questions=("positive",)))
    shared = summary(records(answer, items=60, keys=12, questions=("positive",)))
    assert (alone.counts.clusters, shared.counts.clusters) == (60, 12)
    one, two = (r.interventions[0].overall for r in (alone, shared))
    assert one.hit_rate.value == two.hit_rate.value
    assert two.hit_rate.high - two.hit_rate.low > 1.7 * (one.hit_rate.high - one.hit_rate.low)
    assert two.spread.noise_floor.value > 4 * one.spread.noise_floor.value


def test_one_key_and_one_cell_are_null_with_a_reason():
    one_key = summary(records(noisy(9), items=1)).interventions[0].overall
    assert one_key.hit_rate.value is not None and one_key.hit_rate.low is None
    assert "one key image" in one_key.hit_rate.reason
    out = summary(records(noisy(9), cells=1), configuration={})
    assert out.interventions[0].overall.spread.delta.reason == "There is only one cell."
    assert out.interventions[0].overall.cochran_q.reason == "There is only one cell."


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t.slice(0, 0), "no records"),
        (lambda t: pa.concat_tables([t, t.slice(0, 1)]), "recorded twice"),
        (lambda t: t.drop_columns(["margin"]), "lack the columns margin"),
        (lambda t: t.slice(0, 5), "None of the 1 items"),
        (
            lambda t: t.set_column(
                t.column_names.index("answer"), "answer", pa.array(["maybe"] * t.num_rows)
            ),
            "answer 'maybe'",
        ),
        (
            lambda t: t.set_column(
                t.column_names.index("margin"), "margin", pa.array([math.nan] * t.num_rows)
            ),
            "not finite",
        ),
        (
            lambda t: t.set_column(
                t.column_names.index("expected"), "expected", pa.array([True] * t.num_rows)
            ),
            "exactly one question",
        ),
    ],
)
def test_bad_records_are_refused_in_words(spoil, message):
    with pytest.raises(RunError, match=message):
        summary(spoil(records(always("yes"))))


def test_bad_requests_are_refused_in_words():
    table = records(always("yes"))
    with pytest.raises(RunError, match="no intervention 'bapa'"):
        summary(table, interventions=["bapa"])
    with pytest.raises(RunError, match="'bapa', which is not in the records"):
        summary(table, comparisons=[("none", "bapa")])
    with pytest.raises(RunError, match="at least 100 replicates"):
        summary(table, replicates=3)
    with pytest.raises(RunError, match="expected 'balanced' or 'paper'"):
        summary(table, configuration={"protocol": "fair"})
    with pytest.raises(RunError, match="These results have no intervention 'bapa'"):
        summary(table).intervention("bapa")


def test_written_and_read_back(tmp_path):
    out = summary(records(noisy(10), items=6, interventions=("none", "bapa")))
    path = write(out, tmp_path)
    assert path == tmp_path / "results.json"
    assert read(tmp_path) == read(path) == out
    assert list(tmp_path.iterdir()) == [path]
    document = json.loads(path.read_text())
    assert document["schema_version"] == 1
    assert {"python", "numpy", "scipy"} <= set(document["environment"]["versions"])
    assert "NaN" not in path.read_text()


def test_unreadable_results_say_what_is_wrong(tmp_path):
    with pytest.raises(RunError, match="no results file"):
        read(tmp_path)
    path = tmp_path / "results.json"
    path.write_text("{")
    with pytest.raises(RunError, match="could not be read as JSON"):
        read(path)
    path.write_text('{"schema_version": 99}')
    with pytest.raises(RunError, match="schema version 99; this wheresight reads version 1"):
        read(path)
    path.write_text("[]")
    with pytest.raises(RunError, match="schema version None"):
        read(path)
    path.write_text('{"schema_version": 1}')
    with pytest.raises(RunError, match="does not follow its schema"):
        read(path)


def test_an_estimate_is_null_exactly_with_a_reason():
    assert Estimate.of(1.0, math.nan, 2.0, "why").reason == "why"
    assert Estimate.of(1.0, 0.5, 2.0, "why").reason is None
    assert Estimate.undefined("why").value is None
    with pytest.raises(ValueError, match="reason"):
        Estimate(value=None, low=None, high=None)
    with pytest.raises(ValueError, match="reason"):
        Estimate(value=1, low=0, high=2, reason="none needed")


def test_every_field_is_described_and_the_page_is_current():
    for name, model in json_schema()["$defs"].items():
        for field, properties in model.get("properties", {}).items():
            assert "description" in properties, f"{name}.{field}"
    assert (ROOT / "docs" / "results_schema.md").read_text() == schema_markdown()
