"""What reading attention costs: beside a plain forward pass, and beside eager matrices.

A skeleton (a stock LLaVA-NeXT with random weights: hidden 512, 8 layers, 8 heads) reads a prompt of
one picture, laid out as that model does (thumbnail, main grid with newlines), and gives the logits
of the first answer token. Image features are given, so that the vision tower dilutes nothing.

Memory: each way in a process of its own, which runs a plain pass first; then the mark of the
greatest resident memory is reset, and the way runs once. What is told is how far that mark is above
the one of a second plain pass. The allocator is told to give large blocks back at once.

Time: every timed call of a way stands beside a plain one, before or after it in turn, in one
process on one thread; the ratio of processor time is the median over these pairs, with its range.
Processor time, so that other work on the machine does not count.

    python benchmarks/readings.py --repeats 9
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers.modeling_outputs import BaseModelOutputWithPooling

import wheresight

IMAGE, WIDTH, TEXT = 5, 512, 72
# Height and width of the picture in pixels, by the length of the prompt it makes.
PICTURES = {"1,500": (260, 672), "3,000": (672, 672)}
READINGS: dict[str, dict[str, Any]] = {
    "attention, last row": {"reading": "attention", "rows": "last"},
    "attention, last row, each token": {"reading": "attention", "rows": "last", "each": True},
    "attention, text rows": {"reading": "attention", "rows": "text"},
    "attention, all rows": {"reading": "attention", "rows": "all"},
    "norms": {"reading": "norms"},
    "rotary, two shifts": {"reading": "rotary"},
}
EAGER = "eager with output_attentions"
PLAIN = "plain"


def skeleton(eager: bool) -> Any:
    """A LLaVA-NeXT of random weights."""
    config = transformers.LlavaNextConfig(
        vision_config=transformers.CLIPVisionConfig(
            hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=1,
            image_size=336, patch_size=14,
        ),
        text_config=transformers.LlamaConfig(
            hidden_size=WIDTH, intermediate_size=1376, num_hidden_layers=8, num_attention_heads=8,
            num_key_value_heads=8, vocab_size=32_000,
        ),
        image_token_id=IMAGE,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.LlavaNextForConditionalGeneration(config).eval()
    if eager:
        model.set_attn_implementation("eager")
    return model


def prompt(model: Any, picture: tuple[int, int]) -> dict[str, Any]:
    """Eight text tokens, the picture, and the rest of the text."""
    sizes = torch.tensor([picture])
    with torch.no_grad():
        tiles = torch.zeros(1, 5, 3, 336, 336)
        made = model.model.get_image_features(tiles, sizes, return_dict=True).pooler_output
    count = made[0].shape[0]
    ids = torch.randint(10, 32_000, (1, count + TEXT))
    ids[0, 8 : 8 + count] = IMAGE
    features = [torch.randn(count, WIDTH) * 0.02]
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "image_sizes": sizes,
        "mm_encoder_outputs": {"image": BaseModelOutputWithPooling(pooler_output=features)},
    }


def run(model: Any, inputs: dict[str, Any], way: str) -> float:
    """One call, in seconds of processor time; what it returns is alive until its end."""
    options = dict(READINGS.get(way, {}))
    reading = wheresight.read(model, options.pop("reading"), **options) if options else None
    begin = time.process_time()
    with reading or nullcontext():
        out = model(
            **inputs, use_cache=False, logits_to_keep=1, output_attentions=way == EAGER or None
        )
    seconds = time.process_time() - begin
    assert way != EAGER or len(out.attentions) == 8
    return seconds


def status(field: str) -> int:
    """A field of this process's memory, bytes."""
    line = next(s for s in Path("/proc/self/status").read_text().splitlines() if field in s)
    return int(line.split()[1]) * 1024


def peak(way: str, picture: tuple[int, int]) -> dict[str, Any]:
    """In a fresh process: the greatest resident memory of one call, bytes."""
    model = skeleton(way == EAGER)
    inputs = prompt(model, picture)
    with torch.inference_mode():
        run(model, inputs, PLAIN)
        Path("/proc/self/clear_refs").write_text("5")
        before = status("VmRSS")
        run(model, inputs, way)
    return {"peak": status("VmHWM"), "before": before, "tokens": inputs["input_ids"].shape[1]}


def peak_elsewhere(way: str, name: str) -> dict[str, Any]:
    """`peak` in a process of its own."""
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
    done = subprocess.run(
        [sys.executable, __file__, "--peak", way, "--length", name],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def timed(way: str, picture: tuple[int, int], repeats: int) -> dict[str, float]:
    """How many times as long as a plain sdpa call a way takes."""
    model = skeleton(eager=False)
    other = skeleton(eager=True) if way == EAGER else model
    inputs = prompt(model, picture)
    ratios = []
    with torch.inference_mode():
        for repeat in range(repeats + 1):
            seconds = {}
            for kind in (PLAIN, way) if repeat % 2 else (way, PLAIN):
                seconds[kind == way] = run(other if kind == EAGER else model, inputs, kind)
            if repeat:  # the first calls of each warm up
                ratios.append(seconds[True] / seconds[False])
    return {
        "ratio": round(float(np.median(ratios)), 3),
        "low": round(min(ratios), 3),
        "high": round(max(ratios), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--processes", type=int, default=3, help="Measurements of memory.")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    parser.add_argument("--length", default="1,500", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        print(json.dumps(peak(options.peak, PICTURES[options.length])))
        return
    torch.set_num_threads(1)
    for name, picture in PICTURES.items():
        # The mark moves by a few MB from process to process: the least is nearest to the need.
        peaks = {
            way: [peak_elsewhere(way, name) for _ in range(options.processes)]
            for way in (PLAIN, EAGER, *READINGS)
        }
        least = {way: min(one["peak"] for one in found) for way, found in peaks.items()}
        tokens = peaks[PLAIN][0]["tokens"]
        for way in (EAGER, *READINGS):
            extra = least[way] - least[PLAIN]
            line = {"tokens": tokens, "way": way, "extra_mb": round(extra / 1e6, 1)}
            line["of_eager"] = round(extra / (least[EAGER] - least[PLAIN]), 4)
            print(json.dumps({**line, **timed(way, picture, options.repeats)}), flush=True)
    print(
        json.dumps(
            {
                "benchmark": "readings",
                "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
                "repeats": options.repeats,
                "threads": 1,
                "machine": f"{platform.machine()} {platform.system()}, CPU",
                "torch": torch.__version__,
                "transformers": transformers.__version__,
            }
        )
    )


if __name__ == "__main__":
    main()
