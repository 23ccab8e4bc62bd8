"""What can be wrapped, and what is told otherwise."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
import transformers

import wheresight
from wheresight.errors import ModelError
from wheresight.lvlm import families
from wheresight.lvlm.families import family_for_config
from wheresight.lvlm.families.family import Family


def test_wrap_is_idempotent_and_tells_device_and_dtype(family: str, make_model: Any) -> None:
    model = make_model(family, torch.bfloat16)
    lvlm = wheresight.wrap(model)
    assert wheresight.wrap(lvlm) is lvlm
    assert lvlm.model is lvlm.core is model
    assert (lvlm.device, lvlm.dtype) == (torch.device("cpu"), torch.bfloat16)
    assert lvlm.name == type(model).__name__
    processor = object()
    again = wheresight.wrap(lvlm, processor)
    assert again.processor is processor
    assert again.model is model
    assert lvlm.processor is None


def test_seams_are_where_the_adapter_says(family: str, make_model: Any) -> None:
    model = make_model(family)
    found = wheresight.wrap(model).family
    assert found.base(model) is model.model
    assert len(found.layers(model)) == model.config.get_text_config().num_hidden_layers
    assert all("Rotary" in type(m).__name__ for m in found.rotary(model))
    assert found.rotary_rows == (3 if family.startswith("qwen") else 1)
    assert found.image_token(model.config) == 90


def test_class_tokens_and_siglip_towers(make_model: Any) -> None:
    model = make_model("llava")
    adapter = wheresight.wrap(model).family
    expected = {
        ("clip_vision_model", "default"): (3, 3, 0),
        ("clip_vision_model", "full"): (3, 3, 1),
        ("siglip_vision_model", "full"): (3, 3, 0),
        ("siglip_vision_model", "default"): (0, 0, 8),
    }
    for (tower, strategy), (height, width, loose) in expected.items():
        cls = {"clip_vision_model": transformers.CLIPVisionConfig}.get(
            tower, transformers.SiglipVisionConfig
        )
        model.config.vision_config = cls(image_size=12, patch_size=4)
        model.config.vision_feature_select_strategy = strategy
        (tokens,) = adapter.image_sizes(model, {}, []).images
        assert (tokens.height, tokens.width, tokens.loose) == (height, width, loose)


@pytest.mark.parametrize(
    "what", ["text", "base", "thing", "pixtral", "no_token", "qwen2_text", "bare"]
)
def test_what_cannot_be_wrapped(make_model: Any, what: str) -> None:
    model = make_model("llava")
    if what == "text":
        model, message = model.model.language_model, "Unknown model family 'llama'"
    elif what == "base":
        model, message = model.model, "A LlavaModel was given; expected the whole model"
    elif what == "bare":
        model, message = torch.nn.Linear(2, 2), "A Linear was given, which has no configuration"
    elif what == "thing":
        model, message = "llava-hf/x", "A str was given; expected a transformers model"
    elif what == "pixtral":
        model.config.vision_config = transformers.PixtralVisionConfig()
        message = "broken up by text tokens"
    elif what == "no_token":
        model.config.image_token_id = None
        message = "names no image placeholder token"
    else:
        model, message = make_model("qwen").model.language_model, "Did you mean 'qwen2_5_vl'"
    with pytest.raises(ModelError, match=message):
        wheresight.wrap(model)


def test_a_family_that_transformers_lacks_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    from wheresight.lvlm.families.gemma3 import Gemma3

    monkeypatch.setattr(Gemma3, "model_class", "NotYetThere")
    families.families.cache_clear()
    try:
        assert "gemma3" not in families.families()
        with pytest.raises(ModelError, match="Known: idefics3, internvl, llava, llava_next"):
            family_for_config(transformers.Gemma3Config())
    finally:
        families.families.cache_clear()


class _Entry:
    def __init__(self, name: str, value: str) -> None:
        self.name, self.value = name, value


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (_Entry("llava", "other:Llava"), "Two adapters claim"),
        (_Entry("mine", "not_a_module:X"), "cannot be used"),
        (_Entry("mine", "collections:OrderedDict"), "is not a subclass of"),
        (_Entry("mine", "wheresight.lvlm.families.llava:Llava"), ""),
    ],
)
def test_families_of_other_packages(
    monkeypatch: pytest.MonkeyPatch, entry: _Entry, message: str
) -> None:
    monkeypatch.setattr(families, "entry_points", lambda group: [entry])
    families.families.cache_clear()
    try:
        if message:
            with pytest.raises(ModelError, match=message):
                families.families()
        else:
            assert isinstance(families.families()["mine"], Family)
    finally:
        families.families.cache_clear()


def test_adapters_alone_name_families() -> None:
    """Rule 2 of the house: nothing outside an adapter knows a family by name."""
    from pathlib import Path

    root = Path(families.__file__).parent.parent
    names = ("llava", "qwen", "gemma", "mistral", "internvl", "idefics", "smolvlm")
    ours = [
        *(root / "seams").glob("*.py"),
        *(root / f for f in ("call.py", "history.py", "intervene.py", "layout.py", "spans.py")),
        *(root / f for f in ("wrapper.py", "families/family.py", "tracker.py", "replay.py")),
        *(root / f for f in ("columns.py", "generation.py", "encoding.py", "scoring.py")),
        *(root.parent / "interventions").rglob("*.py"),
    ]
    assert len(ours) > 12
    for path in ours:
        text = path.read_text().lower()
        assert not [name for name in names if name in text], path


def test_specs_need_no_torch() -> None:
    code = (
        "import sys\n"
        "from wheresight.interventions.spec import canonical\n"
        "import wheresight.interventions, wheresight\n"
        "assert canonical('none+bapa') == 'bapa'\n"
        "assert not {'torch', 'transformers', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
