"""Multilayer: which states are normed, how layers are written, what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from wheresight.errors import ModelError, SpecError
from wheresight.interventions import canonical, parse, to_json
from wheresight.interventions.features.multilayer import Multilayer, VisionBlocks
from wheresight.interventions.host import Host


def of(*numbers: int) -> Multilayer:
    return Multilayer(VisionBlocks(numbers))


def test_by_hand() -> None:
    """State 1, (1, 3) around mean 2, becomes (-1, 1); the others are the same tensors."""
    states = tuple(torch.tensor([[[a, b]]]) for a, b in ((0.0, 4.0), (1.0, 3.0), (5.0, 9.0)))
    norm = torch.nn.LayerNorm(2, eps=0)
    new = of(1).vision(states, norm)
    assert new[1].tolist() == [[[-1, 1]]]
    assert new[0] is states[0] and new[2] is states[2]
    both = of(2, 0).vision(states, norm)
    assert torch.equal(both[0], norm(states[0])) and torch.equal(both[2], norm(states[2]))
    assert both[1] is states[1]


def test_written() -> None:
    """The order is kept: it is that of the channels."""
    (method,) = parse("multilayer:layers=16/12/24")
    assert method == of(16, 12, 24) == Multilayer((16, 12, 24))
    assert method.blocks == (16, 12, 24)
    assert canonical(method) == "multilayer:layers=16/12/24"
    assert to_json(method) == [{"name": "multilayer", "params": {"layers": "16/12/24"}}]
    assert parse(to_json(method)) == parse("multilayer:16/12/24") == (method,)
    assert parse({"name": "multilayer", "params": {"layers": [16, 12, 24]}}) == (method,)
    assert method.seams() == ("vision",)


@pytest.mark.parametrize("layers", ["", "12/", "-2", "12-16", "all", "12/12", "1.5"])
def test_bad_parameters(layers: str) -> None:
    with pytest.raises(SpecError, match="layers of 'multilayer' cannot be|not of the form"):
        parse(f"multilayer:layers={layers}")
    with pytest.raises(SpecError, match="expected different whole numbers from 0"):
        Multilayer(layers)


def test_needs_its_layers() -> None:
    with pytest.raises(SpecError, match="needs layers: write multilayer:layers="):
        parse("multilayer")


@pytest.mark.parametrize("numbers", [(2,), (0, 7)])
def test_a_block_that_is_not_there(numbers: Any) -> None:
    states = (torch.zeros(1, 1, 2), torch.zeros(1, 1, 2))
    with pytest.raises(ModelError, match=f"block {numbers[-1]}, but the tower has states 0 to 1"):
        of(*numbers).vision(states, torch.nn.Identity())


def test_hosts() -> None:
    told = of(1).refuses(Host("x"))
    assert told is not None and "hidden states of the vision tower" in told
    assert of(1).refuses(Host("x", vision_states=True)) is None
    assert of(1).refuses(Host("x", vision_states=True, vision_layers=(1,))) is None
    assert "takes its features from 1" in of(2).refuses(
        Host("x", vision_states=True, vision_layers=(1,))
    )
