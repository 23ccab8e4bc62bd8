"""Examples: chosen by count, the same every time."""

from __future__ import annotations

import numpy as np

from wheresight.report.examples import choose


def test_choice_is_deterministic_and_complete(typical):
    chosen = choose(typical.records, typical.results)
    shuffled = typical.records.take(np.random.default_rng(1).permutation(len(typical.records)))
    assert choose(shuffled, typical.results) == chosen
    assert len(chosen) == 6
    assert len({(e.item, e.question) for e in chosen}) == 6
    for example in chosen:
        assert [p.cell for p in example.places] == list(range(9))
        assert all([r.intervention for r in p.readings] == ["none", "bapa"] for p in example.places)
        for place in example.places:
            assert all(
                r.right == (r.answer == ("yes" if example.expected else "no"))
                for r in place.readings
            )


def test_kinds(typical):
    flips, misses, alarms = (choose(typical.records, typical.results)[i : i + 2] for i in (0, 2, 4))
    for example in flips:
        answers = {r.answer for p in example.places for r in p.readings}
        assert example.expected
        assert answers == {"yes", "no"}
    worst = typical.results.interventions[0].overall.worst_cell
    for example in misses:
        assert example.places[worst].readings[0].answer == "no"
        assert "worst cell of none" in example.why
    for example in alarms:
        assert not example.expected
        assert "yes" in {r.answer for p in example.places for r in p.readings}


def test_nothing_to_show(make, observer):
    made = make({"none": observer(40.0)}, items=5, replicates=100)
    assert choose(made.records, made.results) == []


def test_interventions_that_are_not_in_the_results_are_left_out(typical):
    results = typical.results.model_copy(
        update={"interventions": typical.results.interventions[:1]}
    )
    chosen = choose(typical.records, results)
    assert {r.intervention for e in chosen for p in e.places for r in p.readings} == {"none"}
