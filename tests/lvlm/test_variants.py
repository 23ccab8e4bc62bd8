"""Variants of a picture and whole distributions, in four families, against the model alone."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from wheresight.lvlm.distributions import Distributions
from wheresight.lvlm.intervene import intervene
from wheresight.lvlm.prompts import chat_prompt
from wheresight.lvlm.scoring import Query, Scorer
from wheresight.lvlm.variants import Variants, image_tokens

sys.path.insert(0, str(Path(__file__).parent))

from test_scoring import NAMES, lvlm_of

SPECS = ("none", "bapa", "permute:seed=2", "mask:bidirectional", "pool:side=2")
QUESTION = "Is a cat in it?"


@functools.cache
def scorer_of(name: str) -> Scorer:
    return Scorer(lvlm_of(name), batch_size=4)


def noise(seed: int, size: tuple[int, int] = (64, 64)) -> Image.Image:
    generator = torch.Generator().manual_seed(seed)
    shape = (size[1], size[0], 3)
    pixels = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    return Image.fromarray(pixels.numpy())


def alone(scorer: Scorer, picture: Image.Image, question: str, spec: str) -> torch.Tensor:
    """Logits (V,) after a prompt that is run by itself, as anyone would."""
    lvlm = scorer.lvlm
    inputs: Any = lvlm.processor(
        text=[chat_prompt(lvlm.processor, question)], images=[[picture]], return_tensors="pt"
    )
    with torch.inference_mode(), intervene(lvlm, spec):
        logits: torch.Tensor = lvlm.model(**inputs).logits[0, -1]
    return logits


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("name", NAMES)
def test_variants_in_a_batch_are_each_by_itself(name: str, spec: str) -> None:
    scorer = scorer_of(name)
    pictures = [noise(n) for n in range(3)]
    with torch.inference_mode(), intervene(scorer.lvlm, spec) as active:
        variants = Variants(scorer, active, pictures[0], QUESTION)
        read = variants.read(variants.prepare(pictures))
    expected = torch.stack([alone(scorer, p, QUESTION, spec) for p in pictures])
    torch.testing.assert_close(read.logits, expected, atol=2e-4, rtol=1e-4)
    encoded = scorer.encode([Query(p, (QUESTION,)) for p in pictures])
    tokens = torch.stack(image_tokens(encoded))
    torch.testing.assert_close(read.features, tokens, atol=1e-4, rtol=1e-4)
    assert tokens.shape[1] == encoded.counts[0]


@pytest.mark.parametrize("name", NAMES)
def test_distributions_are_each_rows_own(name: str) -> None:
    scorer = scorer_of(name)
    pictures = [noise(0), noise(1, (64, 40)), noise(2)]
    questions = [(QUESTION,), (QUESTION, "Is there a much longer question to be asked?"), ("Why?",)]
    queries = [Query(p, q) for p, q in zip(pictures, questions, strict=True)]
    asked = [(q.picture, text) for q in queries for text in q.questions]
    with torch.inference_mode():
        found = Distributions(scorer, scorer.encode(queries))
        batches = list(found.batches())
        assert sorted(n for batch in batches for n in batch) == list(range(4))
        for spec in ("none", "bapa", "permute"):
            for batch in batches:
                logits = found.logits(batch, spec)
                expected = torch.stack([alone(scorer, *asked[n], spec) for n in batch])
                torch.testing.assert_close(logits, expected, atol=2e-4, rtol=1e-4)


def test_what_changes_the_tower_or_needs_a_blank_is_given_it() -> None:
    scorer = scorer_of("llava")
    picture = noise(3)
    with torch.inference_mode():
        found = Distributions(scorer, scorer.encode([Query(picture, (QUESTION,))]))
        towers = [found.logits([0], spec) for spec in ("none", "multilayer:layers=1")]
        assert not torch.equal(*towers)
        expected = alone(scorer, picture, QUESTION, "multilayer:layers=1")
        torch.testing.assert_close(towers[1][0], expected, atol=2e-4, rtol=1e-4)
        # What is measured on a blank picture is what the scorer measures.
        (answer,) = scorer.score(scorer.encode([Query(picture, (QUESTION,))]), "uac")
        logits = found.logits([0], "uac")
        assert float(scorer.answers.margin(logits)[0]) == pytest.approx(answer.margin, abs=1e-4)
        with intervene(scorer.lvlm, "uac") as active:
            variants = Variants(scorer, active, picture, QUESTION)
            read = variants.read(variants.prepare([picture]))
        torch.testing.assert_close(read.logits, logits, atol=2e-4, rtol=1e-4)
