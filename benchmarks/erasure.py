"""Erasure of one composite (R x R masks) against a loop over masks, in one process.

* generate: each masked picture is drawn, processed and answered by `generate` at batch one, as the
  eraser test was published; the change is read from the logits of the first token. Until the end of
  the answer, 128 tokens at most; a skeleton of random weights talks on, so it is stopped after two.
* forward: the same with one plain forward call at batch one, the last row's logits alone.
* ours: `wheresight.probes.erasure.erase`: masks painted into processed pixels, batches, the
  prompt's beginning shared, masks that change no pixel left out. It reads the change of the image
  features too, which the loops do not.

"largest difference" says how far the loops' changes of the answer's logit are from ours. The order
changes from round to round.

    OMP_NUM_THREADS=1 python benchmarks/erasure.py --masks 8 --repeats 5 --batch-size 32
    python benchmarks/erasure.py --model skeleton:llava-1.5-7b-quarter --masks 5 --repeats 1
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from balanced import circumstances

from wheresight.lvlm.intervene import intervene
from wheresight.lvlm.loading import load
from wheresight.lvlm.prompts import chat_prompt
from wheresight.lvlm.scoring import Scorer
from wheresight.probes.bench import Bench
from wheresight.probes.erasure import erase, mask_boxes
from wheresight.probes.grid import Composite
from wheresight.runs.progress import Silent
from wheresight.runs.request import GridRequest, open_grid
from wheresight.skeletons import is_skeleton


def loop(bench: Bench, composite: Composite, masks: int, new_tokens: int | None) -> np.ndarray:
    """One mask after the other; by `generate`, or by a plain forward call if new_tokens is None."""
    lvlm, processor = bench.lvlm, bench.lvlm.processor
    picture = bench.picture(composite)
    question = chat_prompt(processor, bench.question(composite.asks[0].caption))
    logits = []
    with torch.inference_mode(), intervene(lvlm, bench.spec):
        for box in [None, *mask_boxes(picture.size, masks).tolist()]:
            shown = picture.copy()
            if box is not None:
                shown.paste((255, 255, 255), tuple(box))
            inputs = processor(text=question, images=shown, return_tensors="pt").to(lvlm.device)
            if new_tokens is None:
                row = lvlm.model(**inputs, logits_to_keep=1, use_cache=False).logits[0, -1]
            else:
                out = lvlm.model.generate(
                    **inputs,
                    max_new_tokens=new_tokens,
                    do_sample=False,
                    output_logits=True,
                    return_dict_in_generate=True,
                )
                row = out.logits[0][0]
            logits.append(row.double())
    rows = torch.stack(logits)
    token = int(rows[0].argmax())
    return (rows[1:, token] - rows[0, token]).cpu().numpy()


def ours(bench: Bench, composite: Composite, masks: int) -> np.ndarray:
    """The diagnostic's way."""
    with torch.inference_mode(), intervene(bench.lvlm, bench.spec) as active:
        return np.asarray(erase(bench, active, composite, masks)["logit"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--masks", type=int, default=20, help="along each side")
    parser.add_argument("--intervention", default="none")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--device")
    parser.add_argument("--dtype", default="float32", help="of the model, in all three ways")
    options = parser.parse_args()

    request = GridRequest(out="", model=options.model, items=1)
    card, probe = open_grid(request, Silent())
    lvlm = load(card, device=options.device, dtype=options.dtype)
    scorer = Scorer(lvlm, batch_size=options.batch_size)
    bench = Bench(scorer, probe, tuple(probe.items), options.intervention)
    composite = bench.composites(bench.items)[4]
    new_tokens = 2 if is_skeleton(options.model) else 128
    ways: dict[str, Callable[[int], np.ndarray]] = {
        "generate": lambda masks: loop(bench, composite, masks, new_tokens),
        "forward": lambda masks: loop(bench, composite, masks, None),
        "ours": lambda masks: ours(bench, composite, masks),
    }
    for way in ways.values():  # a warm-up of each, not timed
        way(2)

    seconds: dict[str, list[float]] = {way: [] for way in ways}
    found: dict[str, np.ndarray] = {}
    for repeat in range(options.repeats):
        names = list(ways)
        for name in names[repeat % 3 :] + names[: repeat % 3]:
            begin = time.perf_counter()
            found[name] = ways[name](options.masks)
            seconds[name].append(time.perf_counter() - begin)

    def ratio(way: str) -> dict[str, float]:
        each = [a / b for a, b in zip(seconds[way], seconds["ours"], strict=True)]
        return {
            "median": round(statistics.median(each), 2),
            "min": round(min(each), 2),
            "max": round(max(each), 2),
        }

    def difference(way: str) -> float:
        return float(np.abs(found[way] - found["ours"]).max())

    print(
        json.dumps(
            {
                "benchmark": "erasure",
                **circumstances(),
                "model": options.model,
                "masks": options.masks**2,
                "intervention": options.intervention,
                "batch_size": options.batch_size,
                "dtype": options.dtype,
                "milliseconds_a_mask": {
                    way: round(1000 * statistics.median(took) / options.masks**2, 2)
                    for way, took in seconds.items()
                },
                "ours_against": {way: ratio(way) for way in ("generate", "forward")},
                "largest_difference": {way: difference(way) for way in ("generate", "forward")},
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
