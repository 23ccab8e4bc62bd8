"""The grid probe's plan: what is shown, what is asked, what is right."""

from __future__ import annotations

import pytest

from wheresight.errors import StimulusError
from wheresight.probes.grid import GridProbe, GridSettings
from wheresight.probes.questions import QUESTIONS, ask, question_template
from wheresight.runs.records import RECORD_SCHEMA
from wheresight.stimuli.sources import open_source


def settings(**changes: object) -> GridSettings:
    base = dict(
        model="pocket",
        model_revision="r",
        dtype="float32",
        attention="sdpa",
        source="pocket",
        source_fingerprint="f",
        protocol="balanced",
        question=QUESTIONS["paper"],
        scoring="first_token",
        max_new_tokens=None,
        rows=3,
        columns=3,
        layout="swap",
        canvas=96,
        tile=32,
        background="white",
        jitter=0,
        seed=0,
    )
    return GridSettings(**{**base, **changes})  # type: ignore[arg-type]


def test_the_papers_question_is_word_for_word() -> None:
    assert ask(question_template("paper"), "a {red} apple") == (
        "Determine if there is a sub-image in the given image that matches the text following.\n"
        "Text: a {red} apple\n"
        "The answer should only contain 'Yes' or 'No', without reasoning process.\n"
    )


def test_a_question_is_a_name_or_has_a_place_for_the_caption() -> None:
    assert question_template("Is {caption} here?") == "Is {caption} here?"
    with pytest.raises(StimulusError, match="Unknown question 'shrot'. Did you mean 'short'"):
        question_template("shrot")


def test_every_yes_has_matched_noes() -> None:
    source = open_source("pocket")
    captions = {pair.id: pair.caption for pair in source.pairs()}
    probe = GridProbe(settings(), source, 12)
    siblings = 0
    for item in probe.items:
        by_cell: dict[tuple[int, str], str] = {}
        for composite in probe.composites(item):
            tiles = composite.recipe.tiles()
            shown = {captions[t].casefold() for t in tiles}
            for a in composite.asks:
                # What is expected is what is shown: the one thing that must never be wrong.
                assert a.expected == (a.caption.casefold() in shown)
                by_cell[composite.cell, a.question] = tiles[composite.cell]
        for cell in range(9):
            assert by_cell[cell, "positive"] == by_cell[cell, "absent"] == item.key
            if item.sibling:
                siblings += 1
                assert by_cell[cell, "sibling"] == item.sibling
        assert len(by_cell) * 1 == probe.rows_per_item(item)
    assert siblings > 0


def test_protocol_paper_asks_positives_only() -> None:
    probe = GridProbe(settings(protocol="paper"), open_source("pocket"), 3)
    asked = [a.question for item in probe.items for c in probe.composites(item) for a in c.asks]
    assert asked == ["positive"] * 27


def test_records_have_the_fields_of_the_schema() -> None:
    from wheresight.probes.grid import Record

    assert [*Record.__annotations__, "unit"] == RECORD_SCHEMA.names
