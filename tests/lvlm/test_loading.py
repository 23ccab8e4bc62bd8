"""Loading: names, folders, safety, and what can be known before weights are read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

import wheresight
from wheresight.errors import ModelError
from wheresight.lvlm.loading import look_up, revision
from wheresight.pocket import model_folder


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A private copy of the shipped model's folder."""
    return Path(shutil.copytree(model_folder(), tmp_path / "model"))


def test_the_shipped_model_by_name_and_by_folder_is_the_same(copy: Path) -> None:
    named, placed = look_up("pocket"), look_up(str(copy))
    assert named.revision == placed.revision
    assert named.revision.startswith("local-")
    assert named.picture_size == placed.picture_size == named.config.vision_config.image_size


def test_the_revision_follows_content_not_place(copy: Path) -> None:
    before = look_up(str(copy)).revision
    weights = copy / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert look_up(str(copy)).revision != before
    assert revision(str(copy), object()) == look_up(str(copy)).revision


def test_the_revision_does_not_follow_notes(copy: Path) -> None:
    before = look_up(str(copy)).revision
    (copy / "training.json").write_text("{}")
    (copy / "README.md").write_text("another card")
    assert look_up(str(copy)).revision == before


def test_load_gives_a_stock_class_in_evaluation_mode() -> None:
    lvlm = wheresight.load("pocket", device="cpu")
    assert type(lvlm.model).__name__ == "LlavaForConditionalGeneration"
    assert type(lvlm.model).__module__.startswith("transformers.")
    assert not lvlm.model.training
    assert lvlm.dtype == torch.float32
    assert lvlm.name == "pocket"
    assert lvlm.revision == look_up("pocket").revision
    assert lvlm.model.config._attn_implementation == "sdpa"


def test_dtype_and_attention_are_as_asked() -> None:
    lvlm = wheresight.load("pocket", dtype="bfloat16", attention="eager", device="cpu")
    assert lvlm.dtype == torch.bfloat16
    assert lvlm.model.config.get_text_config()._attn_implementation == "eager"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"dtype": "float8"}, "Unknown dtype 'float8'"),
        ({"attention": "flash"}, "Unknown attention implementation 'flash'"),
        ({"device": "abacus"}, "The device 'abacus' cannot be used here"),
    ],
)
def test_options_that_cannot_be_met(options: dict[str, str], sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        wheresight.load("pocket", **options)  # type: ignore[arg-type]


def test_pickled_weights_are_not_read_unless_asked_for(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    marker = copy / "executed"
    (copy / "pytorch_model.bin").write_bytes(
        b"cposix\nsystem\n(S'touch " + str(marker).encode() + b"'\ntR."
    )
    with pytest.raises(ModelError, match="safetensors"):
        wheresight.load(str(copy))
    with pytest.raises(ModelError):  # asked for, but torch's own reader refuses what is not tensors
        wheresight.load(str(copy), allow_pickle=True)
    assert not marker.exists()


def test_remote_code_is_not_run_unless_asked_for(copy: Path) -> None:
    marker = copy / "executed"
    (copy / "custom.py").write_text(f"open({str(marker)!r}, 'w').close()\nclass C: pass\n")
    config = json.loads((copy / "config.json").read_text())
    config["auto_map"] = {
        "AutoConfig": "custom.C",
        "AutoModelForImageTextToText": "custom.C",
    }
    config["model_type"] = "custom"
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"could not be loaded|Unknown model family"):
        wheresight.load(str(copy))
    assert not marker.exists()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("pokcet", "Unknown model 'pokcet'. Did you mean 'pocket'"),
        ("./nowhere", "Unknown model './nowhere'"),
        ("a/b/c", "hub id such as owner/name"),
    ],
)
def test_unknown_names(name: str, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence.replace("?", r"\?")):
        look_up(name)
