"""Processors that also take videos are saved, loaded and used for pictures without that half."""

from __future__ import annotations

import pytest
import transformers as tf
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from wheresight.lvlm.stills import load_processor, stills_only
from wheresight.pocket.architectures.qwen2_5_vl import Qwen25VL
from wheresight.pocket.emoji import load_things
from wheresight.pocket.recipe import Recipe
from wheresight.pocket.tokenizer import chat_template, train_tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    tokenizer = train_tokenizer(load_things().names, 600, Qwen25VL.marks)
    made = Qwen25VL().processor(Recipe(), tokenizer, chat_template(Qwen25VL.marker))
    place = tmp_path_factory.mktemp("stills")
    made.save_pretrained(place)
    tf.Qwen2_5_VLConfig(architectures=["Qwen2_5_VLForConditionalGeneration"]).save_pretrained(place)
    return place, made


def test_it_loads_again_and_makes_the_same_inputs(folder):
    place, made = folder
    loaded = load_processor(str(place))
    assert isinstance(loaded, tf.Qwen2_5_VLProcessor)
    assert isinstance(loaded.image_processor, Qwen2VLImageProcessorPil)
    assert loaded.chat_template == made.chat_template
    picture = Image.effect_mandelbrot((120, 90), (-2, -1, 1, 1), 50).convert("RGB")
    said = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "is pizza"}]}]
    found = []
    for processor in (made, loaded):
        text = processor.apply_chat_template(said, add_generation_prompt=True)
        found.append(processor(images=[picture], text=[text], return_tensors="pt"))
    assert set(found[0]) == set(found[1])
    assert all((found[0][name] == found[1][name]).all() for name in found[0])
    assert (found[0]["mm_token_type_ids"] == 1).sum() == found[0]["image_grid_thw"].prod()


def test_what_takes_no_videos_fails_as_before(tmp_path):
    tf.LlavaConfig().save_pretrained(tmp_path)
    with pytest.raises((OSError, ValueError, TypeError)):
        load_processor(str(tmp_path))


def test_nothing_else_of_the_stock_class_changes():
    less = stills_only(tf.Qwen2_5_VLProcessor)
    assert issubclass(less, tf.Qwen2_5_VLProcessor) and less.__name__ == "Qwen2_5_VLProcessor"
    assert less.get_attributes() == ["image_processor", "tokenizer"]
