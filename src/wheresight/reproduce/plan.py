"""What an entry would cost on this machine, before anything is downloaded.

The shapes of the paper's models ship (`wheresight.skeletons`), so their arithmetic can be counted
without weights; how fast this machine multiplies matrices is measured for a second.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from wheresight.reproduce.catalogue import models
from wheresight.reproduce.entry import Entry
from wheresight.runs.progress import Progress

BYTES = 2  # of a weight in bfloat16, as the models are published
BATCH = 8  # prompts in memory at once
# How much longer a pass takes than at the rate of one large product, at worst. On one core of a CPU
# a prompt of skeleton:llava-1.5-7b-quarter took 1.03 to 1.23 times as long.
SLOWER = 4.0
TRAINING = 3.0  # forward and backward beside forward
CAUTION = (
    "Times are arithmetic, counted from the model's shape, over the rate of one large matrix "
    "product, measured here just now: from that rate to a quarter of it. Drawing pictures, "
    "generated text, summaries and other work on this machine come on top. Memory is that of the "
    f"weights in bfloat16, the keys and values of {BATCH} prompts, and 2 GB; training takes more."
)


class ModelPlan(BaseModel):
    """What one model would need."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(description="Hub id.")
    skeleton: str = Field(description="Its shape, as `wheresight estimate --model` takes it.")
    parameters: int
    tokens: int = Field(description="Tokens of one prompt with its picture.")
    pass_flops: float = Field(description="Floating-point operations of one pass.")
    download_bytes: int
    memory_bytes: int
    fits: bool = Field(description="Whether the device has so much memory.")
    seconds_low: float
    seconds_high: float


class EntryPlan(BaseModel):
    """What one entry would need of every model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    passes: int
    counted: str = Field(description="How passes were counted.")
    machine: str = Field(description="The device and what was measured of it.")
    models: list[ModelPlan]
    unknown: list[str] = Field(description="Models whose shape does not ship.")
    caution: str = CAUTION


class Shape(BaseModel):
    """The arithmetic of a model and one picture, from its configuration."""

    model_config = ConfigDict(frozen=True)

    tokens: int
    tower: float
    language: float
    parameters: int
    cache_bytes: int


def plans(chosen: Sequence[Entry], progress: Progress) -> list[EntryPlan]:
    """Plan every entry that computes something; no weights are made."""
    device, rate, memory = measured()
    machine = (
        f"{device}: {rate / 1e9:,.0f} GFLOP/s in bfloat16 or, where that is faster, float32; "
        f"{memory / 1e9:.0f} GB of memory."
    )
    found = []
    for one in chosen:
        if one.passes is None:
            continue
        known = [models()[key] for key in one.models]
        planned = [
            _planned(model.hub, model.skeleton, one, rate, memory, progress)
            for model in known
            if model.hub and model.skeleton
        ]
        found.append(
            EntryPlan(
                name=one.name,
                passes=one.passes.count,
                counted=one.passes.counted,
                machine=machine,
                models=planned,
                unknown=[model.name for model in known if not (model.hub and model.skeleton)],
            )
        )
    return found


def _planned(
    hub: str, skeleton: str, one: Entry, rate: float, memory: int, progress: Progress
) -> ModelPlan:
    assert one.passes is not None
    shape = _shape(skeleton, progress)
    flops = shape.tower + (0.0 if one.passes.through == "tower" else shape.language)
    flops *= TRAINING if one.passes.through == "training" else 1.0
    fastest = one.passes.count * flops / rate
    need = shape.parameters * BYTES + BATCH * shape.cache_bytes + 2_000_000_000
    return ModelPlan(
        model=hub,
        skeleton=skeleton,
        parameters=shape.parameters,
        tokens=shape.tokens,
        pass_flops=flops,
        download_bytes=shape.parameters * BYTES,
        memory_bytes=need,
        fits=need <= memory,
        seconds_low=fastest,
        seconds_high=SLOWER * fastest,
    )


def _shape(skeleton: str, progress: Progress) -> Shape:
    if skeleton not in _shapes:
        progress.say(f"Counting the arithmetic of {skeleton}")
        _shapes[skeleton] = shape(skeleton)
    return _shapes[skeleton]


_shapes: dict[str, Shape] = {}


def shape(skeleton: str) -> Shape:
    """Count a model's arithmetic for one picture of the paper's composites; nothing is computed.

    A multiplication and an addition count two. Attention's own products are counted with all pairs
    of tokens; of the vision tower they are left out, as are windows, which make them fewer.
    """
    import torch
    from PIL import Image

    from wheresight.lvlm.loading import look_up
    from wheresight.probes.questions import question_template
    from wheresight.runs.request import PAPER_CANVAS
    from wheresight.skeletons.build import build_config, on_meta
    from wheresight.skeletons.plan import plan

    card = look_up(skeleton)
    model = on_meta(build_config(skeleton), torch.bfloat16)
    side = card.picture_size or PAPER_CANVAS
    question = question_template("paper").format(caption="a man squatting next to a pile of trash")
    tokens, patches = _one_prompt(card, Image.new("RGB", (side, side), "white"), question)
    sizes = {name: part.numel() for name, part in model.named_parameters()}
    language = sum(n for name, n in sizes.items() if "language_model" in name and not _table(name))
    tower = sum(n for name, n in sizes.items() if "language_model" not in name and not _table(name))
    text = model.config.get_text_config()
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    attention = 4 * text.num_hidden_layers * text.num_attention_heads * width * tokens**2
    return Shape(
        tokens=tokens,
        tower=2.0 * tower * patches,
        language=2.0 * language * tokens + attention,
        parameters=plan(skeleton).parameters,
        cache_bytes=2 * text.num_hidden_layers * heads * width * BYTES * tokens,
    )


def _table(name: str) -> bool:
    """Is it a table of embeddings, which is looked up, not multiplied? The head reads one row."""
    return "embed_tokens" in name or "lm_head" in name or "position_embedding" in name


def _one_prompt(card: Any, picture: Any, question: str) -> tuple[int, int]:
    """Tokens of one prompt, and patches that the tower sees."""
    from wheresight.lvlm.prompts import chat_prompt

    text = chat_prompt(card.processor, question)
    inputs = card.processor(text=[text], images=[picture], return_tensors="pt")
    pixels = inputs["pixel_values"]
    vision = card.config.vision_config
    if pixels.ndim == 2:  # patches, one a row
        patches = pixels.shape[0]
    else:
        patches = pixels[..., 0, :, :].numel() // vision.patch_size**2
    return int(inputs["input_ids"].shape[1]), int(patches)


@functools.cache
def measured() -> tuple[str, float, int]:
    """The device, its rate in one large matrix product (FLOP/s), and its memory in bytes."""
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cuda":
        name, memory = torch.cuda.get_device_name(device), torch.cuda.mem_get_info(device)[1]
    else:
        import os

        name = f"CPU, {torch.get_num_threads()} threads"
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return name, max(_rate(device, dtype) for dtype in (torch.float32, torch.bfloat16)), memory


def _rate(device: Any, dtype: Any) -> float:
    import torch

    size = 8192 if device.type == "cuda" else 1024
    a = torch.ones(size, size, dtype=dtype, device=device)

    def clock() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    a @ a  # kernels are chosen
    times: list[float] = []
    while sum(times) < 0.4 or len(times) < 3:
        begin = clock()
        a @ a
        times.append(clock() - begin)
    return 2 * size**3 / min(times)  # the fastest: other work on the machine slows some down
