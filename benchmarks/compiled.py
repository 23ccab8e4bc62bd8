"""Whether `torch.compile` pays for the parts of a model that no seam touches.

Norms and feed-forward blocks act on each token by itself, so no intervention is lost if they are
compiled; attention and whole layers must stay open to interventions (`intervene` refuses a model
that was compiled whole). The same questions are scored in turn with these parts compiled and as
they are, in one process, after one call of each. Ratios are of processor time on a CPU and of time
on a GPU; above 1, compiling is faster.

    OMP_NUM_THREADS=1 python benchmarks/compiled.py
    python benchmarks/compiled.py --model skeleton:llava-1.5-7b-quarter --cells 1
    python benchmarks/compiled.py --model skeleton:llava-1.5-7b --device cuda --dtype bfloat16
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from balanced import balanced, circumstances

from wheresight.lvlm.scoring import Answer, Scorer

ROWWISE = ("mlp", "input_layernorm", "post_attention_layernorm", "layer_norm1", "layer_norm2")


class Compiled:
    """Compiled forms of a model's parts, put in and taken out."""

    def __init__(self, model: torch.nn.Module) -> None:
        parts = [m for name, m in model.named_modules() if name.rpartition(".")[2] in ROWWISE]
        self.forms = [(part, torch.compile(part.forward, dynamic=True)) for part in parts]

    def put_in(self) -> None:
        """From now on these parts run compiled."""
        for part, form in self.forms:
            part.forward = form

    def take_out(self) -> None:
        """From now on the model is as it was."""
        for part, _ in self.forms:
            del part.__dict__["forward"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--items", type=int, default=2)
    parser.add_argument("--cells", type=int, default=9, help="of each item, the first so many")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--intervention", nargs="+", default=("none", "bapa"))
    parser.add_argument("--device")
    parser.add_argument("--dtype", default="float32")
    options = parser.parse_args()

    lvlm, queries = balanced(
        options.model, question="paper", items=options.items, cells=options.cells,
        one_picture=False, device=options.device, dtype=options.dtype,
    )  # fmt: skip
    scorer = Scorer(lvlm, batch_size=options.batch_size)
    on_gpu = lvlm.device.type == "cuda"
    clock: Callable[[], float] = time.perf_counter if on_gpu else time.process_time

    def score() -> list[list[Answer]]:
        with torch.inference_mode():
            found = scorer.score_all(scorer.encode(queries), options.intervention)
        if on_gpu:
            torch.cuda.synchronize()
        return found

    def timed() -> float:
        begin = clock()
        score()
        return clock() - begin

    stock = score()
    compiled = Compiled(lvlm.core)
    begin = time.perf_counter()
    compiled.put_in()
    changed = score()
    first_call = time.perf_counter() - begin
    compiled.take_out()
    score()

    ratios = []
    for repeat in range(options.repeats):
        seconds: dict[bool, float] = {}
        for form in (True, False) if repeat % 2 else (False, True):
            if form:
                compiled.put_in()
            seconds[form] = timed()
            if form:
                compiled.take_out()
        ratios.append(seconds[False] / seconds[True])

    pairs: list[tuple[Answer, Answer]] = [
        pair for a, b in zip(stock, changed, strict=True) for pair in zip(a, b, strict=True)
    ]
    said: dict[str, Any] = {
        "benchmark": "compiled",
        **circumstances(),
        "model": options.model,
        "device": str(lvlm.device),
        "dtype": options.dtype,
        "parts": len(compiled.forms),
        "answers": len(pairs),
        "seconds_of_first_call": round(first_call, 1),
        "compiled_is_faster_by": {
            "median": round(statistics.median(ratios), 3),
            "min": round(min(ratios), 3),
            "max": round(max(ratios), 3),
        },
        "largest_margin_difference": max(abs(a.margin - b.margin) for a, b in pairs),
    }
    print(json.dumps(said, indent=2))


if __name__ == "__main__":
    main()
