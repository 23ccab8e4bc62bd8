"""Specs: what opens what, the same sample whatever the shards, and errors before anything else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from wheresight.errors import StimulusError
from wheresight.stimuli.items import plan_items, recipes
from wheresight.stimuli.render import render
from wheresight.stimuli.sources import kinds, open_source
from wheresight.stimuli.sources.options import Options


def test_the_five_kinds_are_known() -> None:
    assert set(kinds()) >= {"pocket", "folder", "parquet", "dataset", "webdataset"}


def test_neither_torch_nor_datasets_is_imported() -> None:
    code = (
        "import sys, wheresight.stimuli.sources, wheresight.stimuli.items, "
        "wheresight.stimuli.render, wheresight.stimuli.sources.hub, "
        "wheresight.stimuli.sources.webdataset, wheresight.stimuli.sources.parquet\n"
        "print([name for name in ('torch', 'datasets', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_from_pocket_to_a_composite() -> None:
    source = open_source("pocket")
    assert source.name == "pocket"
    pairs = source.pairs()
    assert len(pairs) > 500
    assert len(source.fingerprint) == 32
    with_siblings = 0
    by_id = {pair.id: pair for pair in pairs}
    for item in plan_items(pairs, len(pairs), 3, 3):
        with_siblings += item.sibling is not None
        assert by_id[item.absent_from].caption == item.absent_caption
    assert with_siblings > len(pairs) / 2
    item = plan_items(pairs, 1, 3, 3)[0]
    assert render(recipes(item, 3, 3, canvas=96, tile=32)[4], source).size == (96, 96)


def test_all_pocket_pictures_decode() -> None:
    source = open_source("pocket", sample=60, seed=1)
    for pair in source.pairs():
        assert source.image(pair.id).mode == "RGB"


def test_a_name_opens_the_same_source_again(folder: Path) -> None:
    source = open_source(str(folder), sample=5, seed=3, caption_column="caption")
    again = open_source(source.name)
    assert again.name == source.name == f"folder:{folder}#caption=caption,sample=5,seed=3"
    assert again.pairs() == source.pairs()
    assert again.fingerprint == source.fingerprint


def test_a_path_may_hold_a_number_sign(folder: Path) -> None:
    odd = folder.rename(folder.parent / "odd #1")
    assert len(open_source(f"folder:{odd}").pairs()) == 12
    assert len(open_source(f"folder:{odd}#sample=2").pairs()) == 2


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("pockte", "Unknown source 'pockte'. Did you mean 'pocket'"),
        ("foldr:x", "Did you mean 'folder'"),
        ("./nowhere", "existing folder"),
        ("folder", "names no place"),
        ("pocket:x", "has a place"),
        ("folder:/nowhere/at/all", "no folder"),
        ("parquet:/nowhere/*.parquet", "no Parquet file"),
        ("/nowhere/a.parquet", "no Parquet file"),
        ("pocket#sample=many", "no whole number"),
        ("pocket#sample=3,sed=4", "source option 'sed'. Did you mean 'seed'"),
        ("pocket#sample=100000", "100,000 pairs was asked"),
        ("pocket#sample=0", "sample of 0"),
    ],
)
def test_specs_that_cannot_be_opened(spec: str, words: str) -> None:
    with pytest.raises(StimulusError, match=words):
        open_source(spec)


def test_plug_ins_are_found(monkeypatch: pytest.MonkeyPatch, colours) -> None:
    import wheresight.stimuli.sources as sources

    class Entry:
        name, value = "colours", "plug:open"

    class Plug:
        @staticmethod
        def open(location: str, options: Options) -> object:
            assert (location, options.sample) == ("8", 3)
            return colours

    monkeypatch.setattr(sources, "entry_points", lambda group: [Entry])
    monkeypatch.setitem(sys.modules, "plug", Plug)
    assert open_source("colours:8", sample=3) is colours


def test_sampling_takes_the_smallest_hashes() -> None:
    rows = [str(i) for i in range(500)]
    ten = Options(sample=10, seed=4).select(rows, str, "x")
    assert Options(sample=10, seed=4).select(reversed(rows), str, "x") == ten
    assert Options(sample=100, seed=4).select(rows, str, "x")[:10] == ten
    assert Options(sample=10, seed=5).select(rows, str, "x") != ten
    without = [row for row in rows if row != "499"]
    assert Options(sample=10, seed=4).select(without, str, "x") == ten
    assert Options().select(rows, str, "x") == rows


def test_samples_are_even() -> None:
    counts = dict.fromkeys(map(str, range(20)), 0)
    for seed in range(1000):
        for row in Options(sample=5, seed=seed).select(list(counts), str, "x"):
            counts[row] += 1
    # 250 each, standard deviation near 14.
    assert all(180 < count < 320 for count in counts.values())


def test_an_id_that_comes_twice_is_refused() -> None:
    for sample in (None, 3):
        with pytest.raises(StimulusError, match="two pairs with the id 'a'"):
            Options(sample=sample).select(["a", "b", "a"], str, "The source 'x'")


def test_no_rows_at_all() -> None:
    with pytest.raises(StimulusError, match="holds no pairs"):
        Options().select([], str, "The source 'x'")


def test_an_unknown_pair_is_named(folder: Path) -> None:
    with pytest.raises(StimulusError, match=r"Unknown pair 'images/99.png'"):
        open_source(str(folder)).image("images/99.png")
