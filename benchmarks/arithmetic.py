"""How much of the machine's matrix-multiply rate the probe's scoring reaches, on a LLaVA.

The balanced probe is scored as `wheresight probe` does it (pictures and text processed, rendering
not timed), and its floating-point operations are counted by hand, a multiplication and an addition
as two, from the calls that really reached the model:

    tower, a picture of P patches, S = P + 1 rows, width d, inner width f, l layers
        2 P (3 p^2) d  +  l (2 S (4 d^2 + 2 d f) + 4 S^2 d)          (p: side of a patch, pixels)
    projector, a picture
        2 P (d D + D^2)
    decoder, a call of B rows of t tokens behind c cached ones, width D, A heads and K key-value
    heads of size h, inner width F, L layers
        L (2 B t (2 D A h + 2 D K h + 3 D F)  +  4 B A h (t c + t (t + 1) / 2))
        of which the last layer does 2 B t (D A h + 2 D K h) alone where only its keys are wanted
    answer, a call that ends in V logits for each of B rows
        2 B D V

Attention of the decoder is counted for the keys that a token may see, not for the square that a
kernel may work through; norms, activations, rotations and copies count nothing. The rate of the
machine is that of `torch.nn.functional.linear` at every shape (rows, in, out) of these products,
each as often as it occurs, measured between two rounds of scoring. The share is operations a second
of the whole over that rate.

The count is checked against torch's FlopCounterMode, which counts attention as full squares (and
must be told of the kernel that attends on a CPU). It sees a little more: the last rows that methods
on attention compute again.

    python benchmarks/arithmetic.py --model skeleton:llava-1.5-7b-quarter --items 1 --cells 4
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from balanced import SPECS, balanced, circumstances
from torch.nn.functional import linear
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from wheresight.lvlm.scoring import Query, Scorer
from wheresight.probes.questions import QUESTIONS

Shape = tuple[int, int, int]  # rows, in, out
TIMED_CALLS = 3  # of each shape in a round, after one that is not timed


@dataclass
class Calls:
    """What reached the model: pictures, decoder calls (B, t, c), and rows that got logits.

    `whole` says of each decoder call whether its last layer went beyond its keys.
    """

    pictures: list[int] = field(default_factory=list)
    decoder: list[tuple[int, int, int]] = field(default_factory=list)
    whole: list[bool] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)


class Watch(AbstractContextManager["Calls"]):
    """Notes the calls of a LLaVA's tower, decoder and head while it is entered."""

    def __init__(self, core: Any) -> None:
        self.core, self.calls, self.hooks = core, Calls(), ExitStack()

    def __enter__(self) -> Calls:
        for module, note in (
            (self.core.model.vision_tower, self.tower),
            (self.core.model.language_model, self.decoder),
            (self.core.model.language_model.layers[-1].mlp, self.last),
            (self.core.lm_head, self.head),
        ):
            self.hooks.callback(module.register_forward_pre_hook(note, with_kwargs=True).remove)
        return self.calls

    def __exit__(self, *failure: object) -> None:
        self.hooks.close()

    def tower(self, _: Any, given: tuple, named: dict[str, Any]) -> None:
        pixels = given[0] if given else named["pixel_values"]
        self.calls.pictures.append(pixels.shape[0])

    def decoder(self, _: Any, __: tuple, named: dict[str, Any]) -> None:
        rows, tokens, _ = named["inputs_embeds"].shape
        cache = named.get("past_key_values")
        self.calls.decoder.append((rows, tokens, cache.get_seq_length() if cache else 0))
        self.calls.whole.append(False)

    def last(self, _: Any, __: tuple, ___: dict[str, Any]) -> None:
        self.calls.whole[-1] = True

    def head(self, _: Any, given: tuple, __: dict[str, Any]) -> None:
        self.calls.answers.append(given[0].shape[:-1].numel())


def products(core: Any, calls: Calls) -> Counter[Shape]:
    """Every matrix product with weights, by shape, and how often it occurs."""
    tower, text = core.config.vision_config, core.config.text_config
    found: Counter[Shape] = Counter()
    patches = (tower.image_size // tower.patch_size) ** 2
    d, f, layers = tower.hidden_size, tower.intermediate_size, tower.num_hidden_layers
    wide = text.hidden_size
    for count in calls.pictures:
        rows = count * (patches + 1)
        found[(count * patches, 3 * tower.patch_size**2, d)] += 1
        found[(rows, d, d)] += 4 * layers
        found[(rows, d, f)] += layers
        found[(rows, f, d)] += layers
        found[(count * patches, d, wide)] += 1
        found[(count * patches, wide, wide)] += 1
    size = text.head_dim
    queries, keys = text.num_attention_heads * size, text.num_key_value_heads * size
    inner, layers = text.intermediate_size, text.num_hidden_layers
    for (count, tokens, _), whole in zip(calls.decoder, calls.whole, strict=True):
        rows, behind = count * tokens, layers - (not whole)
        found[(rows, wide, queries)] += layers
        found[(rows, wide, keys)] += 2 * layers
        found[(rows, queries, wide)] += behind
        found[(rows, wide, inner)] += 2 * behind
        found[(rows, inner, wide)] += behind
    for rows in calls.answers:
        found[(rows, wide, text.vocab_size)] += 1
    return found


def attention(core: Any, calls: Calls, *, squares: bool = False) -> int:
    """Operations of attention: of what a token may see, or of full squares."""
    tower, text = core.config.vision_config, core.config.text_config
    rows = (tower.image_size // tower.patch_size) ** 2 + 1
    found = 4 * tower.num_hidden_layers * rows**2 * tower.hidden_size * sum(calls.pictures)
    wide = text.num_attention_heads * text.head_dim
    for (count, t, c), whole in zip(calls.decoder, calls.whole, strict=True):
        pairs = t * (t + c) if squares else t * c + t * (t + 1) // 2
        found += 4 * (text.num_hidden_layers - (not whole)) * count * wide * pairs
    return found


def operations(found: Counter[Shape]) -> int:
    """A multiplication and an addition are two."""
    return sum(2 * m * k * n * times for (m, k, n), times in found.items())


def product_seconds(found: Counter[Shape]) -> float:
    """How long all products take by themselves, each shape at the median of some calls."""
    total = 0.0
    with torch.inference_mode():
        for (rows, into, out), times in found.items():
            x, weight = torch.randn(rows, into), torch.randn(out, into)
            linear(x, weight)
            total += times * statistics.median(
                timed(lambda x=x, weight=weight: linear(x, weight)) for _ in range(TIMED_CALLS)
            )
    return total


def flop_counter() -> FlopCounterMode:
    """Torch's own count; its registry of kernels lacks the one for attention on a CPU."""
    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    count = {kernel: lambda q, k, v, *_, **__: sdpa_flop_count(q, k, v)}
    return FlopCounterMode(display=False, custom_mapping=count)


def timed(call: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def spread(values: Sequence[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), 3),
        "min": round(min(values), 3),
        "max": round(max(values), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="skeleton:llava-1.5-7b-quarter")
    parser.add_argument("--items", type=int, default=1)
    parser.add_argument("--cells", type=int, default=4, help="of each item, the first so many")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=12)
    parser.add_argument("--intervention", nargs="+", default=SPECS)
    parser.add_argument("--question", default="paper", choices=sorted(QUESTIONS))
    options = parser.parse_args()

    lvlm, queries = balanced(
        options.model, question=options.question, items=options.items, cells=options.cells
    )
    scorer = Scorer(lvlm, batch_size=options.batch_size)

    def score(asked: Sequence[Query] = queries) -> None:
        scorer.score_all(scorer.encode(asked), options.intervention)

    with Watch(lvlm.core) as calls, flop_counter() as counter:
        score()  # warms up, too
    found = products(lvlm.core, calls)
    by_hand = operations(found) + attention(lvlm.core, calls)
    squares = operations(found) + attention(lvlm.core, calls, squares=True)
    product_seconds(found)

    took, alone = [], []
    for _ in range(options.repeats):
        took.append(timed(score))
        alone.append(product_seconds(found))
    rates = [operations(found) / seconds for seconds in alone]
    reached = [by_hand / seconds for seconds in took]
    print(
        json.dumps(
            {
                "benchmark": "arithmetic",
                **circumstances(),
                "model": options.model,
                "interventions": list(options.intervention),
                "pictures": len(queries),
                "questions": sum(len(q.questions) for q in queries) * len(options.intervention),
                "decoder_tokens": sum(b * t for b, t, _ in calls.decoder),
                "operations": by_hand,
                "of_them_attention": attention(lvlm.core, calls),
                "by_hand_with_squares": squares,
                "by_torch_with_squares": counter.get_total_flops(),
                "seconds": spread(took),
                "reached_gflops": spread([r / 1e9 for r in reached]),
                "machine_gflops": spread([r / 1e9 for r in rates]),
                "share": spread([a / b for a, b in zip(reached, rates, strict=True)]),
                "products_alone_over_time": spread(
                    [a / b for a, b in zip(alone, took, strict=True)]
                ),
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
