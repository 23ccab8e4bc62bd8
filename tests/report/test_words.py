"""Sentences: they say what the numbers say, and never more."""

from __future__ import annotations

import pytest

from wheresight.report import words
from wheresight.report.cautions import cautions
from wheresight.runs.results import Estimate


def changed(results, spec, **numbers):
    """The same results with other overall numbers for one intervention."""
    every = []
    for result in results.interventions:
        if result.intervention == spec:
            overall = result.overall.model_copy(update=numbers)
            result = result.model_copy(update={"overall": overall, "warnings": []})
        every.append(result)
    return results.model_copy(update={"interventions": every})


def compared(results, **numbers):
    """The same results with other overall differences in the first comparison."""
    first = results.comparisons[0]
    return first.model_copy(update={"overall": first.overall.model_copy(update=numbers)})


def test_uneven_model_names_best_and_worst_place(typical):
    text = words.summary(typical.results, typical.results.interventions[0])
    assert "does not do equally well everywhere" in text
    assert "row 3, column 3" in text
    assert words.verdict(typical.results, typical.results.interventions[0]) == "place matters"


def test_interval_that_holds_zero_is_no_difference_these_items_can_show(typical):
    result = typical.results.interventions[1]
    assert result.overall.balanced_spread.delta_debiased.low <= 0
    text = words.summary(typical.results, result)
    assert "no difference between places that these 60 items can show" in text
    assert words.verdict(typical.results, result) == "no difference seen"


def test_comparison_names_false_alarms_and_criterion(typical):
    text = words.comparison(typical.results, typical.results.comparisons[0])
    assert "more even over places" in text
    assert "says Yes more often to what is not there" in text
    assert "plain shift towards Yes" in text


def test_no_hint_when_criterion_explains_little(typical):
    comparison = typical.results.comparisons[0]
    share = Estimate.of(0.2, 0.1, 0.3)
    shift = comparison.criterion_shift.model_copy(update={"share": share})
    comparison = comparison.model_copy(update={"criterion_shift": shift})
    assert "plain shift" not in words.comparison(typical.results, comparison)
    assert "explains 20% (10 to 30%)" in words.criterion_note(comparison)
    shift = shift.model_copy(update={"share": Estimate.of(-0.4, -0.9, -0.1)})
    comparison = comparison.model_copy(update={"criterion_shift": shift})
    assert "the other way" in words.criterion_note(comparison)


def test_no_hint_when_what_a_criterion_explains_is_unknown(typical):
    comparison = typical.results.comparisons[0]
    share = Estimate.of(0.63, -0.002, 1.84)
    shift = comparison.criterion_shift.model_copy(update={"share": share})
    comparison = comparison.model_copy(update={"criterion_shift": shift})
    assert "plain shift" not in words.comparison(typical.results, comparison)
    assert "explains 63% (0 to 184%)" in words.criterion_note(comparison)


@pytest.mark.parametrize(
    ("hits", "right", "joint", "meaning"),
    [
        (Estimate.of(0.05, 0.02, 0.08), Estimate.of(0.02, 0.01, 0.03), ", but also", "readiness"),
        (
            Estimate.of(-0.05, -0.08, -0.02),
            Estimate.of(-0.04, -0.06, -0.02),
            ", and",
            "worse at telling",
        ),
        (Estimate.of(0.0, -0.01, 0.01), Estimate.of(-0.02, -0.03, -0.01), ", and", "hits do not"),
    ],
)
def test_more_false_alarms_are_read_beside_the_hits(typical, hits, right, joint, meaning):
    alarms = Estimate.of(0.03, 0.01, 0.05)
    even = typical.results.comparisons[0].overall.balanced_spread.model_copy(
        update={"delta_debiased": Estimate.of(-3, -9, 2)}
    )
    one = compared(
        typical.results, hit_rate=hits, balanced_accuracy=right, false_alarm_rate=alarms,
        balanced_spread=even,
    )  # fmt: skip
    assert f"{joint} says Yes more often to what" in words.comparison(typical.results, one)
    results = typical.results.model_copy(update={"comparisons": [one]})
    said = [c.text for c in cautions(results) if "False alarms" in c.text]
    assert len(said) == 1 and meaning in said[0]


def test_awareness_is_a_command_away_and_a_toy_is_called_one(typical):
    def of(**told):
        return typical.results.model_copy(update={"configuration": told})

    said = words.other_side(of(model="my folder", adapter="bapa"))
    assert said.startswith("wheresight evaluate --model 'my folder' --adapter DIR -b 2ds -i none")
    assert words.scope(of(model="my folder")) == ""
    assert "is a toy" in words.scope(of(model="pocket-gemma"))


def test_comparison_without_difference_claims_none(typical):
    zero = Estimate.of(0.01, -0.01, 0.03)
    spread = typical.results.comparisons[0].overall.balanced_spread
    none = compared(
        typical.results,
        balanced_accuracy=zero,
        false_alarm_rate=zero,
        balanced_spread=spread.model_copy(update={"delta_debiased": Estimate.of(-3, -9, 2)}),
    )
    text = words.comparison(typical.results, none)
    assert "shows no difference in evenness over places that these items can show" in text
    assert "neither more nor less often as far as these items can show" in text
    assert "what is not there" not in text


def test_constant_yes_is_never_praised(yes_sayer):
    results = yes_sayer.results
    bapa = results.intervention("bapa")
    text = words.summary(results, bapa)
    assert "answers Yes to nearly every question" in text
    assert "says nothing about what it sees" in text
    assert "everywhere" not in text
    assert words.verdict(results, bapa) == "nearly always Yes"
    assert "must not be called better" in words.comparison(results, results.comparisons[0])
    said = [c.text for c in cautions(results) if "bapa" in c.interventions]
    assert any("Yes" in text for text in said)
    assert any("False alarms rise" in text for text in said)


def test_constant_yes_is_told_even_without_the_results_own_warning(yes_sayer):
    bare = changed(yes_sayer.results, "bapa")
    assert any("It answers Yes to nearly everything" in c.text for c in cautions(bare))


def test_constant_yes_without_negatives_is_left_open(make, observer):
    made = make({"none": observer(2.0, -9.0)}, protocol="paper")
    text = words.summary(made.results, made.results.interventions[0])
    assert "good sight or nothing but a habit" in text
    assert "always right" in words.protocol_note(made.results)


def test_constant_no(make, observer):
    made = make({"none": observer(2.0, 9.0)})
    result = made.results.interventions[0]
    assert "answers No to nearly every question" in words.summary(made.results, result)


def test_guessing(make, observer):
    made = make({"none": observer(0.0)})
    text = words.summary(made.results, made.results.interventions[0])
    assert "cannot be told from guessing" in text
    assert "AUC" in text


@pytest.mark.parametrize(
    ("auc", "said"),
    [((0.53, 0.51, 0.55), "barely better than guessing"), ((0.4, 0.35, 0.45), "leans to Yes more")],
)
def test_poor_auc(typical, auc, said):
    results = changed(typical.results, "none", auc=Estimate.of(*auc))
    assert said in words.summary(results, results.interventions[0])


def test_neither(make, observer):
    often = make({"none": observer(2.0, neither=0.3)})
    assert any("neither" in c.text for c in cautions(often.results))
    bare = changed(often.results, "none")
    assert any("neither Yes nor No in" in c.text for c in cautions(bare))
    mostly = make({"none": observer(2.0, neither=0.8)})
    result = mostly.results.interventions[0]
    assert "mostly answers with something that is neither" in words.summary(mostly.results, result)


def test_undefined_numbers_give_their_reason(typical):
    why = "There is only one key image, so nothing can be said of others."
    spread = typical.results.interventions[0].overall.balanced_spread
    results = changed(
        typical.results,
        "none",
        balanced_spread=spread.model_copy(update={"delta_debiased": Estimate.undefined(why)}),
    )
    assert why in words.summary(results, results.interventions[0])


def test_same_warning_of_several_interventions_is_said_once(published):
    found = cautions(published.results)
    assert [c.interventions for c in found] == [("none", "bapa")]


def test_published_protocol_speaks_of_saying_yes(published):
    text = words.summary(published.results, published.results.interventions[0])
    assert "says Yes to" in text
    assert "is right" not in text
