"""Diagnostics on labelled benchmarks: answers are those of evaluate, boxes those of the table."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wheresight.errors import StimulusError
from wheresight.lvlm.encoding import Query
from wheresight.lvlm.read import read
from wheresight.probes.alignment import Alignment
from wheresight.probes.bench import Bench
from wheresight.probes.benchmark import ask, labelled_questions
from wheresight.probes.compression import FULL, Compression
from wheresight.probes.diagnostic import Context
from wheresight.probes.evaluate import evaluate
from wheresight.probes.psi import REFERENCE, Psi, by_answer
from wheresight.probes.token_grid import covered
from wheresight.stimuli.benchmarks import open_benchmark

SPEC = "2ds#images=4,variant=small_models,wording=bare"
MakeBench = Callable[..., Bench]


def on(bench: Bench, spec: str) -> Bench:
    return replace(bench, items=(), benchmark=open_benchmark(spec))


def write_table(folder: Path, rows: list[dict[str, object]]) -> str:
    Image.new("RGB", (96, 96), "red").save(folder / "square.png")
    Image.new("RGB", (192, 96), "red").save(folder / "wide.png")
    (folder / "own.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return f"own:{folder / 'own.jsonl'}"


def row(name: str, image: str = "square.png", **more: object) -> dict[str, object]:
    base = {"id": name, "image": image, "question": "What is it?", "answer": "red"}
    return {**base, "options": ["red", "blue"], "cluster": name, **more}


def test_answers_are_those_of_evaluate(make_bench: MakeBench) -> None:
    bench = on(make_bench(items=1), SPEC)
    assert bench.benchmark is not None
    specs = ["none", "bapa", "permute:seed=3"]
    records = evaluate(bench.score, bench.benchmark, specs)
    posed = labelled_questions(bench.benchmark)
    found = ask(bench.score, posed, {s: s for s in specs}, options=True)
    words = {len(choice.split()) for p in posed for choice in p.choices}
    assert words == {1, 2}  # `red`, and `red circle`, which takes several tokens
    for spec in specs:
        right = np.array([r["right"] for r in records[spec]])
        logp = np.array([r["logp"][r["right"]] for r in records[spec]])
        picked = np.array([np.argmax(r["logp"]) for r in records[spec]])
        np.testing.assert_allclose(found[spec].logp, logp, atol=1e-4)
        assert (found[spec].picked == picked).all()
        assert (found[spec].right == (picked == right)).all()
    assert found["permute:seed=3"].kl.min() > 0


def test_letters_are_scored_where_letters_are_asked_for() -> None:
    letters = labelled_questions(open_benchmark("2ds#images=1,wording=letters"))
    words = labelled_questions(open_benchmark("2ds#images=1"))
    for one, other in zip(letters, words, strict=True):
        assert one.choices == tuple("ABCD"[: len(other.choices)])
        assert one.choices.index(one.right) == other.choices.index(other.right)


def test_questions_about_one_picture_come_together(tmp_path: Path) -> None:
    spec = write_table(tmp_path, [row("a"), row("b", "wide.png"), row("c")])
    posed = labelled_questions(open_benchmark(spec))
    assert [p.id for p in posed] == ["a", "c", "b"]
    assert posed[0].picture is posed[1].picture
    assert posed[2].picture().size == (192, 96)


def test_psi_and_compression_on_a_benchmark(make_bench: MakeBench) -> None:
    bench = on(make_bench(items=1), SPEC)
    accuracies = []
    for tool, column, whole, name in (
        (Psi(draws=1, benchmark=SPEC), "condition", REFERENCE, "accuracy"),
        (Compression(sides="1", benchmark=SPEC), "way", FULL, "accuracy.full"),
    ):
        assert tool.wants() == 0
        counted: list[int] = []
        found = tool.measure(bench, counted.append)
        assert sum(counted) == tool.steps(bench) == len(found["item"])
        table = {key: np.array(values) for key, values in found.items()}
        own = table[column] == whole
        assert own.sum() == 24
        assert set(table["chance"]) == {1 / 2, 1 / 3, 1 / 4}  # few colours leave three options
        assert set(table["key"]) == {f"{n:05d}" for n in range(4)}
        findings = tool.findings({"none": table}, Context(replicates=100))
        value = next(f.value for f in findings if f.name == name)
        assert value == pytest.approx(table["right"][own].mean())  # no options that all share
        accuracies.append(value)
    assert accuracies[0] == accuracies[1]


def test_right_answers_are_averaged_only_where_options_are_shared() -> None:
    shared = by_answer(np.array(["left", "on", "left"]), np.full(3, 1 / 4))
    assert shared.tolist() == [[True, False], [False, True], [True, False]]
    assert by_answer(np.array(list("abc")), np.array([1 / 4, 1 / 2, 1 / 4])).shape == (3, 1)


def test_boxes_are_those_of_the_table(tmp_path: Path, make_bench: MakeBench) -> None:
    # One token of 6 x 6 is 16 x 16 pixels.
    rows = [
        row("corner", boxes=[[0, 0, 16, 16]]),
        row("none"),
        row("two", boxes=[[16, 0, 32, 16], [0, 16, 8, 32]], answer="blue"),
        row("twice", boxes=[[0, 0, 96, 48], [0, 0, 96, 48]]),
        row("wide", "wide.png", boxes=[[96, 0, 192, 96]]),
    ]
    spec = write_table(tmp_path, rows)
    bench = on(make_bench(items=1), spec)
    tool = Alignment(benchmark=spec)
    counted: list[int] = []
    found = tool.measure(bench, counted.append)
    assert sum(counted) == tool.steps(bench) == 4
    assert found["item"] == ["corner", "two", "twice", "wide"]
    assert found["area"] == pytest.approx([1 / 36, 1.5 / 36, 1 / 2, 1 / 2])
    assert set(found["skipped"]) == {"1 of 5 questions skipped: 1 without a box."}
    # The same picture and words: `two` alone has the other answer.
    assert found["correct"][0] != found["correct"][1]
    assert found["margin"][0] == pytest.approx(-found["margin"][1], abs=1e-4)
    picture = Image.open(tmp_path / "square.png").convert("RGB")
    text = labelled_questions(open_benchmark(spec))[0].text
    with read(bench.lvlm, "attention", rows="last", each=True) as reading:
        bench.score.score(bench.score.encode([Query(picture, (text,))]))
    maps = reading.prompts[0].grid(0).double().numpy()
    share = maps / maps.sum((-1, -2), keepdims=True)
    np.testing.assert_allclose(found["overlap"][0], share[:, :, 0, 0].ravel(), atol=1e-6)
    two = share[:, :, 0, 1] + share[:, :, 1, 0] / 2
    np.testing.assert_allclose(found["overlap"][1], two.ravel(), atol=1e-6)
    table = {key: np.array(values) for key, values in found.items()}
    findings = tool.findings({"none": table}, Context(replicates=100))
    assert findings[0].note == "1 of 5 questions skipped: 1 without a box."


def test_a_picture_that_a_model_crops_is_skipped(
    tmp_path: Path, make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = row("wide", "wide.png", boxes=[[96, 0, 192, 96]])
    spec = write_table(tmp_path, [row("a", boxes=[[0, 0, 16, 16]]), wide])
    bench = on(make_bench(items=1), spec)
    processor = bench.lvlm.processor.image_processor
    monkeypatch.setattr(processor, "do_center_crop", True)
    monkeypatch.setattr(processor, "crop_size", processor.size)
    found = Alignment(benchmark=spec).measure(bench, lambda _: None)
    assert found["item"] == ["a"]
    assert "1 about a picture that the model crops or pads" in found["skipped"][0]


def test_small_boxes_hold_no_centre(tmp_path: Path, make_bench: MakeBench) -> None:
    rows = [row("small", boxes=[[0, 0, 4, 4]]), row("large", boxes=[[0, 0, 96, 96]])]
    spec = write_table(tmp_path, rows)
    bench = on(make_bench(items=1), spec)
    found = Alignment(benchmark=spec, protocol="paper").measure(bench, lambda _: None)
    assert found["item"] == ["large"]
    assert "1 with no token's centre in a box" in found["skipped"][0]
    spec = write_table(tmp_path, rows[:1])
    with pytest.raises(StimulusError, match="No box of the benchmark"):
        Alignment(benchmark=spec, protocol="paper").measure(
            on(make_bench(items=1), spec), lambda _: None
        )


def test_boxes_that_cannot_be(tmp_path: Path, make_bench: MakeBench) -> None:
    spec = write_table(tmp_path, [row("off", boxes=[[200, 0, 220, 10]])])
    bench = on(make_bench(items=1), spec)
    with pytest.raises(StimulusError, match="'off' lie outside of its picture of 96 x 96"):
        Alignment(benchmark=spec).measure(bench, lambda _: None)
    without = open_benchmark(write_table(tmp_path, [row("a")]))
    assert "has boxes" in (Alignment().refuses_benchmark(without) or "")
    assert Alignment().refuses_benchmark(open_benchmark(SPEC)) is None


def test_shares_of_tokens_by_a_picture() -> None:
    """Against counting the pixels of a drawn mask."""
    boxes = [(3.0, 5.0, 40.0, 21.0), (20.0, 10.0, 64.0, 30.0), (50.0, 40.0, 90.0, 60.0)]
    mask = np.zeros((48, 64))
    for left, top, right, bottom in boxes:
        mask[int(top) : int(bottom), int(left) : int(right)] = 1
    for grid in ((6, 8), (3, 4), (1, 1), (48, 64)):
        parts = mask.reshape(grid[0], 48 // grid[0], grid[1], 64 // grid[1])
        np.testing.assert_allclose(covered(boxes, (64, 48), grid), parts.mean((1, 3)), atol=1e-12)
    centres = covered(boxes, (64, 48), (6, 8), centres=True)
    assert (centres == mask[4::8, 4::8]).all()
