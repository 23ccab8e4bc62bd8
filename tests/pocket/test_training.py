"""The recipe runs from end to end: losses fall, and the folder loads and answers."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from wheresight.cli.pocket import app
from wheresight.errors import WheresightError
from wheresight.pocket.recipe import Recipe, preset
from wheresight.pocket.train import train
from wheresight.pocket.train_shapes import stage_of


def test_presets():
    assert preset("full") == Recipe()
    assert preset("smoke", seed=5).seed == 5
    with pytest.raises(WheresightError, match="full, smoke"):
        preset("huge")


def test_smoke_training_from_the_command_line(tmp_path):
    threads = torch.get_num_threads()
    out, first = tmp_path / "model", tmp_path / "first"
    smoke = ["train", "--preset", "smoke"]
    try:
        result = CliRunner().invoke(app, [*smoke, "--out", str(out), "--keep", str(first)])
        again = CliRunner().invoke(
            app, [*smoke, "--out", str(tmp_path / "again"), "--from", str(first)]
        )
    finally:
        torch.set_num_threads(threads)
    assert result.exit_code == 0, result.output
    assert again.exit_code == 0, again.output
    kept = json.loads((first / "training.json").read_text())
    assert set(kept["curves"]) == {"tower", "decoder"} and "shapes" not in kept["seconds"]
    name = "model.safetensors"
    assert (out / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    assert (out / name).read_bytes() != (first / name).read_bytes()
    curves = json.loads((out / "training.json").read_text())["curves"]
    assert set(curves) == {"tower", "decoder", "tower, shapes", "decoder, shapes"}
    for phase in ("tower", "decoder"):
        assert curves[phase][-1]["loss"] < 0.9 * curves[phase][0]["loss"], phase
    assert (out / "curves.png").stat().st_size > 1_000

    from transformers import AutoModelForImageTextToText, AutoProcessor

    model = AutoModelForImageTextToText.from_pretrained(out)
    processor = AutoProcessor.from_pretrained(out)
    words = [{"type": "image"}, {"type": "text", "text": "is pizza"}]
    prompt = processor.apply_chat_template(
        [{"role": "user", "content": words}], add_generation_prompt=True
    )
    inputs = processor(images=Image.new("RGB", (200, 120)), text=prompt, return_tensors="pt")
    ids = model.generate(**inputs, max_new_tokens=3)
    assert ids.shape[1] > inputs["input_ids"].shape[1]
    assert "recipe" in CliRunner().invoke(app, ["card", str(out)]).output.lower()

    twice = replace(preset("smoke"), shape_rounds=2)
    try:
        for start in (first, out):
            train(twice, tmp_path / f"{start.name}-2", evaluate=False, start=start)
    finally:
        torch.set_num_threads(threads)
    assert (tmp_path / "first-2" / name).read_bytes() == (tmp_path / "model-2" / name).read_bytes()
    assert (tmp_path / "first-2" / name).read_bytes() != (out / name).read_bytes()
    told = json.loads((tmp_path / "model-2" / "training.json").read_text())
    assert list(told["curves"]) == list(twice.phases) and len(twice.phases) == 6
    assert "in 2 rounds" in (tmp_path / "model-2" / "README.md").read_text()


def test_the_last_round_may_ask_more_of_what_is_at_a_cell():
    recipe = replace(Recipe(), shape_rounds=2, last_round_at_cell=0.5)
    weights = [stage_of(recipe, turn).at_cell for turn in range(2)]
    assert weights == [Recipe().last_round_at_cell, 0.5]
    assert stage_of(Recipe(), 0).at_cell == 0.14


def test_the_last_part_alone_goes_on_from_a_folder_once(tmp_path):
    """A folder that has had all parts is refused; nothing is written."""
    from wheresight.pocket import model_folder

    with pytest.raises(WheresightError, match="has had the phases tower, decoder, tower, shapes"):
        train(preset("smoke"), tmp_path / "out", start=model_folder())
    assert not (tmp_path / "out").exists()
