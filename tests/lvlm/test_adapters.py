"""Adapters saved with the intervention that they were trained under, and loaded with it."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file

import wheresight
from wheresight.errors import ModelError
from wheresight.lvlm.adapters import INTERVENTION_FILE, AdapterWarning, look_at

SPEC = "bapa:layers=0-2+scalingvis:alpha=0.8"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter of the pocket model whose weights are not zero, saved inside a block."""
    lvlm = wheresight.load("pocket")
    torch.manual_seed(0)
    config = peft.LoraConfig(r=2, target_modules=r".*language_model.*(q_proj|v_proj)")
    model = peft.get_peft_model(lvlm.model, config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.2)
    folder = tmp_path_factory.mktemp("adapter") / "bapa"
    with wheresight.intervene(model, SPEC):
        assert wheresight.save_adapter(model, folder) == folder
    return folder


def _prompt() -> dict[str, Any]:
    ids = torch.tensor([[1, 3, 9, 12, 7]])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def test_folder_is_plain_peft_with_the_intervention_beside_it(trained: Path) -> None:
    assert {f.name for f in trained.iterdir()} >= {
        "adapter_config.json", "adapter_model.safetensors", INTERVENTION_FILE,
    }  # fmt: skip
    said = json.loads((trained / INTERVENTION_FILE).read_text())
    full = wheresight.load("pocket", adapter=trained)
    assert full.trained_under == look_at(trained).trained_under == said["spec"]
    with wheresight.intervene(full, said["intervention"]) as active:
        assert active.spec == full.trained_under
    again = peft.PeftModel.from_pretrained(wheresight.load("pocket").model, str(trained))
    with torch.no_grad():
        a, b = (m(**_prompt()).logits for m in (full.model, again.eval()))
    assert torch.equal(a, b)
    with torch.no_grad(), full.model.disable_adapter():
        assert not torch.equal(a, full.model(**_prompt()).logits)


@pytest.mark.parametrize("fault", ["missing", "surplus"])
def test_missing_and_surplus_keys_are_refused(trained: Path, tmp_path: Path, fault: str) -> None:
    folder = shutil.copytree(trained, tmp_path / "a")
    weights = load_file(folder / "adapter_model.safetensors")
    name = next(iter(weights))
    tensor = weights.pop(name)
    if fault == "surplus":
        weights |= {name: tensor, name.replace("layers.0", "layers.77"): tensor.clone()}
    save_file(weights, folder / "adapter_model.safetensors")
    with pytest.raises(ModelError, match=f"1 keys are {fault}"):
        wheresight.load("pocket", adapter=folder)


def test_weights_of_another_shape_are_refused(trained: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(trained, tmp_path / "a")
    weights = load_file(folder / "adapter_model.safetensors")
    save_file(
        {k: v[:, :-1].contiguous() for k, v in weights.items()},
        folder / "adapter_model.safetensors",
    )
    with pytest.raises(ModelError, match="does not fit 'pocket'"):
        wheresight.load("pocket", adapter=folder)


def test_an_adapter_that_does_nothing_is_told(tmp_path: Path) -> None:
    config = peft.LoraConfig(r=2, target_modules=r".*language_model.*q_proj")
    model = peft.get_peft_model(wheresight.load("pocket").model, config)
    wheresight.save_adapter(model, tmp_path / "zero", "bapa")
    with pytest.warns(AdapterWarning, match="does not change the model's answer"):
        assert wheresight.load("pocket", adapter=tmp_path / "zero").trained_under == "bapa"


def test_an_adapter_made_elsewhere_is_taken_for_stock(trained: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(trained, tmp_path / "a")
    (folder / INTERVENTION_FILE).unlink()
    with pytest.warns(AdapterWarning, match="trained on the stock model"):
        assert wheresight.load("pocket", adapter=folder).trained_under == "none"


def test_an_adapter_of_other_weights_is_told(trained: Path, tmp_path: Path) -> None:
    base = wheresight.load("pocket").revision
    for revision, told in (("local-0", True), ("0a1b2c", False), (base, False)):
        folder = shutil.copytree(trained, tmp_path / revision)
        path = folder / INTERVENTION_FILE
        path.write_text(json.dumps(json.loads(path.read_text()) | {"base_revision": revision}))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", AdapterWarning)
            wheresight.load("pocket", adapter=folder)
        said = [str(w.message) for w in caught if issubclass(w.category, AdapterWarning)]
        assert len(said) == told
        assert all("was trained on weights of revision local-0" in text for text in said)


def test_the_revision_tells_adapters_apart(trained: Path, tmp_path: Path) -> None:
    base = wheresight.load("pocket").revision
    one = wheresight.load("pocket", adapter=trained).revision
    folder = shutil.copytree(trained, tmp_path / "a")
    assert look_at(folder).revision(base) == one
    weights = load_file(folder / "adapter_model.safetensors")
    save_file({k: 2 * v for k, v in weights.items()}, folder / "adapter_model.safetensors")
    other = wheresight.load("pocket", adapter=folder)
    assert other.revision != one and other.revision.startswith(f"{base}+adapter-")
    wheresight.save_adapter(other, tmp_path / "b", "none")
    assert json.loads((tmp_path / "b" / INTERVENTION_FILE).read_text())["base_revision"] == base


def test_a_good_adapter_gives_no_warning(trained: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", AdapterWarning)
        wheresight.load("pocket", adapter=trained)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "Invalid JSON"),
        ('{"spec": "bapa"}', "Field required"),
        (None, "two forms of the intervention differ"),
    ],
)
def test_a_spoilt_intervention_file_is_told(
    trained: Path, tmp_path: Path, content: str | None, says: str
) -> None:
    folder = shutil.copytree(trained, tmp_path / "a")
    path = folder / INTERVENTION_FILE
    if content is None:
        content = json.dumps(json.loads(path.read_text()) | {"spec": "none"})
    path.write_text(content)
    with pytest.raises(ModelError, match=says):
        look_at(folder)


def test_what_is_no_adapter_is_told(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no adapter_config\.json"):
        wheresight.load("pocket", adapter=tmp_path)
    folder = shutil.copytree(trained, tmp_path / "a")
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(ModelError, match="Only safetensors"):
        wheresight.load("pocket", adapter=folder)
    with pytest.raises(ModelError, match="without an adapter"):
        wheresight.save_adapter(wheresight.load("pocket"), tmp_path / "b")
