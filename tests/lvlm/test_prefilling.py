"""Prefilling for keys alone: the cache is the stock one, bit for bit, and work is left out."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import wheresight
from wheresight.lvlm.prefilling import keys_alone
from wheresight.lvlm.scoring import Scorer

sys.path.insert(0, str(Path(__file__).parent))

from test_scoring import lvlm_of, queries


@contextlib.contextmanager
def finished() -> Iterator[set[int]]:
    """The ids of modules that return in this block, seen without a hook on any of them."""
    seen: set[int] = set()
    hook = torch.nn.modules.module.register_module_forward_hook(
        lambda module, args, out: seen.add(id(module)) or None  # type: ignore[func-returns-value]
    )
    try:
        yield seen
    finally:
        hook.remove()


def held(cache: Any) -> list[torch.Tensor]:
    return [state for layer in cache.layers for state in (layer.keys, layer.values)]


def prefilled(lvlm: wheresight.LVLM, inputs: dict[str, Any], spec: str, alone: bool) -> Any:
    with torch.inference_mode(), wheresight.intervene(lvlm, spec) as active:
        inside = keys_alone(lvlm) if alone else contextlib.nullcontext()
        with active.prompt("inside"), inside:
            return lvlm.model(**inputs, use_cache=True).past_key_values


@pytest.mark.parametrize("spec", ["none", "bapa", "bapa:layers=1", "scalingvis:alpha=2,rows=text"])
def test_what_is_cached_is_the_same(family: str, spec: str, make_model: Any, batch: Any) -> None:
    lvlm = wheresight.wrap(make_model(family))
    stock = prefilled(lvlm, batch.inputs, spec, alone=False)
    layers = lvlm.family.layers(lvlm.core)
    with finished() as seen:
        mine = prefilled(lvlm, batch.inputs, spec, alone=True)
    pairs = [*zip(held(stock), held(mine), strict=True)]
    assert len(pairs) == 2 * len(layers)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert id(layers[-2].mlp) in seen
    assert id(layers[-1].mlp) not in seen
    assert id(layers[-1]) in seen


def test_afterwards_the_model_is_what_it_was(make_model: Any) -> None:
    lvlm = wheresight.wrap(make_model("llava"))
    last = lvlm.family.layers(lvlm.core)[-1]
    for failing in (False, True):
        with contextlib.suppress(ZeroDivisionError), keys_alone(lvlm):
            assert "forward" in last.__dict__
            assert not failing or 1 / 0
        assert "forward" not in last.__dict__
    whole = last.forward
    last.forward = whole  # as wrappers of weights set it
    with keys_alone(lvlm):
        assert last.forward is not whole
    assert last.forward is whole


def test_who_looks_into_the_last_layer_sees_it_whole(make_model: Any, make_batch: Any) -> None:
    lvlm = wheresight.wrap(make_model("llava"))
    inputs = make_batch("llava", [[3, "i", 5]]).inputs
    last = lvlm.family.layers(lvlm.core)[-1]
    seen: list[torch.Tensor] = []
    for alone in (False, True):
        handle = last.mlp.register_forward_hook(lambda module, args, out: seen.append(out))
        prefilled(lvlm, inputs, "none", alone)
        handle.remove()
    assert len(seen) == 2
    assert torch.equal(*seen)


@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl", "gemma3"])
def test_the_first_logits_are_made_once_for_all_who_ask(name: str) -> None:
    """AdaptVis takes the look from the spec without it, and answers as it would alone."""
    lvlm = lvlm_of(name)
    scorer = Scorer(lvlm, batch_size=100)
    encoded = scorer.encode(queries())
    calls = 0

    def count(*_: Any) -> None:
        nonlocal calls
        calls += 1

    lvlm.family.base(lvlm.core).register_forward_pre_hook(count)

    def scored(specs: list[str]) -> tuple[list[Any], int]:
        before = calls
        return scorer.score_all(encoded, specs), calls - before

    # One threshold above all confidences and one below; factors that leave sure rows as they are.
    looking = ["adaptvis:threshold=1", "adaptvis:low=0.3,high=1,threshold=0.02", "adaptvis"]
    bapa = [f"bapa+{spec}" for spec in looking]
    (stock,), plain = scored(["none"])
    together, shared = scored([*looking, "none", *bapa, "bapa"])
    assert together[3] == stock
    alone = [scored([spec]) for spec in looking + bapa]
    assert together[:3] + together[4:7] == [answers for (answers,), _ in alone]
    assert together[0] != stock != together[2]
    # Batches and lengths: a pass more for each that looks, and not two as for one alone.
    looked = alone[0][1] - plain
    assert looked > 0
    assert shared == 2 * (plain + 3 * looked)
