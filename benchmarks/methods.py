"""What each method costs: one prompt under it against the same prompt under `none`.

A skeleton (a stock LLaVA with random weights: hidden 512, 8 layers, 8 heads, sdpa) reads a prompt
of one image of 24 x 24 tokens and 128 tokens of text, T = 704, with a cache, and gives the logits
of the first answer token. Image features are given, so that the vision tower, which all share,
dilutes nothing. Every timed call of a method stands beside one of `none`, before or after it in
turn, in one process; the ratio is the median over these pairs, with a bootstrap interval.

With `--model`, a skeleton of another family reads a random picture and as much text; its tower runs
once, before anything is timed.

    python benchmarks/methods.py --repeats 30
    python benchmarks/methods.py --model skeleton:qwen2.5-vl-7b-quarter --only circle videorope
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import time
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image
from scipy.stats import bootstrap
from transformers.modeling_outputs import BaseModelOutputWithPooling

import wheresight
from wheresight.interventions.registry import known_interventions
from wheresight.interventions.spec import example
from wheresight.lvlm.encoding import Encoder, Query
from wheresight.lvlm.families import family_for_config

IMAGE = 5
# Beside every method with its example parameters: forms that cost otherwise.
MORE = (
    "cca:mask=false",
    "scalingvis:alpha=0.8,rows=text",
    "bapa:layers=0-3",
    "bapa+scalingvis:0.8",
)


def skeleton(side: int) -> Any:
    """A LLaVA of random weights whose image is side x side tokens."""
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(
            hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=1,
            image_size=14 * side, patch_size=14,
        ),
        text_config=transformers.LlamaConfig(
            hidden_size=512, intermediate_size=1376, num_hidden_layers=8, num_attention_heads=8,
            num_key_value_heads=8, vocab_size=32_000,
        ),
        image_token_id=IMAGE,
    )  # fmt: skip
    torch.manual_seed(0)
    return transformers.LlavaForConditionalGeneration(config).eval()


def prompt(side: int, text: int) -> dict[str, Any]:
    """Eight text tokens, the image, and text up to `text` tokens in all."""
    ids = torch.randint(10, 32_000, (1, 8 + side * side + text - 8))
    ids[0, 8 : 8 + side * side] = IMAGE
    features = torch.randn(side * side, 512) * 0.02
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "mm_encoder_outputs": {"image": BaseModelOutputWithPooling(pooler_output=[features])},
    }


def opened(name: str, side: int, text: int) -> tuple[Any, dict[str, Any]]:
    """A model by name, and a prompt of one picture, 28 px for each of side x side tokens."""
    lvlm = wheresight.load(name)
    pixels = np.random.default_rng(0).integers(0, 256, (28 * side, 28 * side, 3), dtype=np.uint8)
    encoder = Encoder(lvlm)
    encoded = encoder.encode([Query(Image.fromarray(pixels), ("word " * text,))])
    return lvlm.model, encoder.inputs(encoded, encoded.rows)


def seconds(model: Any, inputs: dict[str, Any]) -> float:
    """One call."""
    begin = time.perf_counter()
    model(**inputs, use_cache=True, logits_to_keep=1)
    return time.perf_counter() - begin


def measured(model: Any, inputs: dict[str, Any], spec: str, repeats: int) -> dict[str, Any]:
    """The ratio of a method to `none`."""
    ratios = []
    for repeat in range(repeats + 2):
        timed = {}
        for way in ("stock", "method") if repeat % 2 else ("method", "stock"):
            with wheresight.intervene(model, spec if way == "method" else "none") as active:
                if any(i.needs_blank for i in active.interventions):
                    if "n" not in inputs:
                        raise SystemExit(f"{spec} needs a blank picture; leave out --model.")
                    blank = BaseModelOutputWithPooling(
                        pooler_output=[torch.zeros(inputs["n"], 512)]
                    )
                    active.calibrate(
                        **{k: v for k, v in inputs.items() if k != "n"}
                        | {"mm_encoder_outputs": {"image": blank}}
                    )
                call = {k: v for k, v in inputs.items() if k != "n"}
                timed[way] = seconds(model, call)
        if repeat >= 2:  # the first calls of each warm up
            ratios.append(timed["method"] / timed["stock"])
    interval = bootstrap(
        (np.array(ratios),), np.median, n_resamples=2000, rng=0, method="percentile"
    ).confidence_interval
    return {
        "method": spec,
        "ratio": round(float(np.median(ratios)), 3),
        "low": round(float(interval.low), 3),
        "high": round(float(interval.high), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--side", type=int, default=24)
    parser.add_argument("--text", type=int, default=128)
    parser.add_argument("--model", help="As --model of wheresight probe takes it; with --only.")
    parser.add_argument("--only", nargs="*", help="Specs to measure instead of all methods.")
    options = parser.parse_args()

    if options.model:
        model, inputs = opened(options.model, options.side, options.text)
    else:
        model = skeleton(options.side)
        inputs = {**prompt(options.side, options.text), "n": options.side**2}
    specs = []
    host = family_for_config(model.config).host(model.config)
    for name in known_interventions():
        method = example(name)
        if not method.refuses(host) and name != "none":
            specs.append(str(method))
    found = []
    with torch.inference_mode():
        for spec in options.only or [*specs, *MORE, "none"]:
            found.append(measured(model, inputs, spec, options.repeats))
            print(json.dumps(found[-1]), flush=True)
    print(
        json.dumps(
            {
                "benchmark": "methods",
                "model": options.model,
                "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
                "tokens": int(inputs["input_ids"].shape[1]),
                "repeats": options.repeats,
                "threads": torch.get_num_threads(),
                "machine": f"{platform.machine()} {platform.system()}, CPU",
                "torch": torch.__version__,
                "transformers": transformers.__version__,
            }
        )
    )


if __name__ == "__main__":
    main()
