"""The controlled study of position schemes: its world, its training, its statistics, its page."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace

import lessons
import measure
import models
import numpy as np
import page
import pyarrow as pa
import pytest
import teach
import torch
import world
from design import (
    DESIGNS,
    SCHEMES,
    SMOKE,
    Cell,
    Design,
    cells,
    lessons_name,
    measured_name,
    mix_at,
    model_name,
    start_name,
    vision_blocks,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t as student
from summary import MEASURES, Number, number, summarise

from wheresight import intervene
from wheresight.errors import RunError
from wheresight.pocket.intervened import hidden_states
from wheresight.pocket.packing import pack
from wheresight.pocket.scenes import CELLS
from wheresight.stimuli.items import plan_items
from wheresight.stimuli.sources import open_source

# ---- the world --------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.2, 1.0]))
def test_answers_are_true_of_the_scene(seed, done):
    rng = np.random.default_rng(seed)
    mix = mix_at(done)
    shown = world.sample(rng, mix)
    assert shown.pixels.shape == (96, 96, 3)
    names = [shape.name for shape in shown.shapes]
    assert len(set(names)) == len(names) and set(names) <= set(world.NAMES)
    at = {shape.name: shape for shape in shown.shapes}
    for question in world.ask(rng, shown, mix, 12):
        if question.task == "match":
            name = question.text.removeprefix("is ")
            assert name in world.NAMES
            assert question.answer == ("Yes" if name in names else "No")
        elif question.task == "where":
            shape = at[question.text.removeprefix("Where is ").removesuffix("?")]
            cell = shape.y // (world.CANVAS / 3) * 3 + shape.x // (world.CANVAS / 3)
            assert question.answer == CELLS[int(cell)]
        elif question.task == "side" and question.text == "What is on the left?":
            assert question.answer == min(shown.shapes, key=lambda shape: shape.x).name


def test_every_place_is_as_likely():
    rng = np.random.default_rng(0)
    mix = replace(mix_at(1.0), where=1.0, match=0.0, side=0.0, which=0.0, whether=0.0)
    count = Counter(
        question.answer
        for _ in range(900)
        for question in world.ask(rng, world.sample(rng, mix), mix, 1)
    )
    share = np.array([count[cell] for cell in CELLS])
    share = share / share.sum()  # a thing between two cells is asked for otherwise
    assert share.min() > 0.07 and share.max() < 0.16


def test_patches_show_what_covers_them():
    rng = np.random.default_rng(3)
    shown = world.sample(rng, replace(mix_at(1.0), grids=1.0))
    for shape in shown.shapes:
        patch = shown.patches[shape.y * 6 // world.CANVAS, shape.x * 6 // world.CANVAS]
        assert patch < 0 or world.NAMES[patch] == shape.name
    assert (shown.patches >= 0).any()


def test_the_pairs_make_a_probe(tmp_path):
    world.write_pairs(tmp_path / "pairs.parquet")
    source = open_source(f"parquet:{tmp_path / 'pairs.parquet'}")
    pairs = source.pairs()
    assert {pair.caption for pair in pairs} == set(world.NAMES)
    items = plan_items(pairs, 64, rows=3, columns=3, seed=0)
    assert len({item.key for item in items}) == len(world.NAMES)
    assert all(item.sibling is not None for item in items)


# ---- names ------------------------------------------------------------------------------------


def test_cells_are_named_by_what_decides_them():
    every = cells(3)
    assert len(every) == 2 * 3 * len(SCHEMES) == len({cell.name for cell in every})
    assert all(Cell.read(cell.name) == cell for cell in every)
    design, cell = Design(), Cell("bapa", 1)
    longer = replace(design, training=replace(design.training, steps=7))
    more = replace(design, measuring=replace(design.measuring, items=7))
    lora = replace(design, training=replace(design.training, rank=7))
    name = model_name(design, cell, "tower")
    assert name != model_name(longer, cell, "tower") and name != model_name(design, cell, "other")
    assert name == model_name(more, cell, "tower") == model_name(lora, cell, "tower")
    assert model_name(design, Cell("bapa", 1, True), "t") != model_name(
        lora, Cell("bapa", 1, True), "t"
    )
    assert measured_name(design, cell, "tower") != measured_name(more, cell, "tower")
    assert start_name(design, 0, (), "t") != start_name(design, 0, (3, 4), "t")
    assert vision_blocks(Cell("normalize-multilayer", 0).spec) == (3, 4, 5, 6)
    assert vision_blocks(Cell("normalize", 0).spec) == ()


@pytest.mark.parametrize("name", ["bapa", "bapa-seedx", "nothing-seed1", "lora-seed1"])
def test_an_unknown_cell_is_refused(name):
    with pytest.raises(RunError):
        Cell.read(name)


# ---- training ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("study")


def silent(*_):
    """Nobody is told."""


def test_the_tower_is_shared_and_only_the_projector_is_aligned(out):
    pocket, _ = models.opened(models.model_folder())
    for blocks in ((), (3, 4, 5, 6)):
        model, processor = models.opened(models.start(SMOKE, 0, blocks, out))
        for name, value in model.model.vision_tower.state_dict().items():
            assert torch.equal(value, pocket.model.vision_tower.state_dict()[name]), name
        assert model.model.multi_modal_projector.linear_1.in_features == 224 * max(1, len(blocks))
        assert len(processor.tokenizer) <= SMOKE.vocabulary
    longer = replace(SMOKE, align_steps=40, align_batch=8)
    shown = [world.sample(np.random.default_rng(5), mix_at(1.0)) for _ in range(16)]
    from torch.nn import functional as F

    cosines = []
    for design in (SMOKE, longer):
        model, processor = models.opened(models.start(design, 0, (), out))
        with torch.no_grad():
            words = F.normalize(
                models.name_vectors(model, processor.tokenizer, list(world.NAMES)), dim=-1
            )
            found = models.features(model, shown)
            wanted = torch.from_numpy(np.stack([one.patches for one in shown])).flatten(1)
            own = F.normalize(found[wanted >= 0], dim=-1) @ words.T
            cosines.append(own.gather(1, wanted[wanted >= 0][:, None]).mean())
            length = found.norm(dim=-1).mean() / models.word_length(model)
            assert 0.5 < float(length) < 2
    assert cosines[1] > cosines[0] + 0.1


@pytest.mark.parametrize("scheme", ["bapa_cross", "normalize-multilayer"])
def test_a_cell_is_taught_under_its_scheme(out, scheme):
    """Decoder and projector move, the tower does not; made again it is the same."""
    cell = Cell(scheme, 0)
    folder = teach.taught(SMOKE, cell, out, silent)
    model, _ = models.opened(folder)
    before, _ = models.opened(models.start(SMOKE, 0, vision_blocks(cell.spec), out))
    moved = {
        name.split(".")[1]
        for name, value in model.state_dict().items()
        if not torch.equal(value, before.state_dict()[name])
    }
    assert moved - {"weight"} == {"language_model", "multi_modal_projector"}
    record = json.loads((folder / teach.RECORD).read_text())
    assert record["spec"] == cell.spec and math.isfinite(record["curve"][-1]["loss"])
    written = (folder / "model.safetensors").read_bytes()
    assert teach.taught(SMOKE, cell, out, silent) == folder
    (folder / teach.RECORD).unlink()
    folder.rename(folder.with_name(f"{folder.name}-aside"))
    teach.taught(SMOKE, cell, out, silent)
    assert (folder / "model.safetensors").read_bytes() == written


def test_a_frozen_projector_stays(out):
    frozen = replace(SMOKE, training=replace(SMOKE.training, projector_share=0.0))
    model, _ = models.opened(teach.taught(frozen, Cell("none", 0), out, silent))
    before, _ = models.opened(models.start(frozen, 0, (), out))
    for name, value in model.model.multi_modal_projector.state_dict().items():
        assert torch.equal(value, before.model.multi_modal_projector.state_dict()[name])


def test_adapters_start_from_none_and_are_merged(out):
    cell = Cell("mrope_on_1d", 0, True)
    folder = teach.taught(SMOKE, cell, out, silent)
    assert (out / "models" / model_name(SMOKE, Cell("none", 0), models.tower_revision())).is_dir()
    model, _ = models.opened(folder)
    none, _ = models.opened(teach.taught(SMOKE, Cell("none", 0), out, silent))
    assert set(model.state_dict()) == set(none.state_dict())
    embeddings = [m.get_input_embeddings().weight for m in (model, none)]
    assert torch.equal(*embeddings)  # no adapter sits there
    first = [m.model.language_model.layers[0].self_attn.q_proj.weight for m in (model, none)]
    assert not torch.equal(*first)
    difference = (first[0] - first[1]).detach()
    rank = torch.linalg.svdvals(difference)
    assert rank[SMOKE.training.rank] < 0.2 * rank[0]  # low, but for rounding to halves


def test_a_step_in_parts_is_the_step_as_a_whole(out):
    """Parts have rows of other lengths and other numbers of answers; their gradients still add up
    to those of the mean over all answers."""
    model, processor = models.opened(models.start(SMOKE, 0, (), out))
    rng = np.random.default_rng(3)
    mix = mix_at(1.0)
    shown = [world.sample(rng, mix) for _ in range(4)]
    asked = [
        world.ask(rng, one, mix, count) for one, count in zip(shown, (2, 5, 3, 7), strict=True)
    ]
    weight = model.model.language_model.layers[0].self_attn.q_proj.weight
    model.requires_grad_(False)
    weight.requires_grad_(True)
    gradients, losses = [], []
    for size in (4, 2, 1):
        parts = [slice(i, i + size) for i in range(0, 4, size)]
        packed = [pack(asked[part], processor.tokenizer, 36) for part in parts]
        count = sum(int((one.labels >= 0).sum()) for one in packed)
        found = [
            teach.part_loss(model, models.seen(model, shown[part]), one, count)
            for part, one in zip(parts, packed, strict=True)
        ]
        loss = torch.stack([loss for loss, _ in found]).sum()
        loss.backward()
        gradients.append(weight.grad)
        weight.grad = None
        losses.append(loss.item())
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-3)
    for gradient in gradients[1:]:
        off = (gradient - gradients[0]).norm() / gradients[0].norm()
        assert float(off) < 0.02  # half precision


@pytest.mark.parametrize("scheme", ["none", "normalize-multilayer"])
def test_what_the_tower_hands_on_gives_the_same_features(out, scheme):
    """But for rounding, also where it was kept in half precision, as it is for training."""
    spec = Cell(scheme, 0).spec
    model, _ = models.opened(models.start(SMOKE, 0, vision_blocks(spec), out))
    rng = np.random.default_rng(4)
    shown = [world.sample(rng, mix_at(1.0)) for _ in range(3)]

    def off() -> float:
        seen = models.seen(model, shown).to(dtype)
        asked = models.features(model, shown)
        return float((models.projected(model, seen) - asked).abs().max() / asked.abs().max())

    with torch.no_grad(), intervene(model, spec):
        dtype = torch.float32
        assert off() < 1e-5
        dtype = torch.bfloat16
        with torch.autocast("cpu", dtype):
            assert off() < 1e-3  # it is rounded so on its way into the projector all the same


def test_lessons_are_drawn_once_for_all_schemes_of_a_seed(out, monkeypatch):
    """Who comes later reads the same questions, and what the tower saw, without the tower."""
    first, second = Cell("none", 5), Cell("cca", 5)
    model, _ = models.opened(models.start(SMOKE, 0, (), out))
    drawn = list(lessons.lessons(model, SMOKE, first, out, silent))
    assert len(drawn) == SMOKE.training.steps
    monkeypatch.setattr(models, "features", None)
    read = list(lessons.lessons(model, SMOKE, second, out, silent))
    assert [one.asked for one in read] == [one.asked for one in drawn]
    assert all(torch.equal(a.seen, b.seen) for a, b in zip(read, drawn, strict=True))
    fresh = [asked for _, asked in lessons.drawn(SMOKE, second)]
    assert [one.asked for one in read] == fresh
    other = lessons_name(SMOKE, Cell("none", 6), "tower")
    assert other != lessons_name(SMOKE, first, "tower")
    assert lessons_name(SMOKE, Cell("none", 5, True), "tower") not in (
        other, lessons_name(SMOKE, first, "tower")
    )  # fmt: skip


@pytest.mark.parametrize("scheme", SCHEMES)
def test_plain_products_give_what_the_fused_kernel_gives(out, scheme):
    """Every scheme is taught with the one and measured with the other."""
    spec = Cell(scheme, 0).spec
    model, processor = models.opened(models.start(SMOKE, 0, vision_blocks(spec), out))
    rng = np.random.default_rng(5)
    shown = [world.sample(rng, mix_at(1.0)) for _ in range(3)]
    asked = [world.ask(rng, one, mix_at(1.0), 4) for one in shown]
    packed = pack(asked, processor.tokenizer, 36)
    kept = packed.ids != processor.tokenizer.pad_token_id
    states = []
    for kind in ("sdpa", "eager"):
        model.set_attn_implementation({"text_config": kind})
        with torch.no_grad(), intervene(model, spec):
            states.append(hidden_states(model, packed, models.features(model, shown))[kept])
    torch.testing.assert_close(states[1], states[0], rtol=1e-4, atol=1e-4)
    with torch.no_grad(), intervene(model, spec):
        other = replace(packed, allowed=torch.ones_like(packed.allowed).tril())
        seen = hidden_states(model, other, models.features(model, shown))[kept]
    assert (seen - states[1]).abs().max() > 1e-2  # the mask is heeded


def test_whole_answers_are_counted_by_kind(out):
    _, processor = models.opened(models.start(SMOKE, 0, (), out))
    rng = np.random.default_rng(2)
    mix = mix_at(1.0)
    shown = [world.sample(rng, mix) for _ in range(3)]
    asked = [world.ask(rng, one, mix, 6) for one in shown]
    packed = pack(asked, processor.tokenizer, 36)
    wanted = packed.labels[packed.labels >= 0]
    end = processor.tokenizer.eos_token_id
    kinds = {question.task for row in asked for question in row}
    assert teach.whole_answers(wanted, wanted, asked, end) == dict.fromkeys(kinds, 1.0)
    spoilt = wanted.clone()
    spoilt[0] = -1  # the first token of the first answer
    first = asked[0][0].task
    count = sum(question.task == first for row in asked for question in row)
    assert teach.whole_answers(spoilt, wanted, asked, end)[first] == pytest.approx(1 - 1 / count)


# ---- statistics and page ----------------------------------------------------------------------

ITEMS = 24


def answers(cell, better=0.0, at_corner=0.0):
    """Made-up answers of one cell: right as often as told, by seed and item; no model is asked."""
    rng = np.random.default_rng((cell.seed, 7))
    rows = []
    for item in range(ITEMS):
        for place in range(9):
            for kind in ("absent", "positive", "sibling"):
                chance = 0.8 + better - (at_corner if place == 0 else 0)
                rows.append(("probe", f"i{item}", f"k{item % 12}", place, kind, 0.5, chance))
    for picture in range(20):
        for kind in ("color_abs", "shape_rel"):
            rows.append(("2ds", f"{picture}-{kind}", f"p{picture}", -1, kind, 0.25, 0.6 + better))
    for item in range(ITEMS):
        for place in range(9):
            chance = 0.5 + better
            rows.append(
                ("localisation", f"i{item}", f"k{item % 12}", place, "where", 1 / 9, chance)
            )
    drawn = rng.random(len(rows))
    return pa.Table.from_pylist(
        [
            dict(zip(measure.SCHEMA.names, (*row[:6], bool(u < row[6])), strict=True))
            for row, u in zip(rows, drawn, strict=True)
        ],
        measure.SCHEMA,
    )


def made_up(seeds=3, **effects):
    found = []
    for cell in cells(seeds):
        effect = effects.get(cell.scheme, {})
        findings = [
            {"tool": tool, "name": name, "where": where, "definition": "ours",
             "value": 0.5 + 0.1 * cell.seed, "low": None, "high": None}
            for tool, name, where in (
                ("psi", "psi_logp", {"condition": "content: all tokens"}),
                ("psi", "psi_logp", {"condition": "ids of all tokens"}),
                ("psi", "psi_logp", {"condition": "no picture"}),
                ("norms", "ratio.input", {}),
            )
        ]  # fmt: skip
        curve = [{"step": s, "match": s / 100, "where": s / 200, "loss": 1.0} for s in (50, 100)]
        record = {"cell": cell.name, "spec": cell.spec, "curve": curve, "findings": findings,
                  "processor_seconds": 300.0, "measuring_processor_seconds": 30.0,
                  "finished": 86400.0}  # fmt: skip
        found.append(measure.Measured(cell, answers(cell, **effect), record))
    return found


@pytest.fixture(scope="module")
def results():
    done = made_up(bapa={"better": 0.18}, cca={"at_corner": 0.6})
    return json.loads(json.dumps(page.collected(DESIGNS["full"], done, len(done))))


def entry(results, scheme, adapted=False):
    (found,) = (e for e in results["schemes"] if e["scheme"] == scheme and e["adapted"] == adapted)
    return found


def test_numbers_are_means_over_seeds_of_plain_shares(results):
    own = [cell for cell in made_up() if cell.cell == Cell("none", cell.cell.seed)]
    shares = []
    for one in own:
        rows = [row for row in one.answers.to_pylist() if row["test"] == "localisation"]
        share = np.mean([row["right"] for row in rows])
        shares.append((share - 1 / 9) / (1 - 1 / 9))
    found = number(entry(results, "none")["measures"]["localisation"])
    assert found.each == pytest.approx(shares, abs=1e-6)
    assert found.value == pytest.approx(np.mean(shares), abs=1e-6)
    half = student.ppf(0.975, 2) * np.std(shares, ddof=1) / 3**0.5
    assert found.seeds == pytest.approx((np.mean(shares) - half, np.mean(shares) + half), abs=1e-6)
    assert found.items[0] < found.value < found.items[1]


def test_the_worst_cell_and_the_spread_are_of_the_probe(results):
    for scheme, one in (("none", {}), ("cca", {"at_corner": 0.6})):
        worst = []
        for seed in range(3):
            rows = [
                r for r in answers(Cell(scheme, seed), **one).to_pylist() if r["test"] == "probe"
            ]
            by_cell = []
            for place in range(9):
                here = [r for r in rows if r["cell"] == place]
                hit = np.mean([r["right"] for r in here if r["question"] == "positive"])
                rejected = np.mean([r["right"] for r in here if r["question"] != "positive"])
                by_cell.append((hit + rejected) / 2)
            worst.append(min(by_cell))
        found = number(entry(results, scheme)["measures"]["worst"])
        assert found.each == pytest.approx(worst, abs=1e-9)
    assert entry(results, "cca")["differences"]["delta"]["value"] > 100
    assert abs(entry(results, "mca")["differences"]["delta"]["value"]) < 1e-9


def test_what_differs_is_settled_and_what_does_not_is_not(results):
    for way in (False, True):
        better = entry(results, "bapa", way)["differences"]
        assert all(number(better[name]).settled == 1 for name in ("accuracy", "localisation"))
        same = entry(results, "mca", way)["differences"]
        assert all(number(same[name]).settled == 0 for name in MEASURES)
        assert number(same["accuracy"]).value == 0
    assert number(entry(results, "cca")["differences"]["worst"]).settled == -1


def test_a_share_that_is_nothing_at_all_has_an_interval(results):
    """Nothing right in 12 key pictures at 95 %: below 0.265 (Clopper and Pearson)."""
    strict = number(entry(results, "cca")["measures"]["strict"])
    assert strict.value == 0
    assert strict.items == pytest.approx((0, 1 - 0.025 ** (1 / 12)))


def test_intervals_stay_where_values_can_be():
    """Right in all but a few cells: neither other pictures nor other seeds make it over 100 %."""
    for one in summarise(made_up(none={"better": 0.195}))["schemes"]:
        for name, most in (("accuracy", 1.0), ("worst", 1.0), ("strict", 1.0), ("2ds", 1.0)):
            for ends in (one["measures"][name]["items"], one["measures"][name]["seeds"]):
                assert ends[1] <= most and (name == "2ds" or ends[0] >= 0)


def test_differences_of_shares_stay_within_one():
    """Two seeds that disagree: Student's t alone would be wider than any difference can be."""
    done = [
        replace(one, answers=answers(one.cell, better=-0.7))
        if one.cell.name == "bapa-seed1"
        else one
        for one in made_up(seeds=2)
    ]
    found = entry(summarise(done), "bapa")["differences"]["accuracy"]
    assert found["seeds"] == [-1.0, 1.0]
    assert found["each"] == pytest.approx([0, -0.7], abs=0.1)


def test_one_seed_settles_nothing():
    found = summarise(made_up(1, bapa={"better": 0.18}))
    one = number(entry(found, "bapa")["differences"]["accuracy"])
    assert one.value > 0 and math.isnan(one.seeds[0]) and one.settled == 0


def test_a_scheme_that_lacks_a_seed_is_left_out():
    done = [one for one in made_up() if one.cell.name != "bapa-seed2"]
    found = {(e["scheme"], e["adapted"]) for e in summarise(done)["schemes"]}
    assert ("bapa", False) not in found and ("bapa", True) in found


def test_other_questions_are_refused():
    done = made_up(1)
    done[1] = replace(done[1], answers=done[1].answers.slice(1))
    with pytest.raises(RunError, match="other questions"):
        summarise(done)


def test_the_page_says_what_is_settled(results):
    text = page.render(results)
    holds = text.partition("## What holds")[2].partition("## From scratch")[0]
    better = number(entry(results, "bapa")["differences"]["accuracy"]).value
    assert f"`bapa`: balanced accuracy +{100 * better:.1f} points" in holds
    assert "`cca`: balanced accuracy -" in holds or "`cca`: accuracy in the worst cell -" in holds
    assert "which is not proof of no difference: " in holds and "`mca`" in holds
    assert "Not whole" not in text and "54 cells took 5.0 core-hours (5.5 to 5.5" in text
    assert "Not whole: 54 of 60" in page.render({**results, "wanted": 60})
    assert f"torch {torch.__version__}, " in text and "; 1970-01-02.\n" in text
    assert f"grid probe of {DESIGNS['full'].measuring.items} items in 9 cells" in text


def test_seeds_that_agree_do_not_settle(results):
    wide = Number(0.1, (0.05, 0.15), (-0.1, 0.3), (0.02, 0.08, 0.2))
    assert wide.agreed and not wide.settled
    assert not replace(wide, each=(-0.02, 0.12, 0.2)).agreed
    assert not replace(wide, items=(-0.01, 0.15)).agreed
    assert not replace(wide, each=(0.1,)).agreed
    changed = json.loads(json.dumps(results))
    entry(changed, "mca")["differences"]["2ds"] = wide.to_json()
    holds = page.render(changed).partition("## What holds")[2].partition("**Adapted")[0]
    before, _, after = holds.partition("Not settled, though of one sign in every seed")
    assert "`mca`" not in before and "- `mca`: 2DS +10.0 points." in after


def test_the_page_says_how_far_each_kind_was_learned(results):
    assert "%: `match` 100.0 to 100.0; `where` 50.0 to 50.0." in page.render(results)


def test_pictures_are_drawn(results, tmp_path):
    import figures

    for path in figures.draw_all(results, tmp_path):
        assert path.stat().st_size > 10_000


# ---- one cell, start to end -------------------------------------------------------------------


def test_a_cell_is_measured_and_written(out, tmp_path):
    from wheresight.runs.progress import Silent

    cell = Cell("none", 0)
    folder = measure.measured(SMOKE, cell, out, silent, Silent())
    found = measure.finished(SMOKE, cell, out)
    counts = Counter(found.answers["test"].to_pylist())
    assert counts == {"probe": 2 * 9 * 3, "2ds": 2 * 6, "localisation": 2 * 9}
    before = (folder / measure.RECORD).stat().st_mtime_ns
    assert measure.measured(SMOKE, cell, out, silent, Silent()) == folder
    assert (folder / measure.RECORD).stat().st_mtime_ns == before
    written = page.write_all(SMOKE, cells(1), out, tmp_path)
    assert {path.name for path in written} >= {"results.json", "answers.parquet", "README.md"}
    told = json.loads((tmp_path / "results.json").read_text())
    assert [one["name"] for one in told["cells"]] == ["none-seed0"]
    assert "Not whole: 1 of 18" in (tmp_path / "README.md").read_text()


def test_measuring_is_under_the_scheme(out):
    """The probe's margins of a cell are those of its model inside the block, not outside."""
    from wheresight import load

    cell = Cell("bapa_cross", 0)
    model = load(str(teach.taught(SMOKE, cell, out, silent)))
    rng = np.random.default_rng(1)
    shown = [world.sample(rng, mix_at(1.0))]
    packed = pack([world.ask(rng, shown[0], mix_at(1.0), 4)], model.processor.tokenizer, 36)
    from wheresight.pocket.intervened import hidden_states

    states = []
    for spec in (cell.spec, "none"):
        with torch.no_grad(), intervene(model, spec):
            states.append(hidden_states(model.core, packed, models.features(model.core, shown)))
    assert float((states[0] - states[1]).abs().max()) > 1e-3


# ---- the order of cells -----------------------------------------------------------------------


class Process:
    """Ends at the second look, with the given status."""

    def __init__(self, status):
        self.status, self.looks, self.returncode = status, 0, None

    def poll(self):
        self.looks += 1
        if self.looks > 1:
            self.returncode = self.status
        return self.returncode

    def terminate(self):
        raise AssertionError("nothing is left running")


@pytest.fixture
def begun(monkeypatch):
    """Cells in the order in which they are begun, with how many others run; none is made."""
    import run

    found, failing, processes = [], set(), []

    def started(_, cell, __):
        process = Process(int(cell.name in failing))
        running = sum(other.returncode is None for other in processes)
        processes.append(process)
        found.append((cell, running))
        return run._Running(cell, process, 0.0)

    monkeypatch.setattr(run, "_started", started)
    monkeypatch.setattr(run.time, "sleep", lambda _: None)
    monkeypatch.setattr(measure, "finished", lambda *_: None)
    return found, failing


def test_cells_wait_for_what_they_start_from(begun, tmp_path):
    import run

    found, _ = begun
    run.every("smoke", cells(2), tmp_path, 2)
    order = [cell for cell, _ in found]
    assert sorted(cell.name for cell in order) == sorted(cell.name for cell in cells(2))
    assert max(running for _, running in found) == 1
    for cell in order:
        assert cell.base is None or order.index(cell.base) < order.index(cell)


def test_a_cell_that_fails_holds_up_only_what_starts_from_it(begun, tmp_path):
    import run

    found, failing = begun
    failing.add("none-seed1")
    with pytest.raises(RunError, match=r"1 cells failed \(none-seed1\), and 9 that start from"):
        run.every("smoke", cells(2), tmp_path, 2)
    names = {cell.name for cell, _ in found}
    assert "bapa-lora-seed0" in names and "bapa-seed1" in names and "bapa-lora-seed1" not in names


def test_a_cell_is_made_by_one_process_at_a_time(tmp_path):
    import run

    cell = Cell("bapa", 0)
    with (
        run._Alone(tmp_path, cell),
        pytest.raises(RunError, match="bapa-seed0 is being made"),
        run._Alone(tmp_path, cell),
    ):
        pass
    with run._Alone(tmp_path, cell):
        pass


@pytest.mark.parametrize("given", [["--cell", "x-seed1"], ["--design", "y"], ["--seeds", "0"]])
def test_errors_are_one_sentence(given, tmp_path):
    import run
    import typer
    from typer.testing import CliRunner

    app = typer.Typer()
    app.command()(run.main)
    result = CliRunner().invoke(app, [*given, "--out", str(tmp_path)])
    assert result.exit_code == 2 and "Error: " in result.output


@pytest.mark.parametrize(
    ("given", "beside"),
    [([], True), (["--seeds", "1"], False), (["--design", "smoke"], False)],
)
def test_less_than_the_whole_study_is_not_written_over_it(given, beside, tmp_path, monkeypatch):
    import run
    import typer
    from typer.testing import CliRunner

    places = []
    monkeypatch.setattr(page, "write_all", lambda *args: places.append(args[-1]) or [])
    app = typer.Typer()
    app.command()(run.main)
    result = CliRunner().invoke(app, ["--page", *given, "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert places == [run.HERE if beside else tmp_path / "page"]
