"""The probe's way of scoring against the plain way, on the same questions, in one process.

Plain: one `generate` a question, batch of one, as the released scripts of the BaPA paper do
(greedy, at most 128 new tokens), the answer read from the text. Ours: the same composites and
questions through `wheresight.lvlm.scoring.Scorer`. Both include processing of pictures and text;
rendering is shared and not timed. The order of the two alternates, so that a machine that warms up
or slows down favours neither.

    python benchmarks/scoring.py --items 4 --repeats 3
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import statistics
import time
from collections.abc import Sequence

import torch
import transformers

import wheresight
from wheresight.lvlm.answers import read_answer
from wheresight.lvlm.loading import look_up
from wheresight.lvlm.prompts import chat_prompt
from wheresight.lvlm.scoring import Query, Scorer
from wheresight.probes.grid import GridProbe, GridSettings
from wheresight.probes.questions import QUESTIONS, ask
from wheresight.stimuli.sources import open_source


def plain(lvlm: wheresight.LVLM, queries: Sequence[Query], spec: str) -> list[str]:
    """One generate a question, nothing shared."""
    answers = []
    with torch.inference_mode(), wheresight.intervene(lvlm, spec):
        for query in queries:
            for question in query.questions:
                prompt = chat_prompt(lvlm.processor, question)
                inputs = lvlm.processor(text=prompt, images=query.picture, return_tensors="pt").to(
                    lvlm.device
                )
                out = lvlm.model.generate(**inputs, max_new_tokens=128, do_sample=False)
                new = out[0, inputs["input_ids"].shape[1] :]
                text = lvlm.processor.tokenizer.decode(new, skip_special_tokens=True)
                answers.append(read_answer(text))
    return answers


def ours(scorer: Scorer, queries: Sequence[Query], specs: Sequence[str]) -> dict[str, list[str]]:
    """The probe's way: pictures encoded once, all interventions scored."""
    encoded = scorer.encode(queries)
    return {spec: [a.answer for a in scorer.score(encoded, spec)] for spec in specs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--items", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--question", default="paper", choices=sorted(QUESTIONS))
    options = parser.parse_args()

    specs = ("none", "bapa")
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

    # Warm-up of both ways, not timed.
    plain(lvlm, queries[:2], "bapa")
    ours(scorer, queries[:2], specs)

    ratios, slow, fast, equal = [], [], [], 0
    for repeat in range(options.repeats):
        timed = {}
        for way in ("plain", "ours") if repeat % 2 == 0 else ("ours", "plain"):
            begin = time.perf_counter()
            if way == "plain":
                by_plain = {spec: plain(lvlm, queries, spec) for spec in specs}
            else:
                by_ours = ours(scorer, queries, specs)
            timed[way] = time.perf_counter() - begin
        slow.append(count / timed["plain"])
        fast.append(count / timed["ours"])
        ratios.append(timed["plain"] / timed["ours"])
        equal = sum(
            a == b for spec in specs for a, b in zip(by_plain[spec], by_ours[spec], strict=True)
        )
    print(
        json.dumps(
            {
                "benchmark": "scoring",
                "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
                "model": options.model,
                "question": options.question,
                "questions": count,
                "threads": torch.get_num_threads(),
                "machine": f"{platform.machine()} {platform.system()}, CPU",
                "torch": torch.__version__,
                "transformers": transformers.__version__,
                "plain_questions_per_second": round(statistics.median(slow), 1),
                "ours_questions_per_second": round(statistics.median(fast), 1),
                "ratio_median": round(statistics.median(ratios), 2),
                "ratio_min": round(min(ratios), 2),
                "ratio_max": round(max(ratios), 2),
                "answers_equal": f"{equal}/{count}",
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
