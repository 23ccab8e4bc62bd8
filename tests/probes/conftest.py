"""A bench on the pocket model, loaded once for all tests of diagnostics."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from wheresight.lvlm.loading import load
from wheresight.lvlm.scoring import Scorer
from wheresight.probes.bench import Bench
from wheresight.runs.progress import Silent
from wheresight.runs.request import GridRequest, open_grid

MakeBench = Callable[..., Bench]


@pytest.fixture(scope="session")
def make_bench() -> MakeBench:
    """Makes a bench: `make_bench(items=2, spec="bapa", grid="1x2")`."""
    held: dict[str, Scorer] = {}

    def make(items: int = 2, spec: str = "none", grid: str = "1x2", **more: object) -> Bench:
        request = GridRequest(out="", items=items, grid=grid, **more)  # type: ignore[arg-type]
        card, probe = open_grid(request, Silent())
        if "pocket" not in held:
            held["pocket"] = Scorer(load(card), batch_size=16)
        return Bench(held["pocket"], probe, tuple(probe.items), spec, request.seed)

    return make
