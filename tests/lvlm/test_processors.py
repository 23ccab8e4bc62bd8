"""What real processors return is what the adapters expect: real processors, tiny models.

Four families have theirs in test_scoring. SmolVLM's needs a package more; it writes what Idefics3's
does.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers as tf
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers

import wheresight
from wheresight.lvlm.layout import Kind, Layout
from wheresight.lvlm.stills import stills_only

# Ids of the tiny models of conftest: 90 is the placeholder, 91 and 92 stand around an image.
NAMED = {0: "<pad>", 1: "<s>", 2: "</s>", 3: "<unk>", 90: "<image>", 91: "<a>", 92: "<b>"}
NAMED |= {93: "<video>", 94: "<global-img>", 95: "<fake_token_around_image>"}
WHICH = ("onevision", "qwen2", "qwen3", "internvl", "idefics", "paligemma")


def tokenizer() -> Any:
    vocabulary = {NAMED.get(i, f"w{i}"): i for i in range(99)}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    inner.add_special_tokens(list(NAMED.values()))
    return tf.PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        extra_special_tokens={
            "image_token": "<image>",
            "context_image_token": "<image>",
            "start_image_token": "<a>",
            "end_image_token": "<b>",
            "video_token": "<video>",
        },
    )


def processor_of(which: str) -> Any:
    """The family's processor, for pictures as small as the tiny models want them."""
    words = tokenizer()
    if which == "onevision":
        from transformers.models.llava_onevision import image_processing_pil_llava_onevision as m

        pins = [[8, 8], [8, 16], [16, 8], [16, 16]]
        images: Any = m.LlavaOnevisionImageProcessorPil(
            size={"height": 8, "width": 8}, image_grid_pinpoints=pins
        )
        return stills_only(tf.LlavaOnevisionProcessor)(
            images,
            words,
            video_processor=None,
            num_image_tokens=4,
            vision_feature_select_strategy="full",
            vision_aspect_ratio="anyres_max_2",
        )
    if which.startswith("qwen"):
        from transformers.models.qwen2_vl import image_processing_pil_qwen2_vl as m

        images = m.Qwen2VLImageProcessorPil(patch_size=4, min_pixels=64, max_pixels=64 * 12)
        cls = tf.Qwen2VLProcessor if which == "qwen2" else tf.Qwen3VLProcessor
        return stills_only(cls)(images, words, video_processor=None)
    if which == "internvl":
        from transformers.models.got_ocr2 import image_processing_pil_got_ocr2 as m

        images = m.GotOcr2ImageProcessorPil(size={"height": 24, "width": 24}, max_patches=4)
        return stills_only(tf.InternVLProcessor)(
            images, words, video_processor=None, image_seq_length=9
        )
    if which == "idefics":
        from transformers.models.idefics3 import image_processing_pil_idefics3 as m

        edges = {"size": {"longest_edge": 48}, "max_image_size": {"longest_edge": 24}}
        images = m.Idefics3ImageProcessorPil(**edges)
        return tf.Idefics3Processor(images, words, image_seq_len=9)
    from transformers.models.siglip import image_processing_pil_siglip as m

    images = m.SiglipImageProcessorPil(size={"height": 12, "width": 12})
    images.image_seq_length = 9
    return tf.PaliGemmaProcessor(images, words)


def picture(height: int, width: int) -> Image.Image:
    generator = torch.Generator().manual_seed(height * width)
    noise = torch.randint(0, 256, (height, width, 3), generator=generator, dtype=torch.uint8)
    return Image.fromarray(noise.numpy())


def processed(which: str, *rows: tuple[str, list[Image.Image]]) -> dict[str, Any]:
    out = processor_of(which)(
        text=[text for text, _ in rows],
        images=[pictures for _, pictures in rows],
        padding=True,
        padding_side="left",
        return_tensors="pt",
    )
    # PaliGemma's processor always makes labels, here of no token at all.
    inputs = {k: v for k, v in out.items() if k != "labels"}
    # Added to the vocabulary where a tiny one has no token for rows and columns of tiles.
    inputs["input_ids"] = inputs["input_ids"].where(inputs["input_ids"] < 99, 4)
    return inputs


def grids(layout: Layout) -> list[list[tuple[int, int]]]:
    return [[(s.tokens.height, s.tokens.width) for s in spans] for spans in layout.images]


EXPECTED = {
    # Wide, then square: a thumbnail and a grid that fits the picture, or is shrunk to 2 x 2.
    "onevision": [[(2, 4)], [(2, 2)]],
    # 24 x 12 and 16 x 16 pixels, in cells of 8.
    "qwen2": [[(2, 3)], [(2, 2)]],
    "qwen3": [[(2, 3)], [(2, 2)]],
    # Two tiles side by side and the whole; a picture that fits one tile.
    "internvl": [[(3, 3)] * 3, [(3, 3)]],
    # Idefics3 blows every picture up to its largest size first: 1 x 2 and 2 x 2 tiles, the whole.
    "idefics": [[(3, 3)] * 3, [(3, 3)] * 5],
    "paligemma": [[(3, 3)], [(3, 3)]],
}


@pytest.mark.parametrize("which", WHICH)
def test_layouts_of_processed_pictures(make_model: Any, which: str) -> None:
    model = make_model(which)
    wide = picture(16, 24) if which.startswith("qwen") else picture(8, 16)
    rows = ("<image> w5 w6 w7", [wide]), ("<image> w8", [picture(16, 16)])
    inputs = processed(which, *rows)
    found = wheresight.wrap(model).layout(inputs)
    assert grids(found) == EXPECTED[which]
    assert torch.equal(found.image >= 0, inputs["input_ids"] == 90)
    thumbnails = found.of(Kind.THUMBNAIL).sum(1).tolist()
    assert thumbnails == ([4, 4] if which == "onevision" else [0, 0])
    with torch.no_grad():
        plain = model(**inputs).logits
        with wheresight.intervene(model, "none"):
            assert torch.equal(model(**inputs).logits, plain)
        with wheresight.intervene(model, "bapa"):
            moved = model(**inputs).logits
            options = {"max_new_tokens": 3, "do_sample": False}
            tokens = model.generate(**inputs, **options)
            assert torch.equal(model.generate(**inputs, **options, use_cache=False), tokens)
    assert (moved - plain).abs().max() > 1e-2


@pytest.mark.parametrize("which", WHICH)
def test_several_pictures_in_a_prompt(make_model: Any, which: str) -> None:
    model = make_model(which)
    pictures = [picture(16, 16), picture(16, 16)]
    inputs = processed(which, ("w5 <image> w6 <image> w7", pictures))
    found = wheresight.wrap(model).layout(inputs)
    assert torch.equal(found.image >= 0, inputs["input_ids"] == 90)
    if which == "onevision":
        # No longer a thumbnail and a grid each, but one tile with a newline at its end.
        assert grids(found) == [[(2, 2), (2, 2)]]
        assert found.of(Kind.THUMBNAIL).sum() == 0
        assert found.of(Kind.NEWLINE).sum() == 2
    with torch.no_grad(), wheresight.intervene(model, "bapa"):
        assert torch.isfinite(model(**inputs).logits).all()
