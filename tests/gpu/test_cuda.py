"""On a CUDA device: bfloat16, sdpa and flash attention, pinned copies, memory that runs out.

bfloat16 has eight significant bits, and another batch may be given to another kernel. So margins of
two ways agree to a tolerance, and an answer may differ only where the margin is within it.
"""

from __future__ import annotations

import gc
import importlib.util
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import wheresight
from wheresight.errors import WheresightError
from wheresight.interventions.host import refuse_unhosted
from wheresight.interventions.registry import known_interventions
from wheresight.interventions.spec import example, parse
from wheresight.lvlm.loading import look_up
from wheresight.lvlm.scoring import Answer, Query, Scorer
from wheresight.runs.grid_run import GridRequest, run_grid
from wheresight.runs.progress import Silent
from wheresight.runs.request import open_grid
from wheresight.runs.store import RunFolder

DEVICE = "cuda"
pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="there is no CUDA device on this machine"
)
needs_flash = pytest.mark.skipif(
    importlib.util.find_spec("flash_attn") is None, reason="flash-attn is not installed"
)

SKELETON = "skeleton:llava-1.5-7b-quarter"
SPECS = ("none", "bapa", "scalingvis:alpha=0.8")  # adaptvis jumps at a threshold
NATS = 0.5  # between two ways of computing a margin in bfloat16


@pytest.fixture(scope="module")
def pocket() -> Any:
    return wheresight.load("pocket", dtype="bfloat16", device=DEVICE)


def queries(model: str, items: int) -> list[Query]:
    """The pictures and questions of the first items of the balanced probe, 2x2."""
    _, probe = open_grid(GridRequest(out="unused", model=model, items=items, grid="2x2"), Silent())
    return list(probe.queries(probe.shown(probe.items)))


def agree(a: Sequence[Answer], b: Sequence[Answer]) -> None:
    assert len(a) == len(b) > 0
    for one, other in zip(a, b, strict=True):
        assert abs(one.margin - other.margin) <= NATS
        assert one.answer == other.answer or abs(one.margin) <= NATS


@pytest.mark.parametrize(
    "attention", ["sdpa", pytest.param("flash_attention_2", marks=needs_flash)]
)
@pytest.mark.parametrize("model", ["pocket", SKELETON])
def test_a_run_in_bfloat16_and_the_same_again(model: str, attention: str, tmp_path: Path) -> None:
    specs = ("none", "bapa") if attention == "flash_attention_2" else (*SPECS, "adaptvis")
    request = GridRequest(
        out=str(tmp_path / "run"),
        model=model,
        items=4,
        grid="1x2",
        interventions=specs,
        dtype="bfloat16",
        device=DEVICE,
        attention=attention,
        batch_size="auto",
        picture_workers=1,
        replicates=100,
    )
    assert run_grid(request).rows_computed > 0
    records = RunFolder(tmp_path / "run").read()
    assert np.isfinite(records["margin"].to_numpy()).all()
    assert set(records["intervention"].to_pylist()) == {str(parse(s)[0]) for s in specs}
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert environment["hardware"]["device"].startswith(DEVICE)
    assert run_grid(request).rows_computed == 0
    assert RunFolder(tmp_path / "run").read().equals(records)


def test_no_intervention_is_the_stock_model_bit_for_bit(pocket: Any) -> None:
    query = queries("pocket", 1)[0]
    prompt = Scorer(pocket).encoder
    encoded = prompt.encode([query])
    with torch.inference_mode():
        stock = pocket.model(**prompt.inputs(encoded, encoded.rows)).logits
        with wheresight.intervene(pocket, "none"):
            assert torch.equal(pocket.model(**prompt.inputs(encoded, encoded.rows)).logits, stock)


@pytest.mark.parametrize("name", sorted(known_interventions()))
def test_every_method_runs_and_leaves_nothing_behind(pocket: Any, name: str) -> None:
    spec = example(name)
    try:
        refuse_unhosted([spec], look_up("pocket").host("sdpa"))
    except WheresightError as error:
        pytest.skip(str(error))
    scorer = Scorer(pocket)
    encoded = scorer.encode(queries("pocket", 1))
    before = scorer.score(encoded, "none")
    changed = scorer.score(encoded, spec)
    assert np.isfinite([answer.margin for answer in changed]).all()
    assert scorer.score(encoded, "none") == before


def test_an_answer_does_not_hang_on_the_batch_nor_on_sharing(pocket: Any) -> None:
    asked = queries("pocket", 4)
    large = Scorer(pocket, batch_size=64)
    whole = large.score_all(large.encode(asked), SPECS)
    for other in (Scorer(pocket, batch_size=5), Scorer(pocket, share_prefix=False)):
        found = other.score_all(other.encode(asked), SPECS)
        for a, b in zip(whole, found, strict=True):
            agree(a, b)


def test_bfloat16_answers_as_float32_on_the_cpu_does(pocket: Any) -> None:
    asked = queries("pocket", 4)
    exact = Scorer(wheresight.load("pocket", dtype="float32", device="cpu"))
    wanted = exact.score_all(exact.encode(asked), SPECS)
    scorer = Scorer(pocket)
    for a, b in zip(wanted, scorer.score_all(scorer.encode(asked), SPECS), strict=True):
        clear = [n for n, answer in enumerate(a) if abs(answer.margin) > 2]
        assert clear and all(a[n].answer == b[n].answer for n in clear)


def test_what_is_sent_arrives(pocket: Any) -> None:
    for dtype in (torch.float32, torch.long, torch.bool):
        sent = torch.randint(0, 2, (513, 257)).to(dtype)
        arrived = pocket.send(sent)
        assert arrived.device.type == DEVICE and arrived.dtype == dtype
        assert torch.equal(arrived.cpu(), sent)


@needs_flash
def test_flash_attention_answers_as_sdpa_does(pocket: Any) -> None:
    asked = queries("pocket", 2)
    flash = Scorer(
        wheresight.load("pocket", dtype="bfloat16", device=DEVICE, attention="flash_attention_2")
    )
    plain = Scorer(pocket)
    for spec in ("none", "bapa"):
        agree(plain.score(plain.encode(asked), spec), flash.score(flash.encode(asked), spec))


@pytest.fixture
def whole_device() -> Iterator[None]:
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.mark.usefixtures("whole_device")
def test_memory_that_runs_out_halves_the_batch() -> None:
    asked = queries(SKELETON, 4)
    lvlm = wheresight.load(SKELETON, dtype="bfloat16", device=DEVICE)

    def most(batch_size: int) -> tuple[list[Answer], int, int]:
        """Answers, the batch size at the end, and the most bytes that torch held."""
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        scorer = Scorer(lvlm, batch_size=batch_size)
        answers = scorer.score(scorer.encode(asked), "bapa")
        return answers, scorer.batch_size, torch.cuda.max_memory_reserved()

    few, size, low = most(3)
    assert size == 3
    many, size, high = most(48)
    assert size == 48 and high > low
    agree(few, many)
    total = torch.cuda.get_device_properties(lvlm.device).total_memory
    torch.cuda.set_per_process_memory_fraction((low + high) / 2 / total)
    halved, size, _ = most(48)
    assert 1 <= size < 48
    agree(few, halved)
