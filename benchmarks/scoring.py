"""The probe's way of scoring against two plainer ways, on the same questions, in one process.

* plain: one `generate` a question and intervention at batch one, as the released scripts do
  (greedy), the answer read from the text; for AdaptVis two, as in its released code: one to see the
  confidence, one with the scale that it chooses. A model that has learnt to answer stops after a
  word; a skeleton of random weights talks on, so it is stopped after two tokens, which is what
  "Yes" and the end of the text cost.
* unshared: our batches, but every intervention sends every picture through the tower and every
  prompt through the model by itself.
* ours: `wheresight.lvlm.scoring.Scorer.score_all`.

All include processing of pictures and text; rendering is the same for all and not timed. The order
changes from round to round, so that a machine that warms up or slows down favours none.

Answers are compared by name (yes, no, neither), by first token, and by margin. Where first tokens
differ, "widest_tie" says by how much the plain way's logits preferred its own: the largest over
such questions, which must be no more than rounding.

    python benchmarks/scoring.py --items 10 --repeats 5
    python benchmarks/scoring.py --model skeleton:llava-1.5-7b-quarter --items 1 --cells 2
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from balanced import SPECS, balanced, circumstances

import wheresight
from wheresight.interventions.spec import parse
from wheresight.lvlm.answers import read_answer
from wheresight.lvlm.prompts import chat_prompt
from wheresight.lvlm.scoring import Answer, Query, Scorer
from wheresight.probes.questions import QUESTIONS
from wheresight.skeletons import is_skeleton

OTHERS = ("plain", "unshared")
Answers = dict[str, list[Answer]]


class Plain:
    """One generate a question, nothing shared; two if the intervention looks first.

    Attributes:
        logits: of each question's first token, (V,), by intervention, of the last call.
    """

    def __init__(self, scorer: Scorer, new_tokens: int) -> None:
        self.lvlm, self.answers, self.new_tokens = scorer.lvlm, scorer.answers, new_tokens
        self.logits: dict[str, list[torch.Tensor]] = {}

    def __call__(self, queries: Sequence[Query], specs: Sequence[str]) -> Answers:
        found: Answers = {}
        with torch.inference_mode():
            for spec in specs:
                each = [self.ask(q, text, spec) for q in queries for text in q.questions]
                found[spec] = [answer for answer, _ in each]
                self.logits[spec] = [logits for _, logits in each]
        return found

    def ask(self, query: Query, question: str, spec: str) -> tuple[Answer, torch.Tensor]:
        (method,) = parse(spec)
        prompt = chat_prompt(self.lvlm.processor, question)
        inputs = self.lvlm.processor(text=prompt, images=query.picture, return_tensors="pt").to(
            self.lvlm.device
        )
        if method.twice:
            _, first = self.generated(inputs, "none")
            spec = f"scalingvis:alpha={method.decide(first).item()}"
        text, logits = self.generated(inputs, spec)
        token = int(logits.argmax())
        margin = float(self.answers.margin(logits))
        named = self.lvlm.processor.tokenizer.decode([token])
        return Answer(margin, token, named, read_answer(text), text), logits[0]

    def generated(self, inputs: Any, spec: str) -> tuple[str, torch.Tensor]:
        """Text, and the logits (1, V) of its first token."""
        with wheresight.intervene(self.lvlm, spec):
            out = self.lvlm.model.generate(
                **inputs,
                max_new_tokens=self.new_tokens,
                do_sample=False,
                output_logits=True,
                return_dict_in_generate=True,
            )
        new = out.sequences[0, inputs["input_ids"].shape[1] :]
        return self.lvlm.processor.tokenizer.decode(new, skip_special_tokens=True), out.logits[0]


def unshared(scorer: Scorer, queries: Sequence[Query], specs: Sequence[str]) -> Answers:
    """Batches, but nothing shared between interventions or questions."""
    return {spec: scorer.score(scorer.encode(queries), spec) for spec in specs}


def ours(scorer: Scorer, queries: Sequence[Query], specs: Sequence[str]) -> Answers:
    """The probe's way."""
    return dict(zip(specs, scorer.score_all(scorer.encode(queries), specs), strict=True))


def compare(found: Answers, mine: Answers, logits: dict[str, list[torch.Tensor]] | None) -> dict:
    """How like ours the answers of another way are; see the top of this file."""
    pairs = [(a, b) for spec in mine for a, b in zip(found[spec], mine[spec], strict=True)]
    said = {
        "answers": f"{sum(a.answer == b.answer for a, b in pairs)}/{len(pairs)}",
        "first_tokens": f"{sum(a.argmax_id == b.argmax_id for a, b in pairs)}/{len(pairs)}",
        "largest_margin_difference": max(abs(a.margin - b.margin) for a, b in pairs),
    }
    if logits is not None:
        said["widest_tie"] = max(ties(mine, logits), default=0.0)
    return said


def ties(mine: Answers, logits: dict[str, list[torch.Tensor]]) -> Iterator[float]:
    """By how much the plain way preferred its first token, where ours is another."""
    for spec, answers in mine.items():
        for answer, row in zip(answers, logits[spec], strict=True):
            if int(row.argmax()) != answer.argmax_id:
                yield float(row.max() - row[answer.argmax_id])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--items", type=int, default=4)
    parser.add_argument("--cells", type=int, default=9, help="of each item, the first so many")
    parser.add_argument("--one-picture", action="store_true", help="all questions of one picture")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--against", nargs="+", default=OTHERS, choices=OTHERS)
    parser.add_argument("--intervention", nargs="+", default=SPECS)
    parser.add_argument("--question", default="paper", choices=sorted(QUESTIONS))
    parser.add_argument("--new-tokens", type=int, help="of the plain way; 128, or 2 of a skeleton")
    options = parser.parse_args()

    specs = options.intervention
    lvlm, queries = balanced(
        options.model,
        question=options.question,
        items=options.items,
        cells=options.cells,
        one_picture=options.one_picture,
    )
    count = sum(len(query.questions) for query in queries) * len(specs)
    scorer = Scorer(lvlm, batch_size=options.batch_size)
    apart = Scorer(lvlm, batch_size=options.batch_size, share_prefix=False)
    plain = Plain(scorer, options.new_tokens or (2 if is_skeleton(options.model) else 128))
    ways: dict[str, Callable[[Sequence[Query]], Answers]] = {
        "plain": lambda asked: plain(asked, specs),
        "unshared": lambda asked: unshared(apart, asked, specs),
        "ours": lambda asked: ours(scorer, asked, specs),
    }
    ways = {name: way for name, way in ways.items() if name in (*options.against, "ours")}
    for way in ways.values():  # a warm-up of each, not timed
        way(queries[:1])

    seconds: dict[str, list[float]] = {way: [] for way in ways}
    answers: dict[str, Answers] = {}
    for repeat in range(options.repeats):
        names = list(ways)
        for name in names[repeat % len(names) :] + names[: repeat % len(names)]:
            begin = time.perf_counter()
            answers[name] = ways[name](queries)
            seconds[name].append(time.perf_counter() - begin)

    def ratio(way: str) -> dict[str, float]:
        found = [a / b for a, b in zip(seconds[way], seconds["ours"], strict=True)]
        return {
            "median": round(statistics.median(found), 2),
            "min": round(min(found), 2),
            "max": round(max(found), 2),
        }

    def like(way: str) -> dict[str, Any]:
        logits = plain.logits if way == "plain" else None
        return compare(answers[way], answers["ours"], logits)

    print(
        json.dumps(
            {
                "benchmark": "scoring",
                **circumstances(),
                "model": options.model,
                "question": options.question,
                "interventions": list(specs),
                "pictures": len(queries),
                "questions": count,
                "new_tokens_of_plain": plain.new_tokens,
                "questions_per_second": {
                    way: round(count / statistics.median(took), 2) for way, took in seconds.items()
                },
                **{f"ours_against_{way}": ratio(way) for way in options.against},
                **{f"{way}_like_ours": like(way) for way in options.against},
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
