"""What ships of the papers: complete, sourced, and right where arithmetic can tell."""

from __future__ import annotations

import math
import re
import shlex
from typing import Any

import numpy as np
import pytest
import typer.main

from wheresight.cli.main import app
from wheresight.errors import RunError
from wheresight.interventions.spec import parse
from wheresight.probes.registry import diagnostics
from wheresight.reproduce import Entry, entries, entry, find, models, papers
from wheresight.reproduce.catalogue import FOLDER, names
from wheresight.reproduce.reading import printed, put_in
from wheresight.reproduce.run import commands_for
from wheresight.skeletons import names as skeletons
from wheresight.stimuli.benchmarks import benchmarks
from wheresight.training.presets import LORA, STAGES

ALL = entries()
# A printed mean or total is right to half of its last digit.
HALF = 0.005 + 1e-9


def test_every_file_is_an_entry_of_its_name_and_none_is_left_out() -> None:
    files = {f"{one.parent.name}/{one.stem}" for one in FOLDER.rglob("*.json")}
    assert files == set(ALL)
    assert len(names()) == len(ALL) + sum(len(one.aliases) for one in ALL.values())
    assert all(one.source.paper == name.split("/")[0] for name, one in ALL.items())


@pytest.mark.parametrize(("paper", "tables", "figures"), [("bias", 5, 11), ("awareness", 8, 15)])
def test_every_table_and_figure_of_a_paper_is_listed(paper: str, tables: int, figures: int) -> None:
    for kind, count in (("table", tables), ("figure", figures)):
        found = {name for name in ALL if re.fullmatch(f"{paper}/{kind}[0-9]+", name)}
        assert found == {f"{paper}/{kind}{number}" for number in range(1, count + 1)}


def test_names_that_were_promised() -> None:
    for name in ("bias/table1", "bias/figure2", "awareness/psi", "scaling/table1"):
        assert entry(name).published or entry(name).shape
    assert entry("awareness/psi") is entry("awareness/table2")
    assert [one.name for one in find(["bias"])] == [n for n in ALL if n.startswith("bias/")]
    with pytest.raises(RunError, match="Did you mean 'bias/table1'"):
        entry("bias/tabel1")


@pytest.mark.parametrize("one", ALL.values(), ids=lambda one: one.name)
def test_an_entry_says_where_it_is_from(one: Entry) -> None:
    assert one.source.paper in papers() and one.source.place
    # Of one paper the text was read; of the others nothing may claim to be.
    assert (one.source.known == "text") == (one.source.paper == "bias")
    if one.published:
        assert one.published.unit and one.published.rows
        for row in one.published.rows:
            assert row.model is None or row.model in models(), row.label
            assert any(value is not None for value in row.values)
    assert set(one.models) <= set(models())
    labels = {row.label for row in one.published.rows} if one.published else set()
    for misprint in one.misprints:
        assert misprint.row in labels and misprint.why
        if misprint.column is not None:
            column = one.published.columns.index(misprint.column)  # type: ignore[union-attr]
            row = next(row for row in one.published.rows if row.label == misprint.row)  # type: ignore[union-attr]
            assert row.values[column] == misprint.printed
    if one.full and one.full.commands:
        assert one.passes and one.models


def row(name: str, label: str) -> np.ndarray:
    """Printed values of one row, misprints corrected."""
    published = ALL[name].corrected()
    assert published is not None
    return np.array(next(r.values for r in published.rows if r.label == label), dtype=float)


def test_bias_table1_follows_from_its_cells() -> None:
    published, corrected = ALL["bias/table1"].published, ALL["bias/table1"].corrected()
    assert published and corrected and len(published.rows) == 10
    assert published.columns == (*map(str, range(9)), "Avg", "Delta")
    for one in corrected.rows:
        cells, (mean, delta) = np.array(one.values[:9], dtype=float), one.values[9:]
        assert cells.mean() == pytest.approx(mean, abs=HALF), one.label
        assert cells.var(ddof=1) == pytest.approx(delta, abs=HALF), one.label
    wrong = [
        one.label
        for one in published.rows
        if abs(np.mean(one.values[:9]) - one.values[9]) > HALF  # type: ignore[operator, arg-type]
        or abs(np.var(one.values[:9], ddof=1) - one.values[10]) > HALF  # type: ignore[operator, arg-type]
    ]
    # Exactly the rows whose numbers are said to be misprinted.
    assert wrong == ["Gemma3", "LLaVA-v1.6-BaPA"]


def test_bias_figure1_is_the_baselines_of_table1() -> None:
    for one in ALL["bias/figure1"].published.rows:  # type: ignore[union-attr]
        assert np.array_equal(one.values, row("bias/table1", one.label)[:9])


def test_bias_table3_adds_up() -> None:
    for one in ALL["bias/table3"].published.rows:  # type: ignore[union-attr]
        *parts, total = one.values
        assert math.fsum(parts) == pytest.approx(total, abs=0.011), one.label  # type: ignore[arg-type]
        assert all(0 <= part <= 200 for part in parts)  # type: ignore[operator]


def test_bias_table2_is_of_shares_with_its_doubtful_one_marked() -> None:
    published = ALL["bias/table2"].published
    assert published and (len(published.rows), len(published.columns)) == (9, 5)
    assert all(0 < value < 1 for one in published.rows for value in one.values)  # type: ignore[operator]
    (doubt,) = ALL["bias/table2"].misprints
    assert doubt.correct is None and "0.2775" in doubt.why
    assert row("bias/table2", doubt.row)[1] == doubt.printed  # what is not known stays


def test_settings_are_those_of_the_presets() -> None:
    by_model = {"Gemma3": "gemma3", "LLaVA-v1.6": "llava-1.6", "Qwen2.5-VL": "qwen2.5-vl"}
    for label, preset in {**by_model, "LLaVA-v1.5": "llava-1.5"}.items():
        one = LORA[preset]
        expected = [one.rank, one.alpha, one.batch, one.learning_rate, one.epochs]
        assert row("bias/table4", label).tolist() == expected
    for label, stage in zip(("Pre-training", "Instruct-tuning"), STAGES.values(), strict=True):
        expected = [
            stage.batch, stage.learning_rate, stage.epochs, stage.max_length, stage.weight_decay,
        ]  # fmt: skip
        assert row("bias/table5", label).tolist() == expected


def test_psi_follows_from_table1_where_it_is_said_to() -> None:
    whole, permuted = row("awareness/table1", "as they are"), row("awareness/table1", "permuted")
    psi = 100 * (whole - permuted) / whole
    stated = row("awareness/table2", "LLaVA-1.5")[:4]
    close = np.abs(psi - stated) < 0.02
    assert close.tolist() == [True, False, True, True]
    assert psi[1] == pytest.approx(0.23, abs=HALF)  # as the misprint's reason says
    # 2DS's PSI are of whole numbers of 3,000 answers.
    for label, accuracy in (("LLaVA-1.5", 56.63), ("+Normalize", 59.30)):
        left = accuracy * (1 - row("awareness/table2", label)[4] / 100) * 30
        assert left == pytest.approx(round(left), abs=0.35)


def test_2ds_overall_is_the_mean_of_its_categories() -> None:
    for one in ALL["awareness/table3"].published.rows:  # type: ignore[union-attr]
        *parts, overall = one.values
        assert np.mean(parts) == pytest.approx(overall, abs=0.01), one.label  # type: ignore[arg-type]
        for part in parts:  # of 500 questions each
            assert 5 * part == pytest.approx(round(5 * part), abs=1e-6)  # type: ignore[operator]


def test_shares_of_attention_add_up() -> None:
    for one in ALL["awareness/figure7"].published.rows:  # type: ignore[union-attr]
        assert sum(one.values[:3]) == pytest.approx(100, abs=0.11)  # type: ignore[arg-type]


def test_scaling_table1_has_both_models_under_five_methods() -> None:
    published = ALL["scaling/table1"].published
    assert published and (len(published.rows), len(published.columns)) == (10, 8)
    assert {(r.model, r.method) for r in published.rows} == {
        (model, method)
        for model in ("llava-1.5", "llava-1.6")
        for method in ("none", "vcd", "dola", "scalingvis", "adaptvis")
    }
    assert all(0 < value < 100 for r in published.rows for value in r.values)  # type: ignore[operator]


def command_lines(one: Entry) -> list[list[str]]:
    """Every command of an entry, with something in every place."""
    put = {"source": "folder:x", "whatsup": "x", "vsr": "x", "benchmark": "own:x.csv"}
    found = [shlex.split(line)[1:] for _, lines in commands_for(one) for line in lines]
    pocket = one.work(True)
    for command in pocket.commands if pocket else ():
        values = {**put, **pocket.values, "model": "pocket", "out": "x"}  # type: ignore[union-attr]
        found.append([put_in(word, values) for word in command])
    return found


@pytest.mark.parametrize("one", ALL.values(), ids=lambda one: one.name)
def test_commands_are_known_to_the_command_line(one: Entry) -> None:
    for words in command_lines(one):
        command: Any = typer.main.get_command(app)
        rest = list(words)
        while hasattr(command, "commands"):
            assert rest[0] in command.commands, words
            command = command.commands[rest.pop(0)]
        given = command.make_context("", rest).params
        left = [w for w in words if re.search(r"\{[a-z_]+\}", w) and not w.startswith("scalingvis")]
        assert not left, words
        specs = given.get("intervention") or []
        for spec in [specs] if isinstance(specs, str) else specs:
            if words[0] == "tune":
                assert spec.split(":")[0] in ("scalingvis", "adaptvis")
            elif "trained" not in spec:
                parse(spec)
        if given.get("tool"):
            diagnostics(given["tool"])
        asked = given.get("benchmark") or []
        for name in [asked] if isinstance(asked, str) else asked:
            assert name == "BENCHMARK" or re.split("[:#]", name)[0] in benchmarks(), name


def test_models_are_those_whose_shapes_ship() -> None:
    for model in models().values():
        assert model.skeleton is None or model.skeleton in skeletons()
        assert model.hub is not None or model.note


@pytest.mark.parametrize("one", ALL.values(), ids=lambda one: one.name)
def test_statements_are_about_what_is_printed(one: Entry) -> None:
    for work in (one.full, one.work(True)):
        for claim in work.claims if work else ():
            if claim.published:
                assert re.fullmatch(r"\d+ of \d+ models", printed(claim, one)), claim.words


def test_what_the_papers_numbers_say_of_bapa() -> None:
    raised, flatter = (
        printed(claim, ALL["bias/table1"]) for claim in ALL["bias/table1"].full.claims
    )  # type: ignore[union-attr]
    assert raised == "4 of 5 models"  # not Qwen2.5-VL-7B
    assert flatter == "3 of 5 models"  # neither Qwen2.5-VL
