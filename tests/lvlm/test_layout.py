"""Layouts of all families, by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import wheresight
from wheresight.errors import ModelError
from wheresight.lvlm.layout import ImageSpan, ImageTokens, Kind, Layout, layout_of
from wheresight.lvlm.spans import ImageSizes, place, place_chunk, runs_of

P, S, T, G, H, N, L = (
    Kind.PAD,
    Kind.SYSTEM,
    Kind.TEXT,
    Kind.PATCH,
    Kind.THUMBNAIL,
    Kind.NEWLINE,
    Kind.LOOSE,
)


def layout(make_model: Any, make_batch: Any, family: str, rows: Any, side: str = "left") -> Layout:
    batch = make_batch(family, rows, side)
    found = wheresight.wrap(make_model(family)).layout(batch.inputs)
    spans = [
        [(s.start, s.stop - s.start, s.tokens.height, s.tokens.width) for s in own]
        for own in found.images
    ]
    assert spans == batch.images
    assert found.kind.shape == batch.inputs["input_ids"].shape
    assert (found.batch, found.length) == tuple(found.kind.shape)
    return found


@pytest.mark.parametrize("side", ["left", "right"])
def test_standard_batches(
    family: str, rows: Any, make_model: Any, make_batch: Any, side: str
) -> None:
    found = layout(make_model, make_batch, family, rows, side)
    batch = make_batch(family, rows, side)
    assert torch.equal(found.of(Kind.PAD), batch.inputs["attention_mask"] == 0)
    assert torch.equal(found.image >= 0, batch.inputs["input_ids"] == 90)
    assert found.most_images == max(len(images) for images in batch.images)
    # Every token of a main grid is there once, row by row.
    for b, spans in enumerate(found.images):
        for span in spans:
            assert span.complete
            inside = slice(span.start, span.stop)
            here = found.kind[b, inside] == Kind.PATCH
            height, width = span.tokens.height, span.tokens.width
            flat = found.row[b, inside][here] * width + found.column[b, inside][here]
            assert flat.tolist() == list(range(height * width))


def test_llava_with_padding_adjacent_images_and_a_row_without(
    make_model: Any, make_batch: Any
) -> None:
    found = layout(make_model, make_batch, "llava", [[1, "i", "i", 2], [3]])
    image = [G] * 9
    assert found.kind.tolist() == [[S, *image, *image, T, T], [P] * 18 + [T] * 3]
    assert found.image.tolist()[0] == [-1, *[0] * 9, *[1] * 9, -1, -1]
    assert found.row.tolist()[0][1:10] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert found.column.tolist()[0][1:10] == [0, 1, 2] * 3
    assert not found.ends_in_image


def test_next_names_thumbnail_grid_and_newlines(make_model: Any, make_batch: Any) -> None:
    found = layout(make_model, make_batch, "next_llama", [[1, (8, 16), (16, 8), 1]])
    wide = [H, H, H, H, *([G] * 4 + [N]) * 2]
    tall = [H, H, H, H, *([G] * 2 + [N]) * 4]
    assert found.kind.tolist() == [[S, *wide, *tall, T]]
    assert found.row[0, 1:15].tolist() == [0, 0, 1, 1, *[0] * 5, *[1] * 5]
    assert found.column[0, 1:15].tolist() == [0, 1, 0, 1, *[0, 1, 2, 3, 4] * 2]


def test_qwen_names_what_stands_around_an_image_text(make_model: Any, make_batch: Any) -> None:
    found = layout(make_model, make_batch, "qwen", [[1, (1, 2), 1]])
    assert found.kind.tolist() == [[S, S, G, G, T, T]]


def test_next_grids_match_the_packing_of_transformers(make_model: Any) -> None:
    """Every size up to 40 x 40 pixels, odd ones too, against the stock feature packing."""
    model = make_model("next_llama")
    lvlm = wheresight.wrap(model)
    side = 2
    for height in range(2, 41, 3):
        for width in range(2, 41, 4):
            sizes = torch.tensor([[height, width]])
            (tokens,) = lvlm.family.image_sizes(model, {"image_sizes": sizes}, []).images
            from transformers.models.llava_next.modeling_llava_next import (
                image_size_to_num_patches,
            )

            tiles = image_size_to_num_patches((height, width), model.config.image_grid_pinpoints, 8)
            features = torch.zeros(tiles, side * side, 64)
            packed, _ = model.model.pack_image_features(
                [features], sizes, "default", image_newline=torch.ones(64)
            )
            assert tokens.count == len(packed[0]), (height, width)
            newline = packed[0].bool().all(-1).nonzero().flatten().tolist()
            table = tokens.table()
            assert (table[0] == Kind.NEWLINE).nonzero().flatten().tolist() == newline


def test_generate_finds_grids_again(make_model: Any, make_batch: Any) -> None:
    """generate drops image sizes; grids are read off newlines (LLaVA-NeXT) and ids (Qwen)."""
    from wheresight.lvlm.history import history_of

    for family, rows in (
        ("next_mistral", [[2, (8, 16), (16, 8), 3], [1, (9, 16), 2]]),
        ("qwen", [[2, (2, 3), 1, (4, 2), 3], [1, (1, 5), 2]]),
    ):
        model, batch = make_model(family), make_batch(family, rows)
        with torch.no_grad(), wheresight.intervene(model, "bapa"):
            out = model.generate(
                **batch.inputs, max_new_tokens=2, do_sample=False, return_dict_in_generate=True
            )
        history = history_of(out.past_key_values)
        assert history is not None
        want = wheresight.wrap(model).layout(batch.inputs)
        assert history.layout.images == want.images
        assert torch.equal(history.layout.kind[:, : want.length], want.kind)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input_ids": None}, "needs input_ids"),
        ({"image_sizes": torch.tensor([[8, 16]])}, "no image is left"),
        ({"image_sizes": torch.tensor([[16, 16], [8, 16]])}, "that row takes 24"),
        ({"image_sizes": torch.tensor([[8, 16]] * 3)}, "only 2 of them"),
        ({"image_sizes": None}, "do not tell the sizes"),
        ({"attention_mask": torch.ones(1, 4)}, "expected the same"),
    ],
)
def test_what_does_not_fit_is_told(
    make_model: Any, make_batch: Any, change: dict[str, Any], message: str
) -> None:
    batch = make_batch("next_llama", [[1, (8, 16), 2, (8, 16), 1]])
    with pytest.raises(ModelError, match=message):
        wheresight.wrap(make_model("next_llama")).layout({**batch.inputs, **change})


def test_tables() -> None:
    tokens = ImageTokens(2, 1, thumbnail=(1, 2), newlines=True, loose=1)
    assert tokens.count == 1 + 2 + 4
    assert tokens.table().tolist() == [
        [L, H, H, G, N, G, N],
        [-1, 0, 0, 0, 0, 1, 1],
        [-1, 0, 1, 0, 1, 0, 1],
    ]


def test_take_extend_and_cut() -> None:
    spans = ((ImageSpan(1, 3, ImageTokens(1, 2)),), ())
    whole = layout_of(spans, None, torch.zeros(2, 5))
    twice = whole.take(torch.tensor([1, 0, 0]))
    assert twice.images == ((), spans[0], spans[0])
    assert torch.equal(twice.kind, whole.kind[[1, 0, 0]])
    longer = whole.extended(2)
    assert longer.kind.tolist() == [[S, G, G, T, T, T, T], [T] * 7]
    assert longer.images == spans
    half = longer.cut(2)
    assert half.images == ((ImageSpan(1, 2, ImageTokens(1, 2)),), ())
    assert not half.images[0][0].complete
    assert half.ends_in_image
    assert longer.cut(1).images == ((), ())


def test_runs() -> None:
    mask = torch.tensor([[1, 1, 0, 1], [0, 0, 0, 0], [0, 1, 1, 1]]).bool()
    assert runs_of(mask) == [[(0, 2), (3, 4)], [], [(1, 4)]]


def test_chunks_know_old_images_and_new_ones() -> None:
    a, b = ImageTokens(1, 2), ImageTokens(1, 3)
    before = ((ImageSpan(0, 2, a),),)
    runs = [[(0, 2), (4, 7)]]
    want = ((ImageSpan(0, 2, a), ImageSpan(4, 7, b)),)
    # Sizes of the new image only, of the whole conversation, or none that can be trusted.
    assert place_chunk(runs, ImageSizes([b]), before, 9) == want
    assert place_chunk(runs, ImageSizes([a, b]), before, 9) == want
    loose = place_chunk(runs, ImageSizes(declared=False), before, 9)
    assert loose == ((ImageSpan(0, 2, a), ImageSpan(4, 7, ImageTokens(0, 0, loose=3))),)
    with pytest.raises(ModelError, match="no image is left"):
        place_chunk(runs, ImageSizes([a]), ((),), 9)


def test_chunks_may_cut_an_image() -> None:
    a, b = ImageTokens(1, 4), ImageTokens(1, 2)
    first = place_chunk([[(1, 3)]], ImageSizes([a, b]), ((),), 3)
    assert first == ((ImageSpan(1, 3, a),),)
    assert not first[0][0].complete
    second = place_chunk([[(1, 7)]], ImageSizes([a, b]), first, 8)
    assert second == ((ImageSpan(1, 5, a), ImageSpan(5, 7, b)),)
    # Which row gets the second image cannot be known while it is not there.
    with pytest.raises(ModelError):
        place_chunk([[(1, 3)], [(1, 3)]], ImageSizes([a, b, a]), ((), ()), 3)
    # Nothing but runs to go by: the run goes on, so the image does.
    half = place_chunk([[(1, 3)]], ImageSizes(declared=False), ((),), 3)
    grown = place_chunk([[(1, 6)]], ImageSizes([b], declared=False), half, 8)
    assert grown == ((ImageSpan(1, 6, ImageTokens(0, 0, loose=5)),),)


def test_prompts_must_be_whole_outside_of_calls() -> None:
    with pytest.raises(ModelError, match="takes 4"):
        place([[(1, 3)]], ImageSizes([ImageTokens(1, 4)], same=True), 3)


def test_a_newline_that_closes_the_grid() -> None:
    kind, row, column = ImageTokens(2, 2, closing=True, hidden=1).table()
    assert ImageTokens(2, 2, closing=True, hidden=1).count == 6
    assert kind.tolist() == [Kind.PATCH] * 4 + [Kind.NEWLINE, Kind.HIDDEN]
    assert row.tolist() == [0, 0, 1, 1, 1, -1]
    assert column.tolist() == [0, 1, 0, 1, 2, -1]
