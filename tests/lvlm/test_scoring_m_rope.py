"""Sharing a prompt's beginning where ids have three rows: equal to whole prompts, in float64."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as tf
from PIL import Image

import wheresight
from wheresight.interventions.registry import known_interventions
from wheresight.interventions.spec import parse
from wheresight.lvlm.scoring import Query, Scorer
from wheresight.lvlm.stills import stills_only

sys.path.insert(0, str(Path(__file__).parent))
from test_methods_everywhere import OTHERS, example
from test_scoring import TEXT, template, tokenizer

FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
SPECS = [
    spec for name in known_interventions() for spec in OTHERS.get(name, [str(example(name))])
] + ["bapa+scalingvis:alpha=3", "permute+agci+adaptvis:threshold=0.004,low=0.2,high=2"]
SPECS.remove("none")
# What these turn or compute again, they do in float32 whatever the model's dtype.
IN_FLOAT32 = ("bapa_cross", "circle", "uac")


@functools.cache
def lvlm_of(family: str) -> wheresight.LVLM:
    """A tiny random model in float64 with its real processor."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    words = tokenizer()
    section = [4, 2, 2] if family == "qwen3_vl" else [2, 3, 3]
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": section}
    text: dict[str, Any] = {**TEXT, "vocab_size": len(words), "rope_parameters": rope}
    vision: dict[str, Any] = {"depth": 2, "num_heads": 2, "patch_size": 4}
    config: Any
    if family == "qwen2_vl":
        cls: Any = tf.Qwen2VLForConditionalGeneration
        config, processor = tf.Qwen2VLConfig, tf.Qwen2VLProcessor
        vision |= {"embed_dim": 32, "hidden_size": 64, "mlp_ratio": 2}
    elif family == "qwen2_5_vl":
        cls = tf.Qwen2_5_VLForConditionalGeneration
        config, processor = tf.Qwen2_5_VLConfig, tf.Qwen2_5_VLProcessor
        vision |= {"hidden_size": 32, "intermediate_size": 48, "out_hidden_size": 64}
        vision |= {"window_size": 16, "fullatt_block_indexes": [1]}
    else:
        cls = tf.Qwen3VLForConditionalGeneration
        config, processor = tf.Qwen3VLConfig, tf.Qwen3VLProcessor
        text["head_dim"] = 16
        vision |= {"hidden_size": 32, "intermediate_size": 48, "out_hidden_size": 64}
        vision |= {"num_position_embeddings": 16, "deepstack_visual_indexes": [0, 1]}
    ids = {
        f"{name}_token_id": words.convert_tokens_to_ids(token)
        for name, token in (
            ("image", "<image>"),
            ("video", "<video>"),
            ("vision_start", "<boi>"),
            ("vision_end", "<eoi>"),
        )
    }
    torch.manual_seed(4)
    model = cls(config(text_config=text, vision_config=vision, **ids)).double().eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.normal_(0, 1.5 / weight.shape[-1] ** 0.5)
    pictures = Qwen2VLImageProcessorPil(patch_size=4, min_pixels=64, max_pixels=64 * 12)
    made = stills_only(processor)(
        image_processor=pictures,
        tokenizer=words,
        video_processor=None,
        chat_template=template("<boi><image><eoi>"),
    )
    return wheresight.wrap(model, made)


def queries() -> list[Query]:
    """Pictures of one number of tokens but other grids, and of other numbers."""
    generator = torch.Generator().manual_seed(8)
    shapes = [(16, 48), (48, 16), (24, 32), (32, 24), (16, 16), (24, 24)]
    questions = ["Is a cat here?", "Is the quick brown fox here?", "Is an ü in it?"]
    made = []
    for n, (height, width) in enumerate(shapes):
        pixels = torch.randint(0, 256, (height, width, 3), generator=generator, dtype=torch.uint8)
        made.append(Query(Image.fromarray(pixels.numpy()), tuple(questions[: 1 + n % 3])))
    return made


@pytest.mark.parametrize("spec", ["none", *SPECS])
@pytest.mark.parametrize("which", FAMILIES)
def test_shared_equals_whole_prompts(which: str, spec: str) -> None:
    lvlm = lvlm_of(which)
    host = lvlm.family.host(lvlm.core.config)
    if any(i.refuses(host) for i in parse(spec)):
        pytest.skip(f"{spec} cannot act on {which}")
    whole, shared = Scorer(lvlm, batch_size=5, share_prefix=False), Scorer(lvlm, batch_size=7)
    assert shared.share_prefix and not whole.share_prefix
    wanted = whole.score(whole.encode(queries()), spec)
    encoded = shared.encode(queries())
    found = shared.score(encoded, spec)
    near = 1e-5 if any(i.name in IN_FLOAT32 for i in parse(spec)) else 1e-9
    assert [a.margin for a in found] == pytest.approx([a.margin for a in wanted], abs=near)
    assert [a.argmax_id for a in found] == [a.argmax_id for a in wanted]
    assert max(a.margin for a in found) - min(a.margin for a in found) > 0.01
    # A call on other pictures in between changes nothing, though the model remembers it.
    shared.score(shared.encode(queries()[::-1]), "none")
    assert shared.score(encoded, spec) == found


@pytest.mark.parametrize("which", FAMILIES)
def test_pictures_that_are_alike_in_number_only_end_at_other_ids(which: str) -> None:
    lvlm = lvlm_of(which)
    encoded = Scorer(lvlm).encode(queries())
    grids = encoded.image_inputs["image_grid_thw"].tolist()
    assert encoded.counts[0] == encoded.counts[2] or encoded.counts[0] == encoded.counts[1]
    assert len({tuple(grid) for grid in grids}) >= 5
    inputs = Scorer(lvlm).encoder.inputs(encoded, [encoded.rows[0]])
    with torch.no_grad():
        lvlm.model(**inputs)
    offset = lvlm.family.text_offset(lvlm.core, 1)
    assert offset is not None and int(offset) < 0


@pytest.mark.parametrize("which", FAMILIES)
def test_interventions_on_the_last_row_share_with_none(which: str) -> None:
    scorer = Scorer(lvlm_of(which), batch_size=8)
    encoded = scorer.encode(queries())
    specs = ["none", "scalingvis:alpha=3", "bapa", "bapa+temperature:3", "scalingvis:alpha=1"]
    specs = [spec for spec in specs if not _refused(scorer.lvlm, spec)]
    together = scorer.score_all(encoded, specs)
    assert together == [scorer.score(encoded, spec) for spec in specs]
    assert together[-1] == together[0] != together[1]


def _refused(lvlm: wheresight.LVLM, spec: str) -> bool:
    host = lvlm.family.host(lvlm.core.config)
    return any(i.refuses(host) for i in parse(spec))
