"""The lmms-eval bridge's batches on every family with a real processor: alone as among others."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

import wheresight
from wheresight.bridges.lmms_eval.answering import Answerer
from wheresight.bridges.lmms_eval.arguments import Wish
from wheresight.bridges.lmms_eval.prompts import Prompt

sys.path.insert(0, str(Path(__file__).parent))

from test_processors import WHICH, picture, processor_of

TEXTS = ("<image> w5 w6 w7", "<image> w8", "w5 <image> w6 <image> w7 w9", "<image> w5 <image> w6",
         "w11 w12 w13", "w14")  # fmt: skip
SIZES = ((16, 24), (16, 16), (24, 16))


class _InVocabulary:
    """A processor whose rare tokens, for which a tiny model has no row, are one that it has."""

    def __init__(self, processor: Any) -> None:
        self.processor, self.tokenizer = processor, processor.tokenizer

    def __call__(self, **given: Any) -> Any:
        out = self.processor(**given)
        out["input_ids"] = out["input_ids"].where(out["input_ids"] < 99, 4)
        return out


def prompts(which: str) -> list[Prompt]:
    found = []
    for n, text in enumerate(TEXTS):
        count = text.count("<image>")
        if count or which != "paligemma":  # whose processor asks for a picture
            shown = tuple(picture(*SIZES[(n + k) % 3]) for k in range(count))
            found.append(Prompt(text, shown, special=False))
    return found


@pytest.mark.parametrize("spec", ["none", "bapa", "scalingvis:alpha=0.5"])
@pytest.mark.parametrize("which", WHICH)
def test_a_prompt_is_answered_alone_as_in_a_batch(make_model: Any, which: str, spec: str) -> None:
    lvlm = wheresight.wrap(make_model(which), _InVocabulary(processor_of(which)))
    asked = prompts(which)
    wishes = [Wish(4)] * len(asked)
    counted: list[int] = []
    alone = Answerer(lvlm, spec, 1).texts(asked, wishes, counted.append)
    together = Answerer(lvlm, spec, 8).texts(asked, wishes, counted.append)
    assert [one.text for one in together] == [one.text for one in alone]
    assert [one.read for one in together] == [one.read for one in alone]
    assert sum(counted) == 2 * len(asked) and len({one.text for one in alone}) > 1
