"""Build a skeleton: its card before any weights, then random weights in the asked precision."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any

from wheresight.errors import ModelError
from wheresight.skeletons import QUARTER
from wheresight.skeletons.plan import SEED, plan
from wheresight.skeletons.words import build_processor

if TYPE_CHECKING:
    import torch

    from wheresight.lvlm.loading import ModelCard


def card(model: str) -> ModelCard:
    """What is known of a skeleton before its weights are made.

    Raises:
        ModelError: a name that is not shipped.
    """
    from wheresight.lvlm.loading import ModelCard, picture_size

    found = plan(model)
    processor = build_processor(found)
    return ModelCard(
        name=model,
        place=model,
        revision=found.revision,
        config=build_config(model),
        processor=processor,
        picture_size=picture_size(processor),
        build=functools.partial(build_model, model),
    )


def build_config(model: str) -> Any:
    """The transformers configuration of a skeleton."""
    import transformers

    return transformers.AutoConfig.for_model(**plan(model).config)


def on_meta(config: Any, dtype: torch.dtype, attention: str = "sdpa") -> Any:
    """The stock model of a configuration without storage: all shapes, no weights."""
    import torch
    import transformers

    with torch.device("meta"):
        return transformers.AutoModelForImageTextToText.from_config(
            config, dtype=dtype, attn_implementation=attention
        )


def materialise(empty: Any, device: torch.device) -> Any:
    """Give a model that `on_meta` made random weights by transformers' own rules, from SEED."""
    import torch

    real = empty.to_empty(device=device)
    real.tie_weights()  # each name of a shared weight was given storage of its own
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(SEED)
        real.initialize_weights()
    return real.eval()


def build_model(
    model: str, *, dtype: torch.dtype, device: torch.device, attention: str = "sdpa"
) -> Any:
    """A skeleton with its weights, made where and as wide as they are wanted.

    They are drawn straight into `dtype` on `device`: two calls on one kind of device give the same
    weights, a CPU and a GPU different ones.

    Raises:
        ModelError: if the memory that is free cannot hold the weights.
    """
    empty = on_meta(build_config(model), dtype, attention)
    _refuse_too_large(model, empty, device)
    return materialise(empty, device)


def weight_bytes(model: Any) -> int:
    """Bytes of all different weights of a model."""
    return sum(p.numel() * p.element_size() for p in model.parameters())


def _refuse_too_large(model: str, empty: Any, device: torch.device) -> None:
    need, free = weight_bytes(empty), _free(device)
    if free is not None and need > free:
        smaller = "" if model.endswith(QUARTER) else f", or {model}{QUARTER}"
        raise ModelError(
            f"The weights of {model!r} take {need / 1e9:.1f} GB in this dtype, but {device} has "
            f"{free / 1e9:.1f} GB free. Use a narrower --dtype, another --device{smaller}."
        )


def _free(device: torch.device) -> int | None:
    """Bytes that can be had on a device, or None where that cannot be known."""
    import torch

    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type != "cpu" or not os.path.isfile("/proc/meminfo"):
        return None
    with open("/proc/meminfo", encoding="ascii") as lines:
        found = dict(line.split(":", 1) for line in lines)
    return int(found["MemAvailable"].split()[0]) * 1024
