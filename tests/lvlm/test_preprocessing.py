"""Each question's ids are those that the processor makes of it, though it sees a picture once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

import wheresight
from wheresight.lvlm.preprocessing import Preprocessor, Query
from wheresight.lvlm.prompts import chat_prompt
from wheresight.lvlm.scoring import Scorer

sys.path.insert(0, str(Path(__file__).parent))
import test_scoring
import test_scoring_m_rope

# Gemma 3 puts line breaks between picture and question, which may join those of the question.
ASKED_AGAIN = ("gemma3",)
MODELS = {
    **dict.fromkeys(test_scoring.NAMES, test_scoring.lvlm_of),
    "qwen2_vl": test_scoring_m_rope.lvlm_of,
    "qwen3_vl": test_scoring_m_rope.lvlm_of,
    "pocket": wheresight.load,
}
TEXTS = (
    "Is a cat in it?",
    "  Is it </s> red?\n\n",
    "x",
    "Is the ü 漢字 {caption} there? Yes <s>",
    "\nuser: assistant:",
)


def queries() -> list[Query]:
    return [
        Query(query.picture, TEXTS[n % 3 :] if n % 2 else TEXTS[:3])
        for n, query in enumerate(test_scoring.queries(6))
    ]


@pytest.mark.parametrize("which", MODELS)
def test_ids_are_those_of_the_processor(which: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lvlm = MODELS[which](which)
    preprocess = Scorer(lvlm).encoder.preprocess
    seen: list[int] = []
    process = Preprocessor._process

    def counted(self: Preprocessor, pictures: list, texts: list) -> dict:
        seen.append(len(pictures))
        return process(self, pictures, texts)

    monkeypatch.setattr(Preprocessor, "_process", counted)
    made = preprocess(queries())
    if which in ASKED_AGAIN:
        assert sum(seen) == sum(len(query.questions) for query in queries())
    else:
        assert seen == [6]
    rows = iter(made.rows)
    for n, query in enumerate(queries()):
        for question in query.questions:
            alone = lvlm.processor(
                text=[chat_prompt(lvlm.processor, question)],
                images=[[query.picture]],
                return_tensors="pt",
            )
            row = next(rows)
            assert row.picture == n
            assert list(row.ids) == alone["input_ids"][0].tolist()
            for key, kinds in row.types.items():
                assert list(kinds) == alone[key][0].tolist()
    assert next(rows, None) is None


def test_where_the_processor_makes_something_else_it_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A processor that ends prompts in its own way is noticed, and seen to be right."""
    lvlm = test_scoring.lvlm_of("llava")
    preprocess = Scorer(lvlm).encoder.preprocess
    process = Preprocessor._process

    def ended(self: Preprocessor, pictures: list, texts: list) -> dict:
        out = process(self, pictures, texts)
        ones = torch.ones((len(pictures), 1), dtype=torch.long)
        out["input_ids"] = torch.cat([out["input_ids"], 2 * ones], 1)
        out["attention_mask"] = torch.cat([out["attention_mask"], ones], 1)
        return out

    plain = preprocess(queries())
    monkeypatch.setattr(Preprocessor, "_process", ended)
    made = preprocess(queries())
    assert [row.ids for row in made.rows] == [(*row.ids, 2) for row in plain.rows]
