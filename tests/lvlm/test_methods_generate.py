"""Methods on rows of the prompt, through generate: by hand, the whole sequence anew each step."""

from __future__ import annotations

import copy
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import wheresight
from wheresight.errors import ModelError

sys.path.insert(0, str(Path(__file__).parent))
import by_hand as hand

families = pytest.mark.parametrize("kind", hand.FAMILIES)
ROWS: dict[str, list[list[Any]]] = {
    "llava": [[2, "i", 2, "i", 6], [3, "i", 5], [7]],
    "llava_gqa": [["i", 5], [2, "i", "i", 2, "i", 6]],
    "next_llama": [[3, (16, 16), 5], [2, (8, 16), (16, 8), 4], [6]],
    "next_mistral": [[3, (9, 16), 5], [2, (8, 8), 3, (16, 16), 4]],
    "qwen": [[3, (2, 3), 2, (4, 5), 2], [1, (3, 3), 3], [5]],
    "gemma": [[3, "i", 4], [2, "i", 2, "i", 5], [6]],
}


def factor_of(alpha: Any, batch: Any, rows: str, steps: int) -> Callable[..., torch.Tensor]:
    """Logits of image keys times alpha in rows of the prompt, `steps` columns before the end."""
    wanted = (hand.last_of if rows == "last" else hand.text_after)(batch)
    image = hand.image_of(batch)

    def edit(layer: int, logits: torch.Tensor) -> torch.Tensor:
        wide = torch.nn.functional.pad(wanted, (0, steps))
        keys = torch.nn.functional.pad(image, (0, steps))
        at = wide[:, None, :, None] & keys[:, None, None]
        return torch.where(at, logits * alpha, logits)

    return edit


def grown(batch: Any, tokens: torch.Tensor) -> Any:
    """The batch with text tokens (B, n) behind it; only what the reference looks at."""
    more = copy.copy(batch)
    mask = batch.inputs["attention_mask"]
    more.inputs = {"attention_mask": torch.cat([mask, torch.ones_like(tokens)], 1)}
    return more


def whole(model: Any, batch: Any, kind: str, tokens: torch.Tensor, alpha: Any, rows: str) -> Any:
    """Logits (B, T + n, V) of the prompt and n tokens behind it."""
    embeddings = hand.captured(model, batch)
    longer = grown(batch, tokens)
    with torch.no_grad():
        embeddings = torch.cat([embeddings, model.get_input_embeddings()(tokens)], 1)
    plan = hand.stock_plan(model, longer, kind)
    plan.logits = factor_of(alpha, batch, rows, tokens.shape[1])
    return hand.logits_of(model, embeddings, plan)


def greedy(model: Any, batch: Any, kind: str, alpha: Any, rows: str, steps: int) -> Any:
    tokens = batch.inputs["input_ids"][:, :0]
    found = []
    for _ in range(steps):
        logits = whole(model, batch, kind, tokens, alpha, rows)[:, -1]
        found.append(logits)
        allowed = logits.clone()
        allowed[:, [90, 93]] = -torch.inf
        tokens = torch.cat([tokens, allowed.argmax(-1)[:, None]], 1)
    return tokens, torch.stack(found)


OPTIONS = {
    "max_new_tokens": 3,
    "do_sample": False,
    "output_logits": True,
    "return_dict_in_generate": True,
}


@families
@pytest.mark.parametrize("rows", ["last", "text"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_scalingvis(make_model: Any, make_batch: Any, kind: str, rows: str, attention: str) -> None:
    model, batch = make_model(kind, attention=attention), make_batch(kind, ROWS[kind])
    tokens, logits = greedy(model, batch, kind, 2.5, rows, 3)
    with torch.no_grad(), wheresight.intervene(model, f"scalingvis:alpha=2.5,rows={rows}"):
        out = model.generate(**batch.inputs, **OPTIONS)
        again = model.generate(**batch.inputs, **OPTIONS)
    assert torch.equal(out.sequences[:, -3:], tokens)
    assert (torch.stack(out.logits) - logits).abs().max() < 5e-5
    assert torch.equal(out.sequences, again.sequences)


@families
def test_one_prompt_without_padding(make_model: Any, make_batch: Any, kind: str) -> None:
    """There generate drops the mask of ones."""
    model, batch = make_model(kind), make_batch(kind, ROWS[kind][1:2])
    tokens, logits = greedy(model, batch, kind, 2.5, "last", 3)
    with torch.no_grad(), wheresight.intervene(model, "scalingvis:alpha=2.5"):
        out = model.generate(**batch.inputs, **OPTIONS)
    assert torch.equal(out.sequences[:, -3:], tokens)
    assert (torch.stack(out.logits) - logits).abs().max() < 5e-5


@families
def test_adaptvis(make_model: Any, make_batch: Any, kind: str) -> None:
    model, batch = make_model(kind), make_batch(kind, ROWS[kind])
    none = batch.inputs["input_ids"][:, :0]
    plain = whole(model, batch, kind, none, 1.0, "last")[:, -1].softmax(-1).amax(-1)
    some = plain[: len([own for own in batch.images if own])]
    threshold = float(some.mean())
    alpha = torch.where(plain < threshold, 0.2, 2.5)[:, None, None, None]
    tokens, logits = greedy(model, batch, kind, alpha, "last", 3)
    spec = f"adaptvis:low=0.2,high=2.5,threshold={threshold!r}"
    with torch.no_grad(), wheresight.intervene(model, spec) as active:
        out = model.generate(**batch.inputs, **OPTIONS)
    assert torch.equal(out.sequences[:, -3:], tokens)
    assert (torch.stack(out.logits) - logits).abs().max() < 5e-5
    # The second look at the last row is no call of the user's.
    assert active.calls == 3


@families
@pytest.mark.parametrize("spec", ["scalingvis:alpha=2.5", "adaptvis:low=2.5,high=2.5"])
def test_beams(make_model: Any, make_batch: Any, kind: str, spec: str) -> None:
    """The score of each beam is the sum of log probabilities of its tokens, worked out by hand."""
    model, batch = make_model(kind), make_batch(kind, ROWS[kind][:2])
    options = {
        "num_beams": 3,
        "num_return_sequences": 3,
        "length_penalty": 0.0,
        "output_scores": True,
    }
    with torch.no_grad(), wheresight.intervene(model, spec):
        out = model.generate(**batch.inputs, **OPTIONS, **options)
    tokens = out.sequences[:, -3:]
    for n in range(3):
        own = tokens[n::3]
        logits = whole(model, batch, kind, own[:, :-1], 2.5, "last")[:, -3:]
        score = logits.log_softmax(-1).gather(-1, own[..., None])[..., 0].sum(1)
        assert (score - out.sequences_scores[n::3]).abs().max() < 1e-4


@pytest.mark.parametrize("spec", ["scalingvis:alpha=2", "shift:amount=1,rows=text", "adaptvis"])
@pytest.mark.parametrize(
    "option", [{"use_cache": False}, {"prompt_lookup_num_tokens": 3}, {"prefill_chunk_size": 4}]
)
def test_generate_that_hides_the_last_row_is_refused(
    make_model: Any, make_batch: Any, spec: str, option: dict[str, Any]
) -> None:
    model, batch = make_model("llava"), make_batch("llava", [[3, "i", 4]])
    name = next(iter(option))
    with (
        torch.no_grad(),
        wheresight.intervene(model, spec),
        pytest.raises(ModelError, match=name),
    ):
        model.generate(**batch.inputs, max_new_tokens=2, **option)
    with torch.no_grad(), wheresight.intervene(model, spec):
        config = copy.deepcopy(model.generation_config)
        setattr(config, name, option[name])
        with pytest.raises(ModelError, match=name):
            model.generate(**batch.inputs, generation_config=config, max_new_tokens=2)


@pytest.mark.parametrize("kind", ["llava", "next_llama", "gemma"])
@pytest.mark.parametrize("rows", ["last", "text"])
@pytest.mark.parametrize("edges", [[14, 16], [15]])
def test_a_prompt_in_parts_is_told_apart(
    make_model: Any, make_batch: Any, kind: str, rows: str, edges: list[int]
) -> None:
    model = make_model(kind)
    size = "i" if kind != "next_llama" else (8, 8)
    batch = make_batch(kind, [[3, size, 9], [2, size, 8]])
    parts = [0, *edges, batch.inputs["input_ids"].shape[1]]
    with torch.no_grad(), wheresight.intervene(model, f"scalingvis:alpha=2.5,rows={rows}") as on:
        want = model(**batch.inputs).logits
        cache, got = None, []
        for start, stop in itertools.pairwise(parts):
            inputs = {
                k: v[:, start:stop] if v.ndim == 2 and k in ("input_ids", "token_type_ids") else v
                for k, v in batch.inputs.items()
                if start == 0 or k in ("input_ids", "attention_mask")
            }
            inputs["attention_mask"] = batch.inputs["attention_mask"][:, :stop]
            with on.prompt("ends" if stop == parts[-1] else "inside"):
                out = model(**inputs, past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            got.append(out.logits)
    assert hand.difference(torch.cat(got, 1), want, batch) < 5e-5


def test_a_single_last_token_is_the_end_of_a_prompt_if_it_is_said_to_be(
    make_model: Any, make_batch: Any
) -> None:
    model, batch = make_model("llava"), make_batch("llava", [[3, "i", 4]])
    ids, pixels = batch.inputs["input_ids"], batch.inputs["pixel_values"]
    for spec in ("scalingvis:alpha=3", "adaptvis:low=3,high=3"):
        with torch.no_grad(), wheresight.intervene(model, spec) as active:
            want = model(**batch.inputs).logits[:, -1]
            found = {}
            for stage in ("ends", None):
                with active.prompt("inside"):
                    cache = model(input_ids=ids[:, :-1], pixel_values=pixels).past_key_values
                if stage:
                    with active.prompt(stage):
                        out = model(input_ids=ids[:, -1:], past_key_values=cache)
                else:
                    out = model(input_ids=ids[:, -1:], past_key_values=cache)
                found[stage] = out.logits[:, -1]
        assert (found["ends"] - want).abs().max() < 2e-5
        assert (found[None] - want).abs().max() > 1e-2


@pytest.mark.parametrize("kind", ["llava_gqa", "next_llama", "qwen", "gemma"])
@pytest.mark.parametrize(
    "more",
    [
        "bapa",
        "bapa_cross",
        "pype:jump=1",
        "pool:side=2",
        "pool:side=2+bapa_cross",
        "cca+reverse",
        "drop:fraction=0.5",
        "mask:bidirectional+agci",
        "v2pe+permute",
    ],
)
def test_adaptvis_beside_other_seams(
    make_model: Any, make_batch: Any, kind: str, more: str
) -> None:
    """With one factor for all it is scalingvis, although the last row was run twice."""
    model, batch = make_model(kind), make_batch(kind, ROWS[kind])
    found = []
    for spec in ("adaptvis:low=2.5,high=2.5", "scalingvis:alpha=2.5"):
        with torch.no_grad(), wheresight.intervene(model, f"{more}+{spec}"):
            out = model.generate(**batch.inputs, **OPTIONS)
            found.append((model(**batch.inputs).logits[:, -1], torch.stack(out.logits)))
            assert torch.equal(out.sequences[:, -3], found[-1][0].argmax(-1))
    for a, b in zip(*found, strict=True):
        assert (a - b).abs().max() < 1e-4


@pytest.mark.parametrize("kind", ["llava", "qwen", "gemma"])
@pytest.mark.parametrize("how", ["tuple", "kept", "no cache"])
def test_adaptvis_in_other_forms_of_call(
    make_model: Any, make_batch: Any, kind: str, how: str
) -> None:
    model, batch = make_model(kind), make_batch(kind, ROWS[kind])
    with torch.no_grad(), wheresight.intervene(model, "adaptvis:low=3,high=3"):
        want = model(**batch.inputs)
        if how == "tuple":
            got = model(**batch.inputs, return_dict=False)
            assert isinstance(got, tuple)
            assert torch.equal(got[0], want.logits)
        elif how == "kept":
            got = model(**batch.inputs, logits_to_keep=1)
            assert got.logits.shape[1] == 1
            assert (got.logits[:, -1] - want.logits[:, -1]).abs().max() < 2e-5
        else:
            got = model(**batch.inputs, use_cache=False)
            assert got.past_key_values is None
            assert torch.equal(got.logits, want.logits)
    with torch.no_grad(), wheresight.intervene(model, "scalingvis:alpha=3"):
        assert hand.difference(model(**batch.inputs).logits, want.logits, batch) < 2e-5


def test_adaptvis_needs_rows_that_end_with_their_prompt(make_model: Any, make_batch: Any) -> None:
    model = make_model("llava")
    right = make_batch("llava", [[3, "i", 4], [3, "i", 6]], side="right")
    with (
        torch.no_grad(),
        wheresight.intervene(model, "adaptvis"),
        pytest.raises(ModelError, match="Pad on the left"),
    ):
        model(**right.inputs)


def test_adaptvis_needs_the_last_token_and_its_logits(make_model: Any, make_batch: Any) -> None:
    model, batch = make_model("llava"), make_batch("llava", [[3, "i", 4]])
    ids, pixels = batch.inputs["input_ids"], batch.inputs["pixel_values"]
    with torch.no_grad(), wheresight.intervene(model, "adaptvis:low=3,high=3") as active:
        want = model(**batch.inputs).logits
        kept = model(**batch.inputs, logits_to_keep=torch.tensor([4, 15])).logits
        assert torch.equal(kept[:, 1], want[:, -1])
        with pytest.raises(ModelError, match="Put it last"):
            model(**batch.inputs, logits_to_keep=torch.tensor([4]))
        # A prompt cannot end with its image, whose token cannot be run again by itself.
        with pytest.raises(ModelError, match="prompt..inside"):
            model(input_ids=ids[:, :12], pixel_values=pixels)
        with active.prompt("inside"):
            cache = model(input_ids=ids[:, :12], pixel_values=pixels).past_key_values
        got = model(input_ids=ids[:, 12:], past_key_values=cache).logits
    assert (got - want[:, 12:]).abs().max() < 2e-5


def test_adaptvis_leaves_a_cache_of_the_usual_size(make_model: Any, make_batch: Any) -> None:
    """What a sliding window keeps for the second look is given up again."""
    model, batch = make_model("gemma"), make_batch("gemma", ROWS["gemma"])
    sizes = []
    for spec in ("none", "adaptvis:low=3,high=3"):
        with torch.no_grad(), wheresight.intervene(model, spec):
            cache = model(**batch.inputs).past_key_values
            sizes.append([layer.keys.shape[2] for layer in cache.layers])
    assert sizes[0] == sizes[1]
    assert sizes[0][0] < sizes[0][1]


@families
def test_right_padding_ends_where_the_text_ends(
    make_model: Any, make_batch: Any, kind: str
) -> None:
    model = make_model(kind)
    left, right = (make_batch(kind, ROWS[kind], side=side) for side in ("left", "right"))
    with torch.no_grad(), wheresight.intervene(model, "scalingvis:alpha=2.5"):
        a, b = model(**left.inputs).logits, model(**right.inputs).logits
    for row, length in enumerate(left.lengths):
        assert (a[row, -length:] - b[row, :length]).abs().max() < 5e-5


@pytest.mark.parametrize("kind", ["llava", "qwen", "gemma"])
def test_a_beginning_in_evaluation_mode_only(make_model: Any, make_batch: Any, kind: str) -> None:
    model, batch = make_model(kind).train(), make_batch(kind, ROWS[kind])
    with (
        wheresight.intervene(model, "adaptvis"),
        pytest.raises(ModelError, match="no gradient"),
    ):
        model(**batch.inputs)
