"""Diagnostics made of readings, on the pocket model: what uniform attention must give, numbers
against references written here, and pictures drawn from records alone."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest
import torch

import wheresight
from wheresight.errors import SpecError
from wheresight.lvlm.layout import Kind
from wheresight.lvlm.scoring import Scorer
from wheresight.probes import alignment, balance, rope
from wheresight.probes.alignment import Alignment
from wheresight.probes.asking import asked
from wheresight.probes.balance import SYSTEM, Balance
from wheresight.probes.bench import Bench
from wheresight.probes.diagnostic import Context, Diagnostic
from wheresight.probes.flow import Flow
from wheresight.probes.norms import LEVELS, Norms
from wheresight.probes.registry import diagnostic
from wheresight.probes.rope import Rope
from wheresight.probes.system_prompt import system_turn
from wheresight.probes.token_grid import attention_map, inside
from wheresight.runs import diagnostic_records as records
from wheresight.statistics.ranking import clustered_auroc
from wheresight.statistics.signal_detection import auc

CONTEXT = Context(replicates=50)
TOOLS: tuple[Diagnostic, ...] = (
    Flow(items=2),
    Norms(items=2),
    Balance(items=2),
    Rope(items=2),
    Alignment(items=2),
)


def table_of(tool: Diagnostic, bench: Bench) -> dict[str, np.ndarray]:
    """Records of a diagnostic as they come back from a file; the steps announced were counted."""
    counted: list[int] = []
    made = records.table_of(tool, tool.measure(bench, counted.append))
    assert sum(counted) == tool.steps(bench)
    return {field.name: records._numpy(made[field.name]) for field in made.schema}


@pytest.fixture(scope="module")
def even_bench(make_bench: Any) -> Bench:
    """A bench whose model attends to all tokens alike: its queries are zero."""
    bench = make_bench(items=2)
    model = copy.deepcopy(bench.lvlm.core)
    with torch.no_grad():
        for layer in model.model.language_model.layers:
            layer.self_attn.q_proj.weight.zero_()
    lvlm = wheresight.wrap(model, bench.lvlm.processor)
    return dataclasses.replace(bench, scorer=Scorer(lvlm))


# ---- what uniform attention must give ----------------------------------------------------------


@pytest.mark.parametrize("protocol", ["balanced", "paper"])
def test_balance_of_even_attention_is_the_share_of_tokens(even_bench: Bench, protocol: Any) -> None:
    table = table_of(Balance(items=2, protocol=protocol, tokens=3), even_bench)
    assert set(table["arm"]) == {"plain", "system"}
    assert np.abs(balance.excess(table)).max() < 1e-4
    assert np.abs(balance.cmb_of(table) - balance.uniform(table)[:, None]).max() < 1e-5
    tokens = table["image_tokens"] + table["text_tokens"] + table["system_tokens"]
    if protocol == "balanced":
        for name in ("image", "text", "system"):
            share = table[f"{name}_tokens"] / tokens
            assert np.abs(np.asarray(table[name]) - share[:, None]).max() < 1e-5
        assert (table["steps"] == 1).all()
    else:
        # Generated tokens draw attention, and are in no group.
        assert (table["steps"] > 1).any()
        some, share = table["steps"] > 1, table["image_tokens"] / tokens
        assert (np.asarray(table["image"])[some] < share[some, None]).all()
    systems = table["system_tokens"][table["arm"] == "system"]
    assert (systems > 5).all()
    assert (table["system_tokens"][table["arm"] == "plain"] == 0).all()


def test_flow_of_even_attention_is_even(even_bench: Bench) -> None:
    table = table_of(Flow(items=2), even_bench)
    maps = np.asarray(table["map"], dtype=np.float64)
    assert np.abs(maps / maps.mean(1, keepdims=True) - 1).max() < 1e-4
    assert np.abs(np.asarray(table["entropy"]) - 1).max() < 1e-5
    assert np.abs(np.asarray(table["focus"]) - 1).max() < 1e-4
    found = {f.name: f for f in Flow(items=2).findings({"none": table}, CONTEXT) if not f.where}
    assert abs(found["map_entropy"].value - 1) < 1e-6
    assert found["map_entropy"].definition == "paper"


def test_even_attention_hangs_on_no_position(even_bench: Bench) -> None:
    table = table_of(Rope(items=2), even_bench)
    for name in ("drift", "gain", "dealt"):
        assert np.abs(np.asarray(table[name])).max() < 1e-5
    stock = rope.by_move(table, "stock")
    assert np.abs(rope.by_move(table, "alpha") - stock).max() < 1e-6


def test_even_attention_lies_on_boxes_as_on_all(even_bench: Bench) -> None:
    for protocol in ("balanced", "paper"):
        table = table_of(Alignment(items=2, protocol=protocol), even_bench)
        assert np.abs(alignment.ratio(table) - 1).max() < 1e-4


# ---- numbers against references ----------------------------------------------------------------


def test_flow_is_the_mean_of_eager_attention(make_bench: Any) -> None:
    bench = make_bench(items=1)
    table = table_of(Flow(items=1), bench)
    model = copy.deepcopy(bench.lvlm.core)
    model.set_attn_implementation("eager")
    encoded = bench.encode(bench.composites(bench.items))
    image = bench.score.encoder.image_id
    for n, row in enumerate(encoded.rows):
        with torch.no_grad():
            out = model(
                **bench.score.encoder.inputs(encoded, [row]), output_attentions=True
            )  # fmt: skip
        ids = torch.tensor(row.ids)
        matrices = torch.stack(out.attentions)[:, 0]
        text = (ids != image) & ((ids == image).cumsum(0) > 0)
        want = matrices[:, :, text][..., ids == image].mean((0, 1, 2))
        assert np.abs(np.asarray(table["map"][n]) - want.numpy()).max() < 1e-5


def test_norms_at_the_input_are_those_of_features_and_embeddings(make_bench: Any) -> None:
    bench = make_bench(items=1)
    table = table_of(Norms(items=1), bench)
    encoded = bench.encode(bench.composites(bench.items))
    embed = bench.lvlm.core.get_input_embeddings()
    image = bench.score.encoder.image_id
    for n, row in enumerate(encoded.rows):
        features = encoded.features.pooler_output[row.picture].norm(dim=-1)
        ids = torch.tensor(row.ids)
        behind = (ids != image) & ((ids == image).cumsum(0) > 0)
        text = embed(ids[behind]).norm(dim=-1).detach()
        assert abs(table["image_mean"][n][0] - float(features.mean())) < 1e-4
        quantiles = np.asarray(table["text_quantiles"][n]).reshape(-1, len(LEVELS))
        assert abs(quantiles[0, LEVELS.index(0.5)] - float(text.quantile(0.5))) < 1e-5
        assert list(table["tokens"][n])[1:] == [int((ids == image).sum()), int(behind.sum())]


def test_the_identity_holds_in_the_records(make_bench: Any) -> None:
    table = table_of(Rope(items=1, delta=2.0), make_bench(items=1))
    alpha, stock = rope.by_move(table, "alpha"), rope.by_move(table, "stock")
    inner = (np.minimum(alpha, stock) > 0.01) & (np.maximum(alpha, stock) < 0.99)
    with np.errstate(all="ignore"):
        change = np.log(alpha / (1 - alpha)) - np.log(stock / (1 - stock))
    assert inner.mean() > 0.3
    assert np.abs(change - rope.by_move(table, "gain"))[inner].max() < 1e-4
    moves = json.loads(table["moves"][0])
    assert moves[:2] == ["shift=+2", "shift=-2"]
    # With plain ids a row is as many positions as it has tokens, a column is one.
    ours = rope.sensitivity(table, 2.0)
    paper = np.abs(rope.by_move(table, "drift")[:, 0]) / 2
    assert np.allclose(ours["paper_slope"], paper)


def test_the_paper_asks_with_an_end_of_text(make_bench: Any) -> None:
    bench = make_bench(items=1)
    change = rope._with_end(bench)
    rows = list(asked(bench, "rotary", ("positive",), lambda n: None, change))
    assert all(one.ids[-1] == bench.score.tokenizer.eos_token_id for one in rows)
    plain = table_of(Rope(items=1), bench)
    paper = table_of(Rope(items=1, protocol="paper"), bench)
    for n, one in enumerate(rows):
        assert np.allclose(paper["stock"][n], one.kept.stock.flatten(), atol=1e-5)
    assert np.abs(np.asarray(plain["stock"]) - np.asarray(paper["stock"])).max() > 1e-3


def test_overlap_is_summed_token_by_token(make_bench: Any) -> None:
    bench = make_bench(items=1, grid="2x2")
    table = table_of(Alignment(items=1, protocol="paper"), bench)
    rows = asked(bench, "attention", ("positive",), lambda n: None, rows="last", each=True)
    from wheresight.stimuli.composites import boxes

    for n, one in enumerate(rows):
        maps = attention_map(one)
        left, top, right, bottom = boxes(one.composite.recipe)[one.composite.cell]
        width, height = one.composite.recipe.canvas
        rows_, columns = maps.shape[2:]
        total = np.zeros(maps.shape[:2])
        for r in range(rows_):
            for c in range(columns):
                y, x = (r + 0.5) * height / rows_, (c + 0.5) * width / columns
                if left <= x <= right and top <= y <= bottom:
                    total += maps[:, :, r, c]
        want = total / maps.sum((-1, -2))
        assert np.allclose(np.asarray(table["overlap"][n]), want.ravel(), atol=1e-5)
        assert bool(table["correct"][n]) == (one.answer.answer == "yes")


def test_a_box_between_tokens_is_weighed_by_area(make_bench: Any) -> None:
    bench = make_bench(items=1, grid="2x2", canvas=96, tile=40)
    for one in asked(bench, "attention", ("positive",), lambda n: None, each=True):
        shares = inside(one, (6, 6))
        assert abs(shares.sum() * 16 * 16 - 40 * 40) < 1e-6
        assert ((shares > 0) & (shares < 1)).any()


@pytest.mark.parametrize("strata", [False, True])
def test_auroc_by_pairs(strata: bool) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 6, (60, 3)).astype(float)
    right = rng.random(60) < 0.6
    labels = rng.integers(0, 12, 60)
    groups = rng.integers(0, 4, 60) if strata else np.zeros(60)
    drawn = clustered_auroc(values, right, labels, groups if strata else None, replicates=30)
    for q in range(3):
        won = pairs = 0.0
        for i in np.flatnonzero(right):
            for j in np.flatnonzero(~right):
                if groups[i] == groups[j]:
                    pairs += 1
                    won += float(np.sign(values[i, q] - values[j, q])) / 2 + 0.5
        assert math.isclose(drawn.value[q], won / pairs)
        if not strata:
            assert math.isclose(drawn.value[q], auc(values[right, q], values[~right, q]))
    # A replicate is the same on rows that are repeated as often as their cluster is drawn.
    from wheresight.statistics.bootstrap import ClusterBootstrap

    weights = next(ClusterBootstrap(12, 30, 0).draws())[0].astype(int)
    names = np.unique(labels.astype(str))
    where = np.searchsorted(names, labels.astype(str))
    index = np.repeat(np.arange(60), weights[where])
    again = clustered_auroc(values[index], right[index], index, groups[index], replicates=0)
    assert np.allclose(again.value, drawn.replicates[0])
    assert np.isnan(clustered_auroc(values, right | True, labels).value).all()


def test_a_system_turn_stands_before_the_picture(make_bench: Any) -> None:
    bench = make_bench(items=1)
    composites = bench.composites(bench.items)
    encoded = bench.encode(composites)
    question = bench.question(composites[0].asks[0].caption)
    turn = system_turn(bench.score, SYSTEM, question, encoded.rows[0].ids)
    assert turn is not None
    changed = turn.put_into(encoded)
    for before, after in zip(encoded.rows, changed.rows, strict=True):
        assert after.ids[turn.start : turn.stop] == turn.ids
        assert (*after.ids[: turn.start], *after.ids[turn.stop :]) == before.ids
    layout = bench.lvlm.layout(bench.score.encoder.inputs(changed, changed.rows[:1]))
    assert bool((layout.kind[0, turn.start : turn.stop] == Kind.SYSTEM).all())
    # The whole prompt is what the template makes of the two turns.
    text = bench.lvlm.processor.apply_chat_template(
        [
            {"role": "system", "content": [{"type": "text", "text": SYSTEM}]},
            {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]},
        ],
        add_generation_prompt=True,
        tokenize=False,
    )
    whole = bench.lvlm.processor(text=[text], images=[[bench.picture(composites[0])]])
    assert tuple(whole["input_ids"][0]) == changed.rows[0].ids


def test_a_template_without_a_system_turn_is_found_out(make_bench: Any, monkeypatch: Any) -> None:
    bench = make_bench(items=1)
    processor = bench.lvlm.processor
    template = processor.chat_template
    ignoring = template.replace("for message in messages", "for message in messages[-1:]")
    raising = "{{ raise_exception('no system role') if messages[0].role == 'system' }}" + template
    encoded = bench.encode(bench.composites(bench.items))
    for other in (ignoring, raising):
        monkeypatch.setattr(processor, "chat_template", other)
        assert system_turn(bench.score, SYSTEM, "is a cat", encoded.rows[0].ids) is None
    table = table_of(Balance(items=1), bench)
    assert set(table["arm"]) == {"plain"}


def test_sinks_are_named(make_bench: Any) -> None:
    bench = make_bench(items=1)
    table = table_of(Balance(items=1, sinks=100), bench)
    for row in range(len(table["sinks"])):
        sinks = json.loads(table["sinks"][row])
        tokens = sum(table[f"{name}_tokens"][row] for name in ("image", "text", "system"))
        assert len(sinks) == tokens
        assert abs(sum(mass for _, mass in sinks) - 1) < 1e-4
        assert [mass for _, mass in sinks] == sorted((m for _, m in sinks), reverse=True)
        assert sum(name.startswith("image ") for name, _ in sinks) == table["image_tokens"][row]


# ---- findings and pictures ---------------------------------------------------------------------


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_findings_and_pictures_of_two_interventions(tool: Diagnostic, make_bench: Any) -> None:
    from importlib import import_module

    tables = {spec: table_of(tool, make_bench(items=2, spec=spec)) for spec in ("none", "bapa")}
    findings = tool.findings(tables, CONTEXT)
    keys = [
        (f.name, f.definition, f.intervention, f.versus, tuple(sorted(f.where.items())))
        for f in findings
    ]
    assert len(set(keys)) == len(keys)
    assert {f.intervention for f in findings} == {"none", "bapa"}
    assert any(f.versus == "none" and f.headline for f in findings)
    for f in findings:
        assert np.isnan(f.low) or f.low <= f.high
    module, _, name = tool.drawing.partition(":")
    pictures = list(getattr(import_module(module), name)(tool, tables, CONTEXT, findings))
    assert pictures
    assert len({picture.name for picture in pictures}) == len(pictures)
    for picture in pictures:
        assert picture.png()[:4] == b"\x89PNG"
        assert picture.svg() == picture.svg()
        assert picture.alt.endswith(".")


def test_bapa_leaves_no_arrangement(make_bench: Any) -> None:
    """All tokens at one position already: to deal them out otherwise changes nothing."""
    table = table_of(Rope(items=1), make_bench(items=1, spec="bapa"))
    moves = json.loads(table["moves"][0])
    for name in ("permute", "collapse", "reverse"):
        assert np.abs(rope.by_move(table, "gain")[:, moves.index(name)]).max() < 1e-6
    assert np.abs(rope.by_move(table, "gain")[:, 0]).max() > 0.01


@pytest.mark.parametrize("tool", [Balance, Rope, Alignment])
def test_options_are_checked(tool: Any) -> None:
    with pytest.raises(SpecError, match="protocol"):
        tool(protocol="mine")
    with pytest.raises(SpecError, match="items"):
        tool(items=0)
    assert diagnostic(f"{tool.name}:protocol=paper,items=3") == tool(items=3, protocol="paper")
