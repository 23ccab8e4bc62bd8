"""Methods by other ways in: branched and static caches, turns, adapters, copies, training."""

from __future__ import annotations

import copy
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import peft
import pytest
import torch
from transformers import StaticCache

import wheresight
from wheresight.errors import ModelError, SpecError
from wheresight.interventions.attention.chosen import Chosen
from wheresight.interventions.spec import canonical, parse
from wheresight.lvlm.history import branch

sys.path.insert(0, str(Path(__file__).parent))
import by_hand as hand

families = pytest.mark.parametrize("kind", hand.FAMILIES)
LINE = [f for f in hand.FAMILIES if f != "qwen"]
ROWS: dict[str, list[list[Any]]] = {
    "llava": [[2, "i", 2, "i", 6], [3, "i", 5], [7]],
    "llava_gqa": [["i", 5], [2, "i", "i", 2, "i", 6], [7]],
    "next_llama": [[3, (16, 16), 5], [2, (8, 16), (16, 8), 4], [6]],
    "next_mistral": [[3, (9, 16), 5], [2, (8, 8), 3, (16, 16), 4], [6]],
    "qwen": [[3, (2, 3), 2, (4, 5), 2], [1, (3, 3), 3], [5]],
    "gemma": [[3, "i", 4], [2, "i", 2, "i", 5], [6]],
}
# One of each seam and each special way through one.
KINDS = [
    "pype:jump=1",
    "bapa:layers=odd",
    "bapa_cross",
    "v2pe:span=1.5",
    "cca",
    "reverse",
    "mask:bidirectional",
    "agci",
    "pool:side=2",
    "pool:side=2+bapa_cross",
    "drop:fraction=0.5",
    "scalingvis:alpha=2.5",
    "scalingvis:alpha=2.5,rows=text",
    "temperature:alpha=3,rows=text,layers=1",
    "adaptvis:low=0.2,high=2.5",
    "uac",
    "bapa_cross+scalingvis:alpha=2,rows=text",
]

# Methods with float ids, or with other rows of them than the model has.
AXES = {"qwen": ["videorope", "circle:radius=3"], "next_llama": ["mrope_on_1d", "id_align"]}


def cases(kinds: Any, specs: list[str]) -> list[tuple[str, str]]:
    """Pairs of a family and a spec."""
    return [(kind, spec) for kind in kinds for spec in [*specs, *AXES.get(kind, [])]]


def image_of(kind: str) -> Any:
    return {"qwen": (3, 3), "next_llama": (16, 8), "next_mistral": (16, 16)}.get(kind, "i")


def blank(batch: Any) -> dict[str, Any]:
    pixels = torch.zeros_like(batch.inputs["pixel_values"])
    return {**batch.inputs, "pixel_values": pixels}


def calibrated(active: Any, batch: Any) -> None:
    if any(i.needs_blank for i in active.interventions):
        active.calibrate(**blank(batch))


# ---- caches -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "spec"), cases(LINE, KINDS))
def test_questions_over_a_branched_prefix(
    make_model: Any, make_batch: Any, kind: str, spec: str
) -> None:
    """As scoring does it: a prefix with the image, right-padded suffixes, each row as if alone."""
    model = make_model(kind)
    batch = make_batch(kind, [[3, image_of(kind), 3]])
    prefix = batch.inputs["input_ids"].shape[1]
    lengths = [2, 5, 3] if "adaptvis" not in spec else [4, 4, 4]
    generator = torch.Generator().manual_seed(3)
    words = [torch.randint(5, 80, (n,), generator=generator) for n in lengths]
    ids = torch.nn.utils.rnn.pad_sequence(words, batch_first=True)
    real = torch.arange(ids.shape[1])[None] < torch.tensor(lengths)[:, None]
    mask = torch.cat([torch.ones(3, prefix, dtype=torch.long), real.long()], 1)
    with torch.no_grad(), wheresight.intervene(model, spec) as active:
        calibrated(active, batch)
        with active.prompt("inside"):
            cache = model(**batch.inputs, use_cache=True).past_key_values
        for _ in range(2):  # the prefix is not used up
            with active.prompt("ends"):
                got = model(
                    input_ids=ids,
                    attention_mask=mask,
                    position_ids=prefix + torch.arange(ids.shape[1]).expand(3, -1),
                    past_key_values=branch(cache, torch.tensor([0, 0, 0])),
                ).logits
            for row, n in enumerate(lengths):
                alone = {k: v for k, v in batch.inputs.items() if "image" in k or "pixel" in k}
                alone["input_ids"] = torch.cat([batch.inputs["input_ids"][0], words[row]])[None]
                alone["attention_mask"] = torch.ones_like(alone["input_ids"])
                if kind == "gemma":
                    alone["token_type_ids"] = (alone["input_ids"] == 90).long()
                want = model(**alone).logits
                assert (want[0, prefix:] - got[row, :n]).abs().max() < 1e-4


def pieces(model: Any, kind: str, batch: Any, edges: list[int], active: Any) -> torch.Tensor:
    """Logits of a batch of one row in calls that end at these columns, with their own pixels."""
    stock = hand.stock_ids(batch, kind).long()
    length = batch.inputs["input_ids"].shape[1]
    cache, found = None, []
    pixels, used = batch.inputs["pixel_values"], 0
    for start, stop in zip([0, *edges], [*edges, length], strict=True):
        inputs: dict[str, Any] = {"input_ids": batch.inputs["input_ids"][:, start:stop]}
        inputs["attention_mask"] = batch.inputs["attention_mask"][:, :stop]
        own = [n for n, (first, *_) in enumerate(batch.images[0]) if start <= first < stop]
        if own and kind == "qwen":
            grids = batch.inputs["image_grid_thw"][own]
            inputs["image_grid_thw"] = grids
            count = int(grids.prod(-1).sum())
            inputs["pixel_values"], used = pixels[used : used + count], used + count
        elif own:
            inputs["pixel_values"] = pixels[own]
            if "image_sizes" in batch.inputs:
                inputs["image_sizes"] = batch.inputs["image_sizes"][own]
        if kind == "qwen":
            inputs["position_ids"] = stock[..., start:stop]
            inputs["mm_token_type_ids"] = (inputs["input_ids"] == 90).long()
        if kind == "gemma":
            inputs["token_type_ids"] = batch.inputs["token_type_ids"][:, :stop]
        with active.prompt("ends" if stop == length else "inside"):
            out = model(**inputs, past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        found.append(out.logits)
    return torch.cat(found, 1)


@pytest.mark.parametrize(("kind", "spec"), cases(hand.FAMILIES, KINDS))
def test_another_image_in_a_second_turn(
    make_model: Any, make_batch: Any, kind: str, spec: str
) -> None:
    model, image = make_model(kind), image_of(kind)
    batch = make_batch(kind, [[2, image, 4, image, 5]])
    first, count, *_ = batch.images[0][0]
    with torch.no_grad(), wheresight.intervene(model, spec) as active:
        calibrated(active, batch)
        want = model(**batch.inputs).logits
        got = pieces(model, kind, batch, [first + count + 3], active)
        three = pieces(model, kind, batch, [first + count + 2, want.shape[1] - 2], active)
    keep = shown(model, batch, spec)
    assert (got - want)[keep].abs().max() < 1e-4
    assert (three - want)[keep].abs().max() < 1e-4


def shown(model: Any, batch: Any, spec: str) -> torch.Tensor:
    from wheresight.lvlm.layout import Kind

    layout = wheresight.wrap(model).layout(batch.inputs)
    for part in parse(spec):
        layout = part.relayout(layout)
    return hand.real_of(batch) & (layout.kind != Kind.HIDDEN)


@pytest.mark.parametrize("spec", ["cca", "mask:bidirectional", "reverse", "agci", "pool:side=2"])
def test_an_image_cut_in_two_is_refused(make_model: Any, make_batch: Any, spec: str) -> None:
    model, batch = make_model("llava"), make_batch("llava", [[3, "i", 5]])
    with torch.no_grad():
        features = model.model.get_image_features(batch.inputs["pixel_values"], return_dict=True)
        part = copy.copy(features)
        part.pooler_output = [features.pooler_output[0][:5]]
        rest = copy.copy(features)
        rest.pooler_output = [features.pooler_output[0][5:]]
        ids = batch.inputs["input_ids"]
        with wheresight.intervene(model, spec), pytest.raises(ModelError, match="cut in two"):
            in_two(model, ids, part, rest)


def in_two(model: Any, ids: torch.Tensor, part: Any, rest: Any) -> None:
    """Prefill 8 columns with the features of these, then what is left."""
    cache = model(input_ids=ids[:, :8], mm_encoder_outputs={"image": part}).past_key_values
    given = {"image": rest}
    model(input_ids=ids[:, 8:], mm_encoder_outputs=given, past_key_values=cache)


@pytest.mark.parametrize(("kind", "spec"), cases(hand.FAMILIES, KINDS))
def test_static_cache(make_model: Any, make_batch: Any, kind: str, spec: str) -> None:
    model, batch = make_model(kind), make_batch(kind, ROWS[kind])
    options = {
        "max_new_tokens": 3,
        "do_sample": False,
        "output_logits": True,
        "return_dict_in_generate": True,
    }
    with torch.no_grad(), wheresight.intervene(model, spec) as active:
        calibrated(active, batch)
        if "adaptvis" in spec:
            with pytest.raises(ModelError, match="StaticCache cannot give up a token"):
                model.generate(**batch.inputs, **options, cache_implementation="static")
            cache = StaticCache(config=hand.language(model).config, max_cache_len=80)
            with pytest.raises(ModelError, match="Use a DynamicCache"):
                model(**batch.inputs, past_key_values=cache)
            return
        dynamic = model.generate(**batch.inputs, **options)
        static = model.generate(**batch.inputs, **options, cache_implementation="static")
    assert torch.equal(dynamic.sequences, static.sequences)
    a, b = torch.stack(dynamic.logits), torch.stack(static.logits)
    assert (a - b).abs().max() < 1e-4


# What does not act on the rows of the prompt alone; the others are in test_methods_generate.
ALWAYS = [s for s in KINDS if not any(n in s for n in ("scaling", "adapt", "temperature"))]


@pytest.mark.parametrize(("kind", "spec"), cases(hand.FAMILIES, ALWAYS))
def test_beams_and_guesses(make_model: Any, make_batch: Any, kind: str, spec: str) -> None:
    """Beams with and without cache; a prompt's own words guessed ahead."""
    model, batch = make_model(kind), make_batch(kind, ROWS[kind][:2])
    options = {
        "max_new_tokens": 3,
        "num_beams": 3,
        "do_sample": False,
        "output_scores": True,
        "return_dict_in_generate": True,
    }
    one = make_batch(kind, ROWS[kind][:1])
    with torch.no_grad(), wheresight.intervene(model, spec) as active:
        calibrated(active, batch)
        cached = model.generate(**batch.inputs, **options)
        whole = model.generate(**batch.inputs, **options, use_cache=False)
        plain = model.generate(**one.inputs, max_new_tokens=6, do_sample=False)
        guessed = model.generate(
            **one.inputs, max_new_tokens=6, do_sample=False, prompt_lookup_num_tokens=3
        )
    assert torch.equal(cached.sequences, whole.sequences)
    assert (cached.sequences_scores - whole.sequences_scores).abs().max() < 1e-4
    assert torch.equal(plain, guessed)


POSITIONS = ["bapa", "bapa:text_only=true", "bapa_far", "bapa_cross", "v2pe:span=3", "cca", "mca"]
POSITIONS += [
    "pype:jump=1",
    "shuffle",
    "reverse",
    "spatial_reset",
    "videorope",
    "circle",
    "id_align",
]
POSITIONS += ["mrope_on_1d", "mask:causal", "mask:bidirectional", "mask:ring", "mask:ids"]


@pytest.mark.parametrize("spec", POSITIONS)
@pytest.mark.parametrize("kind", ["llava", "next_llama", "next_mistral", "qwen"])
def test_generate_in_chunks_is_exact_or_refused(
    make_model: Any, make_batch: Any, kind: str, spec: str
) -> None:
    """Chunks cut images; generate no longer tells their sizes."""
    model = make_model(kind)
    host = wheresight.wrap(model).family.host(model.config)
    if parse(spec)[0].refuses(host):
        pytest.skip("not hosted")
    batch = make_batch(kind, [[3, image_of(kind), 9]])
    options = {
        "max_new_tokens": 2,
        "do_sample": False,
        "output_logits": True,
        "return_dict_in_generate": True,
    }
    with torch.no_grad(), wheresight.intervene(model, spec):
        whole = model.generate(**batch.inputs, **options)
        parts, message = None, ""
        try:
            parts = model.generate(**batch.inputs, **options, prefill_chunk_size=5)
        except ModelError as error:
            message = str(error)
    if parts is None:
        assert "whole" in message
    else:
        assert (torch.stack(whole.logits) - torch.stack(parts.logits)).abs().max() < 1e-4


@pytest.fixture(scope="module")
def pocket() -> Any:
    return wheresight.load("pocket", device="cpu")


@pytest.mark.parametrize("spec", [*KINDS, "mrope_on_1d", "normalize", "permute"])
def test_scores_do_not_hang_on_how_they_are_made(pocket: Any, spec: str) -> None:
    """Prefixes shared or not, batches of any size, and the first logits of generate."""
    from PIL import Image

    from wheresight.lvlm.encoding import Query
    from wheresight.lvlm.scoring import Scorer

    noise = torch.randint(0, 255, (2, 64, 64, 3), generator=torch.Generator().manual_seed(0))
    pictures = [Image.fromarray(part.numpy().astype("uint8")) for part in noise]
    questions = ("Is there a cat?", "Does this show a red dog on the left?", "Is it a dog?")
    queries = [Query(picture, questions) for picture in pictures]
    found = []
    for share, size in ((True, 64), (False, 64), (True, 2), (False, 1)):
        scorer = Scorer(pocket, share_prefix=share, batch_size=size)
        found.append([a.margin for a in scorer.score(scorer.encode(queries), spec)])
    scorer = Scorer(pocket)
    encoded = scorer.encode(queries)
    found.append([a.margin for a in scorer.generate(encoded, spec, max_new_tokens=2)])
    plain = [a.margin for a in scorer.score(encoded, "none")]
    for other in found[1:]:
        assert other == pytest.approx(found[0], abs=2e-4)
    assert max(abs(a - b) for a, b in zip(plain, found[0], strict=True)) > 1e-3


# ---- other models -------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", KINDS)
@pytest.mark.parametrize("kind", ["llava_gqa", "qwen", "gemma"])
def test_with_adapters(make_model: Any, make_batch: Any, kind: str, spec: str) -> None:
    model, batch = make_model(kind), make_batch(kind, ROWS[kind])
    options = {"max_new_tokens": 3, "do_sample": False}
    with torch.no_grad(), wheresight.intervene(model, spec):
        want = model(**batch.inputs).logits
        tokens = model.generate(**batch.inputs, **options)
    twin = make_model(kind)
    adapted = peft.get_peft_model(
        twin, peft.LoraConfig(r=2, target_modules=r".*language_model.*(q_proj|v_proj)")
    ).eval()
    with torch.no_grad(), wheresight.intervene(adapted, spec) as active:
        got = adapted(**batch.inputs).logits
        again = adapted.generate(**batch.inputs, **options)
        assert active.calls == 4
    assert torch.equal(got, want)
    assert torch.equal(again, tokens)


@pytest.mark.parametrize("spec", KINDS)
@pytest.mark.parametrize("kind", ["llava", "qwen", "gemma"])
def test_a_copy_made_inside_is_stock(
    make_model: Any, make_batch: Any, kind: str, spec: str
) -> None:
    model, batch = make_model(kind), make_batch(kind, ROWS[kind])
    options = {"max_new_tokens": 2, "do_sample": False}
    with torch.no_grad():
        plain = model(**batch.inputs).logits
        tokens = model.generate(**batch.inputs, **options)
        with wheresight.intervene(model, spec):
            twin = copy.deepcopy(model)
            changed = model(**batch.inputs).logits
            assert torch.equal(twin(**batch.inputs).logits, plain)
            assert torch.equal(twin.generate(**batch.inputs, **options), tokens)
            assert torch.equal(model(**batch.inputs).logits, changed)
        assert torch.equal(twin(**batch.inputs).logits, plain)
        with wheresight.intervene(twin, spec):
            assert torch.equal(twin(**batch.inputs).logits, changed)
        assert torch.equal(twin(**batch.inputs).logits, plain)
        assert torch.equal(model(**batch.inputs).logits, plain)


@families
def test_nested_blocks_are_one_flat_block(make_model: Any, make_batch: Any, kind: str) -> None:
    model, batch = make_model(kind), make_batch(kind, ROWS[kind])
    parts = ["scalingvis:alpha=2,rows=text", "bapa:layers=1", "drop:fraction=0.3", "mask:ring"]
    with torch.no_grad():
        plain = model(**batch.inputs).logits
        with wheresight.intervene(model, "+".join(parts)) as active:
            flat = model(**batch.inputs).logits
            tokens = model.generate(**batch.inputs, max_new_tokens=2, do_sample=False)
            spec = active.spec
        with wheresight.intervene(model, parts[0]):
            one = model(**batch.inputs).logits
            with (
                wheresight.intervene(model, parts[1]),
                wheresight.intervene(model, parts[2]),
                wheresight.intervene(model, parts[3]) as inner,
            ):
                assert inner.spec == spec == canonical(parts)
                assert torch.equal(model(**batch.inputs).logits, flat)
                again = model.generate(**batch.inputs, max_new_tokens=2, do_sample=False)
                assert torch.equal(again, tokens)
            assert torch.equal(model(**batch.inputs).logits, one)
        assert torch.equal(model(**batch.inputs).logits, plain)


@pytest.mark.parametrize("specs", [("scalingvis:alpha=2", "bapa"), ("scalingvis:alpha=2",) * 2])
def test_two_models_that_share_one_configuration(
    make_model: Any, make_batch: Any, specs: tuple[str, str]
) -> None:
    """Switching the attention of one switches the other, whose outputs must not notice."""
    a = make_model("llava")
    b = type(a)(a.config).eval()
    b.load_state_dict(a.state_dict())
    assert b.model.language_model.config is a.model.language_model.config
    batch = make_batch("llava", ROWS["llava"])
    with torch.no_grad():
        plain = a(**batch.inputs).logits
        alone = []
        for model, spec in zip((a, b), specs, strict=True):
            with wheresight.intervene(model, spec):
                alone.append(model(**batch.inputs).logits)
        with wheresight.intervene(a, specs[0]):
            assert torch.equal(b(**batch.inputs).logits, plain)
            with wheresight.intervene(b, specs[1]):
                assert torch.equal(a(**batch.inputs).logits, alone[0])
                assert torch.equal(b(**batch.inputs).logits, alone[1])
            assert torch.equal(a(**batch.inputs).logits, alone[0])
            assert torch.equal(b(**batch.inputs).logits, plain)
        for model in (a, b):
            assert torch.equal(model(**batch.inputs).logits, plain)
    assert a.model.language_model.config._attn_implementation == "sdpa"


@dataclass(frozen=True)
class Broken(Chosen):
    """Fails in the attention function."""

    name: ClassVar[str] = "broken"

    def logits(self, logits: torch.Tensor, rows: Any) -> torch.Tensor:
        raise ZeroDivisionError


@families
def test_a_failure_in_the_attention_function_restores_the_model(
    make_model: Any, make_batch: Any, kind: str
) -> None:
    model, batch = make_model(kind), make_batch(kind, ROWS[kind])
    with torch.no_grad():
        plain = model(**batch.inputs).logits
        with wheresight.intervene(model, "bapa"):
            outer = model(**batch.inputs).logits
            for call in (model, model.generate):
                with pytest.raises(ZeroDivisionError), wheresight.intervene(model, Broken()):
                    call(**batch.inputs)
            assert torch.equal(model(**batch.inputs).logits, outer)
        assert torch.equal(model(**batch.inputs).logits, plain)
    assert hand.language(model).config._attn_implementation == "sdpa"
    assert "generate" not in vars(model)


# ---- training -----------------------------------------------------------------------------------

DIFFERENTIABLE = [s for s in KINDS if "adaptvis" not in s] + ["mrope_on_1d", "normalize"]


@pytest.mark.parametrize("spec", DIFFERENTIABLE)
@pytest.mark.parametrize("kind", ["llava_gqa", "qwen", "gemma"])
def test_gradients_flow(make_model: Any, make_batch: Any, kind: str, spec: str) -> None:
    if kind == "qwen" and spec == "mrope_on_1d":
        pytest.skip("it has M-RoPE already")
    model, batch = make_model(kind), make_batch(kind, ROWS[kind])
    real = hand.real_of(batch)
    with wheresight.intervene(model, spec):
        logits = model(**batch.inputs).logits[real]
        logits.float().log_softmax(-1)[:, 7].sum().backward()
    for name, weight in model.named_parameters():
        if "language_model" not in name or "proj" not in name:
            continue
        assert weight.grad is not None, name
        assert torch.isfinite(weight.grad).all(), name
        assert weight.grad.abs().max() > 0, name
    vision = [p.grad for n, p in model.named_parameters() if "vis" in n and p.grad is not None]
    assert any(g.abs().max() > 0 for g in vision)
    assert all(torch.isfinite(g).all() for g in vision)


LAYERED = ["pype:jump=1", "bapa:layers=odd", "mask:bidirectional", "agci", "pool:side=2"]


@pytest.mark.parametrize("spec", [*LAYERED, "drop:fraction=0.5", "cca"])
@pytest.mark.parametrize("kind", ["llava_gqa", "qwen", "gemma"])
@pytest.mark.parametrize("reentrant", [True, False])
def test_gradients_under_checkpointing(
    make_model: Any, make_batch: Any, kind: str, spec: str, reentrant: bool
) -> None:
    """The same as without, also where the backward pass is outside of the block."""
    batch = make_batch(kind, ROWS[kind])
    found = []
    for checkpointed in (False, True):
        model = make_model(kind).train()
        if checkpointed:
            model.gradient_checkpointing_enable({"use_reentrant": reentrant})
            model.enable_input_require_grads()
        with wheresight.intervene(model, spec):
            out = model(**batch.inputs, use_cache=False)
            loss = out.logits[hand.real_of(batch)].log_softmax(-1)[:, 7].sum()
        loss.backward()
        found.append({n: p.grad for n, p in model.named_parameters() if "language_model" in n})
    for name, grad in found[0].items():
        if grad is not None:
            assert torch.allclose(grad, found[1][name], rtol=1e-4, atol=1e-4), name


@pytest.mark.parametrize("spec", ["scalingvis:alpha=2,rows=text", "bapa_cross", "uac"])
@pytest.mark.parametrize("kind", ["llava", "qwen", "gemma"])
def test_attention_under_checkpointing_is_refused(
    make_model: Any, make_batch: Any, kind: str, spec: str
) -> None:
    model, batch = make_model(kind).train(), make_batch(kind, ROWS[kind])
    model.gradient_checkpointing_enable()
    with wheresight.intervene(model, spec), pytest.raises(ModelError, match="checkpointing"):
        model(**batch.inputs)
    model.eval()
    with torch.no_grad(), wheresight.intervene(model, spec):
        model(**batch.inputs)


# ---- calibration --------------------------------------------------------------------------------


def test_uac_without_pixels_or_text_behind_them_is_told(make_model: Any, make_batch: Any) -> None:
    model, batch = make_model("llava"), make_batch("llava", [[3, "i", 5]])
    inputs = dict(batch.inputs)
    pixels = inputs.pop("pixel_values")
    with torch.no_grad():
        features = model.model.get_image_features(pixels, return_dict=True)
        given = {"mm_encoder_outputs": {"image": features}}
        with wheresight.intervene(model, "uac") as active:
            with pytest.raises(ModelError, match="no pixels are given"):
                model(**inputs, **given)
            # A prompt that ends with its image has no text to measure, nor any to change.
            cut = {"input_ids": inputs["input_ids"][:, :12], "pixel_values": pixels}
            cache = model(**cut).past_key_values
            more = {"input_ids": inputs["input_ids"][:, 12:], "past_key_values": cache}
            with pytest.raises(ModelError, match="call calibrate"):
                model(**more)
            active.calibrate(**blank(batch))
            c = model(**more).logits
            a = model(**inputs, mm_encoder_outputs={"image": copy.copy(features)}).logits
            b = model(**batch.inputs).logits
    assert torch.equal(a, b)
    assert (c - b[:, 12:]).abs().max() < 2e-5


def test_uac_keeps_what_it_was_calibrated_on(make_model: Any, make_batch: Any) -> None:
    """Until the block is left, in forward calls and in generate alike."""
    model = make_model("llava")
    one, two = (make_batch("llava", [[3, "i", 5]], seed=n) for n in (1, 2))
    options = {"max_new_tokens": 1, "output_logits": True, "return_dict_in_generate": True}
    with torch.no_grad():
        with wheresight.intervene(model, "uac"):
            own = model(**two.inputs).logits[:, -1]
        with wheresight.intervene(model, "uac") as active:
            active.calibrate(**blank(one))
            forward = model(**two.inputs).logits[:, -1]
            generated = model.generate(**two.inputs, **options).logits[0]
        with wheresight.intervene(model, "uac"):
            fresh = model.generate(**two.inputs, **options).logits[0]
    assert (forward - generated).abs().max() < 2e-5
    assert (own - fresh).abs().max() < 2e-5
    assert (own - forward).abs().max() > 1e-4


@pytest.mark.parametrize("kind", ["llava", "qwen", "next_llama", "gemma"])
def test_uac_in_generate_is_given_ids_in_any_way(
    make_model: Any, make_batch: Any, kind: str
) -> None:
    model, batch = make_model(kind), make_batch(kind, ROWS[kind])
    rest = {k: v for k, v in batch.inputs.items() if k != "input_ids"}
    ids, options = batch.inputs["input_ids"], {"max_new_tokens": 3, "do_sample": False}
    found = []
    for positional, named in (((), {"input_ids": ids}), ((ids,), {}), ((), {"inputs": ids})):
        with torch.no_grad(), wheresight.intervene(model, "uac") as active:
            found.append(model.generate(*positional, **named, **rest, **options))
            assert active.calls == 3
            # A second turn over the cache, without pixels: calibrated before.
            model(**batch.inputs)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


# ---- composition --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "ordered"),
    [
        # Features come first, then positions, mask, attention.
        ("scalingvis:alpha=2+mask:ring+bapa+agci", "agci+bapa+mask:ring+scalingvis:alpha=2.0"),
        # Features: one after the other, as given.
        ("normalize+agci", "normalize+agci"),
        ("agci+normalize", "agci+normalize"),
        # What only rearranges ids acts after what assigns them.
        ("reverse+bapa", "bapa+reverse"),
        ("shuffle+reverse", "shuffle+reverse"),
        # What a method on features does to positions comes before.
        ("bapa+pool:side=2", "pool:side=2+bapa"),
        # Attention: one after the other, as given.
        ("shift:amount=1+scalingvis:alpha=2", "shift:amount=1.0+scalingvis:alpha=2.0"),
        ("scalingvis:alpha=2+shift:amount=1", "scalingvis:alpha=2.0+shift:amount=1.0"),
        # In different layers much goes together.
        ("bapa:layers=0+cca:layers=1", "bapa:layers=0+cca:layers=1"),
        ("bapa:layers=0+bapa:layers=1", "bapa:layers=0+bapa:layers=1"),
        ("cca:mask=false+mask:ids", "cca:mask=false+mask:ids"),
    ],
)
def test_order(written: str, ordered: str) -> None:
    assert canonical(written) == ordered


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("bapa+bapa", "one method twice"),
        ("agci+agci:lambda=0.1", "one method twice"),
        ("scalingvis:alpha=2+scalingvis:alpha=3", "one method twice"),
        ("bapa:layers=0-3+bapa:layers=3", "one method twice"),
        ("bapa+cca", "both assign the positions"),
        ("bapa_cross+bapa_far:layers=1", "both assign the positions"),
        ("cca+mask:ring", "both set the mask"),
        ("pool:side=2+drop:fraction=0.5", "both take image tokens away"),
        ("adaptvis+scalingvis:alpha=2", "chooses by the first answer"),
        ("uac+adaptvis", "chooses by the first answer"),
    ],
)
def test_what_does_not_go_together(spec: str, reason: str) -> None:
    with pytest.raises(SpecError, match=reason):
        parse(spec)


def test_parts_in_different_layers_act_there(make_model: Any, make_batch: Any) -> None:
    model, batch = make_model("llava"), make_batch("llava", ROWS["llava"])
    stock = hand.stock_plan(model, batch, "llava")
    embeddings = hand.captured(model, batch)
    bapa = hand.bapa_ids(batch, "llava")
    far = hand.count_ids(
        batch, "llava", lambda tokens, at: ([(at + 8,)] * len(tokens), len(tokens)), 1
    )
    stock.ids = [bapa, far]
    want = hand.logits_of(model, embeddings, stock)
    with torch.no_grad(), wheresight.intervene(model, "bapa:layers=0+bapa_far:layers=1"):
        got = model(**batch.inputs).logits
        out = model.generate(
            **batch.inputs,
            max_new_tokens=3,
            do_sample=False,
            output_logits=True,
            return_dict_in_generate=True,
        )
        whole = model.generate(**batch.inputs, max_new_tokens=3, do_sample=False, use_cache=False)
    assert hand.difference(got, want, batch) < 2e-5
    assert torch.equal(out.sequences, whole)


@pytest.mark.parametrize(
    "spec",
    [
        "bapa:layers=nan",
        "bapa:layers=-1",
        "bapa:layers=3-1",
        "bapa:layers=1.5",
        "bapa:layers=",
        "bapa:layers=0--2",
        "bapa:layers=0/x",
        "scalingvis:alpha=nan",
        "scalingvis:alpha=-1",
        "scalingvis:alpha=inf",
        "scalingvis:alpha=2,rows=first",
        "scalingvis:alpha=2,heads=-2",
        "shift:amount=nan",
        "pype:jump=0",
        "pool:side=0",
        "drop:fraction=1",
        "agci:lambda=-0.5",
        "uac:strength=1.5",
        "adaptvis:rows=text",
    ],
)
def test_parameters_that_cannot_be(spec: str) -> None:
    with pytest.raises(SpecError):
        parse(spec)


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        ("bapa:layers=2", "layer 2, but the model's layers are 0 to 1"),
        ("bapa:layers=0/5-9", "layer 9"),
        ("scalingvis:alpha=2,layers=7", "layer 7"),
        ("scalingvis:alpha=2,heads=4", "head 4, but the model's heads are 0 to 3"),
        ("mask:ring,layers=2", "layer 2"),
    ],
)
def test_layers_and_heads_that_the_model_does_not_have(
    make_model: Any, spec: str, what: str
) -> None:
    model = make_model("llava")
    with pytest.raises(SpecError, match=what), wheresight.intervene(model, spec):
        pass
    with wheresight.intervene(model, "bapa"):
        assert hand.language(model).config._attn_implementation == "sdpa"


def test_weights_kept_elsewhere(make_model: Any, make_batch: Any) -> None:
    """Layers are found by what they are given, also where accelerate wraps their forward."""
    import accelerate

    for spec in ("pype:jump=1", "bapa_cross", "mask:ring", "scalingvis:alpha=2", "normalize"):
        model, batch = make_model("llava"), make_batch("llava", ROWS["llava"])
        with torch.no_grad(), wheresight.intervene(model, spec):
            plain = model(**batch.inputs).logits
        accelerate.cpu_offload(model, execution_device=torch.device("cpu"))
        with torch.no_grad(), wheresight.intervene(model, spec):
            assert torch.equal(model(**batch.inputs).logits, plain)
