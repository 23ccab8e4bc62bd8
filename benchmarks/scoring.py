"""The probe's way of scoring against two plainer ways, on the same questions, in one process.

* plain: one `generate` a question and intervention at batch one, as the released scripts do
  (greedy, at most 128 new tokens), the answer read from the text; for AdaptVis two, as in its
  released code: one to see the confidence, one with the scale that it chooses.
* unshared: our batches, but every intervention sends every picture through the tower and every
  prompt through the model by itself.
* ours: `wheresight.lvlm.scoring.Scorer.score_all`.

All include processing of pictures and text; rendering is the same for all and not timed. The order
changes from round to round, so that a machine that warms up or slows down favours none.

    python benchmarks/scoring.py --items 10 --repeats 5
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
import transformers

import wheresight
from wheresight.interventions.spec import parse
from wheresight.lvlm.answers import read_answer
from wheresight.lvlm.loading import look_up
from wheresight.lvlm.prompts import chat_prompt
from wheresight.lvlm.scoring import Query, Scorer
from wheresight.probes.grid import GridProbe, GridSettings
from wheresight.probes.questions import QUESTIONS, ask
from wheresight.stimuli.sources import open_source

SPECS = ("none", "bapa", "scalingvis:alpha=0.8", "adaptvis")
Answers = dict[str, list[str]]


def plain(lvlm: wheresight.LVLM, queries: Sequence[Query], spec: str) -> list[str]:
    """One generate a question, nothing shared; two if the intervention looks first."""
    (method,) = parse(spec)
    answers = []
    with torch.inference_mode():
        for query in queries:
            for question in query.questions:
                prompt = chat_prompt(lvlm.processor, question)
                inputs = lvlm.processor(text=prompt, images=query.picture, return_tensors="pt").to(
                    lvlm.device
                )
                chosen = spec
                if method.twice:
                    _, first = generated(lvlm, inputs, "none")
                    chosen = f"scalingvis:alpha={method.decide(first).item()}"
                text, _ = generated(lvlm, inputs, chosen)
                answers.append(read_answer(text))
    return answers


def generated(lvlm: wheresight.LVLM, inputs: Any, spec: str) -> tuple[str, torch.Tensor]:
    """Text, and the logits (1, V) of its first token."""
    with wheresight.intervene(lvlm, spec):
        out = lvlm.model.generate(
            **inputs,
            max_new_tokens=128,
            do_sample=False,
            output_logits=True,
            return_dict_in_generate=True,
        )
    new = out.sequences[0, inputs["input_ids"].shape[1] :]
    return lvlm.processor.tokenizer.decode(new, skip_special_tokens=True), out.logits[0]


def unshared(scorer: Scorer, queries: Sequence[Query], specs: Sequence[str]) -> Answers:
    """Batches, but nothing shared between interventions or questions."""
    return {spec: [a.answer for a in scorer.score(scorer.encode(queries), spec)] for spec in specs}


def ours(scorer: Scorer, queries: Sequence[Query], specs: Sequence[str]) -> Answers:
    """The probe's way."""
    scored = scorer.score_all(scorer.encode(queries), specs)
    return {spec: [a.answer for a in found] for spec, found in zip(specs, scored, strict=True)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--items", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--intervention", nargs="+", default=SPECS)
    parser.add_argument("--question", default="paper", choices=sorted(QUESTIONS))
    options = parser.parse_args()

    specs = options.intervention
    card = look_up(options.model)
    lvlm = wheresight.load(card)
    source = open_source("pocket")
    size = card.picture_size or 840
    settings = GridSettings(
        model=options.model,
        model_revision=card.revision,
        dtype="float32",
        attention="sdpa",
        source=source.name,
        source_fingerprint=source.fingerprint,
        protocol="balanced",
        question=QUESTIONS[options.question],
        scoring="first_token",
        max_new_tokens=None,
        rows=3,
        columns=3,
        layout="swap",
        canvas=size,
        tile=size // 3,
        background="white",
        jitter=0,
        seed=0,
    )
    probe = GridProbe(settings, source, options.items)
    queries = [
        Query(
            probe.render(composite.recipe.to_json()),
            tuple(ask(settings.question, a.caption) for a in composite.asks),
        )
        for item in probe.items
        for composite in probe.composites(item)
    ]
    count = sum(len(query.questions) for query in queries) * len(specs)
    scorer = Scorer(lvlm, batch_size=options.batch_size)
    apart = Scorer(lvlm, batch_size=options.batch_size, share_prefix=False)
    ways: dict[str, Callable[[Sequence[Query]], Answers]] = {
        "plain": lambda asked: {spec: plain(lvlm, asked, spec) for spec in specs},
        "unshared": lambda asked: unshared(apart, asked, specs),
        "ours": lambda asked: ours(scorer, asked, specs),
    }
    for way in ways.values():  # a warm-up of each, not timed
        way(queries[:2])

    seconds: dict[str, list[float]] = {way: [] for way in ways}
    answers: dict[str, Answers] = {}
    for repeat in range(options.repeats):
        names = list(ways)
        for name in names[repeat % 3 :] + names[: repeat % 3]:
            begin = time.perf_counter()
            answers[name] = ways[name](queries)
            seconds[name].append(time.perf_counter() - begin)

    def equal(way: str) -> str:
        same = sum(
            a == b
            for spec in specs
            for a, b in zip(answers[way][spec], answers["ours"][spec], strict=True)
        )
        return f"{same}/{count}"

    def ratio(way: str) -> dict[str, float]:
        found = [a / b for a, b in zip(seconds[way], seconds["ours"], strict=True)]
        return {
            "median": round(statistics.median(found), 2),
            "min": round(min(found), 2),
            "max": round(max(found), 2),
        }

    print(
        json.dumps(
            {
                "benchmark": "scoring",
                "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
                "model": options.model,
                "question": options.question,
                "interventions": list(specs),
                "questions": count,
                "threads": torch.get_num_threads(),
                "machine": f"{platform.machine()} {platform.system()}, CPU",
                "torch": torch.__version__,
                "transformers": transformers.__version__,
                "questions_per_second": {
                    way: round(count / statistics.median(took), 1) for way, took in seconds.items()
                },
                "ours_against_plain": ratio("plain"),
                "ours_against_unshared": ratio("unshared"),
                "answers_equal_to_plain": equal("plain"),
                "answers_equal_to_unshared": equal("unshared"),
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
