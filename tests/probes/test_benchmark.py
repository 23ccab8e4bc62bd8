"""Questions in portions: none is lost or cut, and blind answers hang on the text alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from wheresight.probes.bench import Bench
from wheresight.probes.benchmark import Posed, ask, chunks


@settings(max_examples=40, deadline=None)
@given(sizes=st.lists(st.integers(1, 9), max_size=20), size=st.integers(1, 4))
def test_portions_keep_order_and_pictures_whole(sizes: list[int], size: int) -> None:
    posed = []
    for number, count in enumerate(sizes):
        show = (lambda n: lambda: Image.new("RGB", (1, n + 1)))(number)
        posed += [Posed(str(number), "a", show, f"{k}", "yes") for k in range(count)]
    found = list(chunks(posed, 4 * size))
    assert [p for _, some in found for p in some] == posed
    start = 0
    for first, some in found:
        assert first == start
        start += len(some)
        numbers = {p.id for p in some}
        assert sum(p.id in numbers for p in posed) == len(some)  # no picture is in two portions
        assert len(some) <= max(4 * size, *sizes)


def test_many_portions_give_what_each_question_gives_alone(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(items=1)
    shades = [Image.new("RGB", (96, 96), (13 * n, 100, 255 - 13 * n)) for n in range(18)]
    posed = [
        Posed(str(n), str(n), shade.copy, f"is {word}", "yes")
        for n, shade in enumerate(shades)
        for word in ("apple", "a red apple", "dog", "ball")
    ]
    together = ask(bench.score, posed, {"none": "none"})["none"]
    for n in (0, 3, 40, 71):
        alone = ask(bench.score, [posed[n]], {"none": "none"})["none"]
        np.testing.assert_allclose(together.logp[n], alone.logp[0], atol=1e-5)
    assert together.logp.std() > 0
    blind = ask(bench.score, posed, {"none": "none"}, blank=True)["none"]
    by_text = blind.logp.reshape(18, 4)
    np.testing.assert_allclose(by_text, by_text[:1].repeat(18, axis=0), atol=1e-5)
