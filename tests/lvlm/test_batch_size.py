"""When memory runs out the batch is halved and done again; `auto` finds a size that fits."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from PIL import Image

import wheresight
from wheresight.errors import ModelError
from wheresight.lvlm.batch_size import find_batch_size
from wheresight.lvlm.memory import is_out_of_memory
from wheresight.lvlm.scoring import Query, Scorer


@pytest.fixture(scope="module")
def pocket() -> wheresight.LVLM:
    return wheresight.load("pocket")


def noise(n: int) -> Image.Image:
    generator = torch.Generator().manual_seed(n)
    pixels = torch.randint(0, 256, (96, 96, 3), generator=generator, dtype=torch.uint8)
    return Image.fromarray(pixels.numpy())


def queries(count: int) -> list[Query]:
    words = ("a cat", "a red house", "two dogs")
    return [
        Query(noise(n), tuple(f"Is {word} in the picture?" for word in words)) for n in range(count)
    ]


@contextmanager
def room_for(module: Any, most: int) -> Iterator[list[int]]:
    """Let a module run out of memory above so many rows; lists the sizes that it was given."""
    sizes = []

    def hook(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = next(v for v in (*args, *kwargs.values()) if isinstance(v, torch.Tensor))
        sizes.append(len(given))
        if len(given) > most:
            raise torch.OutOfMemoryError(f"no room for {len(given)} rows")

    handle = module.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield sizes
    finally:
        handle.remove()


def close(a: list[Any], b: list[Any]) -> bool:
    alike = [x.answer == y.answer and x.argmax_id == y.argmax_id for x, y in zip(a, b, strict=True)]
    return all(alike) and [x.margin for x in a] == pytest.approx([y.margin for y in b], abs=2e-5)


@pytest.mark.parametrize(
    ("spec", "share"),
    [("none", True), ("bapa", True), ("adaptvis", True), ("uac", True), ("adaptvis", False)],
)
def test_a_batch_that_does_not_fit_is_halved_until_it_does(
    pocket: wheresight.LVLM, spec: str, share: bool
) -> None:
    asked = queries(12)
    plain = Scorer(pocket, share_prefix=share)
    wanted = plain.score(plain.encode(asked), spec)
    scorer = Scorer(pocket, batch_size=32, share_prefix=share)
    encoded = scorer.encode(asked)
    steps: list[int] = []
    with room_for(pocket.core.model.language_model, 5) as sizes:
        found = scorer.score(encoded, spec, advance=steps.append)
    assert scorer.batch_size < 32 and max(sizes) > 5
    assert close(found, wanted)
    assert sum(steps) == 36 and len(found) == 36
    again = Scorer(pocket, batch_size=32, share_prefix=share)
    with room_for(pocket.core.model.language_model, 5):
        assert again.score(again.encode(asked), spec) == found  # deterministic, to the bit
    assert again.batch_size == scorer.batch_size


def test_generated_answers_too(pocket: wheresight.LVLM) -> None:
    asked = queries(4)
    plain = Scorer(pocket)
    wanted = plain.generate(plain.encode(asked), "bapa", max_new_tokens=3)
    scorer = Scorer(pocket)
    with room_for(pocket.core.model.language_model, 4):
        found = scorer.generate(scorer.encode(asked), "bapa", max_new_tokens=3)
    assert scorer.batch_size == 3  # of twelve rows: six, then three
    assert close(found, wanted) and [a.text for a in found] == [a.text for a in wanted]


def test_pictures_go_through_the_tower_in_bounded_batches(pocket: wheresight.LVLM) -> None:
    asked = queries(40)
    scorer = Scorer(pocket, batch_size=64)
    with room_for(pocket.core.model.vision_tower, 1000) as sizes:
        whole = scorer.encode(asked)
    assert sizes == [32, 8]
    with room_for(pocket.core.model.vision_tower, 10) as sizes:
        halved = scorer.encode(asked, keep_pixels=False)
    assert sizes == [32, 16, 8, 8, 8, 8, 8]
    assert (scorer.pictures_at_once, scorer.batch_size) == (8, 64)
    assert halved.rows == whole.rows and halved.counts == whole.counts
    torch.testing.assert_close(
        torch.cat(list(halved.features.pooler_output)),
        torch.cat(list(whole.features.pooler_output)),
        rtol=0,
        atol=1e-5,
    )
    assert Scorer(pocket, batch_size=3).pictures_at_once == 3
    assert not halved.kept and sum(len(batch.sizes) for batch in whole.kept) == 40


def test_pixels_that_were_dropped_are_missed(pocket: wheresight.LVLM) -> None:
    scorer = Scorer(pocket)
    encoded = scorer.encode(queries(1), keep_pixels=False)
    scorer.score(encoded, "none")
    with pytest.raises(ModelError, match="keep_pixels=True"):
        scorer.score(encoded, "multilayer:layers=6")


def test_a_single_question_that_does_not_fit_is_an_error(pocket: wheresight.LVLM) -> None:
    scorer = Scorer(pocket)
    encoded = scorer.encode(queries(2))
    with (
        room_for(pocket.core.model.language_model, 0),
        pytest.raises(ModelError, match="a single question at once .*no room for 1 rows"),
    ):
        scorer.score(encoded)
    assert len(scorer.score(encoded)) == 6  # the model is as before


def test_other_errors_are_not_taken_for_a_lack_of_memory(pocket: wheresight.LVLM) -> None:
    def broken(*given: Any) -> None:
        raise RuntimeError("something else")

    scorer = Scorer(pocket)
    encoded = scorer.encode(queries(1))
    handle = pocket.core.model.language_model.register_forward_pre_hook(broken)
    try:
        with pytest.raises(RuntimeError, match="something else"):
            scorer.score(encoded)
    finally:
        handle.remove()
    assert scorer.batch_size == 64
    assert is_out_of_memory(MemoryError()) and not is_out_of_memory(ValueError("out of memory"))


_LIMITED = """
import resource
import torch
from PIL import Image
import wheresight
from test_batch_size import queries
from wheresight.lvlm.scoring import Scorer

lvlm = wheresight.load("pocket")
few = Scorer(lvlm, batch_size=6)
encoded = few.encode(queries(200))
wanted = few.score(encoded, "bapa")
lines = open("/proc/self/status").read().splitlines()
taken = int(next(line for line in lines if line.startswith("VmSize")).split()[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (taken + 60 * 2**20,) * 2)
many = Scorer(lvlm, batch_size=600)
found = many.score(encoded, "bapa")
worst = max(abs(a.margin - b.margin) for a, b in zip(found, wanted, strict=True))
print("SAID", many.batch_size, worst)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the address space is limited as Linux does")
def test_when_memory_really_runs_out() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED],
        capture_output=True,
        text=True,
        cwd=os.path.dirname(__file__),
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    size, worst = done.stdout.rsplit("SAID", 1)[1].split()
    assert int(size) in (300, 150, 75, 37, 18, 9)
    assert float(worst) < 2e-5


def asking(scorer: Scorer, counts: list[int]) -> Callable[[int], None]:
    encoded = scorer.encode(queries(40))

    def ask(count: int) -> None:
        counts.append(count)
        scorer.score(dataclasses.replace(encoded, rows=encoded.rows[:count]))

    return ask


def test_auto_finds_a_size_that_fits(pocket: wheresight.LVLM) -> None:
    scorer = Scorer(pocket)
    counts: list[int] = []
    ask = asking(scorer, counts)
    with room_for(pocket.core.model.language_model, 20) as sizes:
        found = find_batch_size(scorer, ask, most=120)
    assert found == scorer.batch_size
    # Prefixes are shared: 32 questions are 11 pictures, 64 are 22 and do not fit.
    assert found in (8, 16, 32)
    assert max(counts) in (32, 64) and max(sizes) in (11, 22)
    assert counts[:3] == [1, 8, 8]
    assert find_batch_size(scorer, ask, most=5) == 5
    assert find_batch_size(scorer, ask, most=64) in (8, 16, 32, 64)
