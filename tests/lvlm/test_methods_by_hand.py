"""Every seam against a forward pass that is written out (by_hand.py), in left-padded batches."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import wheresight

sys.path.insert(0, str(Path(__file__).parent))
import by_hand as hand

NEAR = 3e-5
LINE = [f for f in hand.FAMILIES if f != "qwen"]
families = pytest.mark.parametrize("kind", hand.FAMILIES)
# Images large enough for rings of more than one token, and rows of different lengths.
ROWS: dict[str, list[list[Any]]] = {
    "llava": [[3, "i", 5], [2, "i", 2, "i", 6], [1, "i", "i", 4], [7]],
    "llava_gqa": [["i", 5], [2, "i", "i", 2, "i", 6], [7]],
    "next_llama": [[3, (16, 16), 5], [2, (8, 16), (16, 8), 4], [6]],
    "next_mistral": [[3, (9, 16), 5], [2, (8, 8), 3, (16, 16), 4], [6]],
    "qwen": [[3, (2, 3), 2, (4, 5), 2], [1, (3, 3), 3], [0, (1, 5), 3], [5]],
    "gemma": [[3, "i", 4], [2, "i", 2, "i", 5], [6]],
}


@dataclasses.dataclass
class Case:
    """A model, a batch, and what is done by hand."""

    kind: str
    model: Any
    batch: Any
    embeddings: torch.Tensor
    stock: hand.Plan

    @property
    def layers(self) -> int:
        return len(self.stock.ids)

    def run(self, spec: Any, **more: Any) -> torch.Tensor:
        with torch.no_grad(), wheresight.intervene(self.model, spec):
            return self.model(**self.batch.inputs, **more).logits

    def ids(self, rule: Callable[..., Any], rows: int | None = None) -> torch.Tensor:
        return hand.count_ids(self.batch, self.kind, rule, rows or hand.rotary_rows(self.kind))

    def expected(self, **changes: Any) -> torch.Tensor:
        plan = dataclasses.replace(self.stock, seen={}, **changes)
        return hand.logits_of(self.model, self.embeddings, plan)

    def check(self, spec: Any, near: float = NEAR, moves: float = 1e-2, **changes: Any) -> None:
        """The model under a spec is the plan with these changes, and not the stock model."""
        want = self.expected(**changes)
        got = self.run(spec)
        assert hand.difference(got, want, self.batch) < near
        assert hand.difference(want, self.expected(), self.batch) > moves


@pytest.fixture
def case(make_model: Any, make_batch: Any) -> Callable[..., Case]:
    def make(kind: str, attention: str = "sdpa", rows: Any = None) -> Case:
        model = make_model(kind, attention=attention)
        batch = make_batch(kind, rows or ROWS[kind])
        embeddings = hand.captured(model, batch)
        return Case(kind, model, batch, embeddings, hand.stock_plan(model, batch, kind))

    return make


# ---- the reference itself -----------------------------------------------------------------------


@families
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_the_reference_is_the_stock_model(case: Any, kind: str, attention: str) -> None:
    made = case(kind, attention)
    with torch.no_grad():
        stock = made.model(**made.batch.inputs).logits
    assert hand.difference(made.expected(), stock, made.batch) < 2e-5
    # Ids that are off by one are not.
    other = [ids + hand.image_of(made.batch) for ids in made.stock.ids]
    assert hand.difference(made.expected(ids=other), stock, made.batch) > 1e-2


# ---- positions ----------------------------------------------------------------------------------


@families
@pytest.mark.parametrize("spec", ["bapa", "bapa:layers=0-0", "bapa:layers=odd"])
def test_bapa_in_some_layers(case: Any, kind: str, spec: str) -> None:
    made = case(kind)
    acts = {"bapa": lambda n: True, "bapa:layers=0-0": lambda n: n == 0}.get(
        spec, lambda n: n % 2 == 1
    )
    bapa = hand.bapa_ids(made.batch, kind)
    made.check(spec, ids=[bapa if acts(n) else ids for n, ids in enumerate(made.stock.ids)])


def test_bapa_moves_the_text_alone(case: Any) -> None:
    made = case("qwen")
    stock = hand.stock_rule("qwen")
    ids = made.ids(lambda tokens, at: (stock(tokens, at)[0], 1))
    made.check("bapa:text_only=true", ids=[ids] * made.layers)


def cap_of(token: hand.Token, layer: int, jump: int) -> int:
    return max(0, (min(token[3], token[4]) + 1) // 2 - (layer // jump + 1))


@families
@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize("jump", [1, 2])
def test_pype(case: Any, kind: str, jump: int, mask: bool) -> None:
    made = case(kind)
    ids, allowed = [], []
    for layer, stock in enumerate(made.stock.allowed):

        def order(token: hand.Token, layer: int = layer) -> int:
            return min(hand.ring(token), cap_of(token, layer, jump))

        def takes(height: int, width: int, layer: int = layer) -> int:
            return cap_of((0, 0, 0, height, width), layer, jump) + 1

        ids.append(made.ids(hand.per_block(order, takes)).expand_as(made.stock.ids[0]))
        ordered = hand.ordered_allowed(stock, made.batch, kind, order)
        allowed.append(ordered if mask else stock)
    made.check(f"pype:jump={jump},mask={mask}", ids=ids, allowed=allowed)
    if kind != "gemma" and jump == 1:
        assert not torch.equal(ids[0], ids[1])


@families
@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize("method", ["cca", "mca"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_cca_and_mca(case: Any, kind: str, method: str, mask: bool, attention: str) -> None:
    made = case(kind, attention)
    if method == "cca":
        order, takes = hand.ring, lambda h, w: (min(h, w) + 1) // 2
    else:
        order, takes = hand.steps, lambda h, w: (h - 1) // 2 + (w - 1) // 2 + 1
    ids = made.ids(hand.per_block(order, takes)).expand_as(made.stock.ids[0])
    allowed = [
        hand.ordered_allowed(stock, made.batch, kind, order) if mask else stock
        for stock in made.stock.allowed
    ]
    made.check(f"{method}:mask={mask}", ids=[ids] * made.layers, allowed=allowed)


@families
def test_v2pe_and_bapa_far(case: Any, kind: str) -> None:
    made = case(kind)

    def v2pe(tokens: list[Any], at: int) -> tuple[list[Any], int]:
        return [(at - 1 + (t + 1) * 2.5 / len(tokens),) for t in range(len(tokens))], 3

    made.check("v2pe:span=2.5", ids=[made.ids(v2pe)] * made.layers)
    stock = hand.stock_rule(kind)

    def far(tokens: list[Any], at: int) -> tuple[list[Any], int]:
        _, taken = stock(tokens, at)
        return [(at + taken - 1,)] * len(tokens), taken

    def by_blocks(tokens: list[Any], at: int) -> tuple[list[Any], int]:
        found, taken = stock(tokens, at)
        return [found[::-1][n] for n in range(len(found))], taken

    made.check("bapa_far", ids=[made.ids(far)] * made.layers)
    made.check("reverse", ids=[made.ids(by_blocks)] * made.layers)


@families
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("spec", ["bapa_cross", "bapa_cross:layers=1"])
def test_bapa_cross_has_two_frames(case: Any, kind: str, spec: str, attention: str) -> None:
    made = case(kind, attention)
    bapa = hand.bapa_ids(made.batch, kind)
    ids = [
        bapa if n == 1 or spec == "bapa_cross" else stock for n, stock in enumerate(made.stock.ids)
    ]
    made.check(spec, ids=ids, image_ids=made.stock.ids)
    # It is neither BaPA nor the stock model.
    both = made.expected(ids=ids, image_ids=made.stock.ids)
    assert hand.difference(both, made.expected(ids=ids), made.batch) > 1e-2


@pytest.mark.parametrize("spec", ["reverse+bapa_cross", "bapa_cross+shuffle:seed=3"])
@pytest.mark.parametrize("kind", ["llava", "next_llama", "qwen"])
def test_what_rearranges_ids_does_so_in_both_frames(case: Any, kind: str, spec: str) -> None:
    """Text sees one id for the image; the image sees its own ids, rearranged."""
    made = case(kind)
    bapa = hand.bapa_ids(made.batch, kind)
    alone = spec.replace("+", "").replace("bapa_cross", "")
    # What the rearranging method makes of stock ids, in a run of its own.
    of_image = rearranged(made, alone)
    made.check(spec, ids=[bapa] * made.layers, image_ids=[of_image] * made.layers)


def rearranged(made: Case, spec: str) -> torch.Tensor:
    """(R, B, T): stock ids through one method, with a layout made from what the batch holds."""
    from wheresight.interventions.spec import parse

    layout = wheresight.wrap(made.model).layout(made.batch.inputs)
    ids: torch.Tensor = parse(spec)[0].positions(made.stock.ids[0], layout, 0)
    return ids


def test_videorope(case: Any) -> None:
    made = case("qwen")

    def middle(token: hand.Token) -> tuple[int, int, int]:
        _, r, c, height, width = token
        return 0, r - (height - 1) // 2, c - (width - 1) // 2

    ids = made.ids(hand.per_block(middle, lambda h, w: 1))
    pairs = hand.head_width(made.model) // 2
    assert pairs == 8
    # The six fast pairs turn by h and w in turn, the two slow ones by t.
    angles = hand.split_angles(made.model, [1, 2, 1, 2, 1, 2, 0, 0])
    made.check("videorope", ids=[ids] * made.layers, angles=angles)


@pytest.mark.parametrize("split", ["interleaved", "halves"])
@pytest.mark.parametrize("kind", [f for f in LINE if f != "gemma"])
def test_mrope_on_1d(case: Any, kind: str, split: str) -> None:
    made = case(kind)
    ids = made.ids(hand.per_block(lambda t: (t[1], t[2]), max), rows=2)
    rows = [0, 1] * 4 if split == "interleaved" else [0] * 4 + [1] * 4
    angles = hand.split_angles(made.model, rows)
    made.check(f"mrope_on_1d:split={split}", ids=[ids] * made.layers, angles=angles)


def test_mrope_on_1d_takes_the_angles_of_each_layer_type(case: Any) -> None:
    made = case("gemma")
    ids = made.ids(hand.per_block(lambda t: (t[1], t[2]), max), rows=2)
    want = made.run("mrope_on_1d")

    def by_type(layer: int) -> Callable[..., Any]:
        def angles(ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            rows = [hand.stock_angles(made.model, layer, row[None]) for row in ids]
            odd = torch.arange(rows[0][0].shape[-1]) % 8 % 2 == 1
            return tuple(torch.where(odd, b, a) for a, b in zip(*rows, strict=True))

        return angles

    # The angles of layers 0 and 2 (sliding) and of layer 1 (full) have other frequencies.
    kinds = [hand.stock_angles(made.model, n, ids[:1])[0] for n in range(3)]
    assert torch.equal(kinds[0], kinds[2])
    assert not torch.equal(kinds[0], kinds[1])
    plan = dataclasses.replace(made.stock, ids=[ids] * 3, seen={})
    module, hidden = hand.language(made.model), made.embeddings
    module.config._attn_implementation = "by_hand"
    flat = torch.ones(*hidden.shape[:2], 16)
    with torch.no_grad():
        for n, layer in enumerate(module.layers):
            hidden = layer(
                hidden,
                attention_mask=None,
                position_embeddings=(flat, 0 * flat),
                plan=plan,
                turn=by_type(n),
            )
        got = made.model.lm_head(module.norm(hidden))
    assert hand.difference(got, want, made.batch) < NEAR


def test_circle(case: Any) -> None:
    import math

    made = case("qwen")
    radius, alpha = 5.0, 0.25

    def on_circle(tokens: list[hand.Token], at: int) -> tuple[list[Any], float]:
        height, width = tokens[0][3:]
        turns = [math.atan2(r - (height - 1) / 2, c - (width - 1) / 2) for _, r, c, *_ in tokens]
        low, high = min(turns), max(turns)
        points = []
        for n, turn in enumerate(turns):
            direction = (turn - low) / (high - low) * 2 * math.pi
            angle = alpha * direction + (1 - alpha) * 2 * math.pi * n / len(turns)
            x, y = radius * math.cos(angle), radius * math.sin(angle)
            w = -x / math.sqrt(2) - y / math.sqrt(6)
            h = x / math.sqrt(2) - y / math.sqrt(6)
            t = 2 * y / math.sqrt(6)
            points.append((t, h, w))
        beyond = max(0.0, max(max(p) for p in points))
        return [tuple(at + o for o in p) for p in points], beyond + 1

    ids = made.ids(on_circle)
    made.check(f"circle:radius={radius},alpha={alpha}", ids=[ids] * made.layers, near=2e-4)
    # The alternating layers of the paper.
    some = [ids if n % 2 == 0 else stock for n, stock in enumerate(made.stock.ids)]
    made.check(f"circle:radius={radius},alpha={alpha},layers=even", ids=some, near=2e-4)


def test_spatial_reset(case: Any) -> None:
    made = case("qwen")

    def reset(tokens: list[hand.Token], at: int) -> tuple[list[Any], int]:
        return [(at, r, c) for _, r, c, *_ in tokens], max(tokens[0][3:])

    made.check("spatial_reset", ids=[made.ids(reset)] * made.layers)


@pytest.mark.parametrize("kind", ["next_llama", "next_mistral"])
def test_id_align(case: Any, kind: str) -> None:
    made = case(kind)

    def align(tokens: list[hand.Token], at: int) -> tuple[list[Any], int]:
        found = []
        for block, r, c, height, width in tokens:
            cell = (r * 2 // height) * 2 + c * 2 // width if block else r * 2 + c
            found.append((at + cell,))
        return found, 4

    made.check("id_align", ids=[made.ids(align)] * made.layers)


# ---- masks --------------------------------------------------------------------------------------


@families
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("rule", ["causal", "bidirectional", "ring", "ids", "ring:1"])
def test_masks(case: Any, kind: str, rule: str, attention: str) -> None:
    made = case(kind, attention)
    inside = hand.same_image(made.batch)
    length = inside.shape[1]
    causal = (torch.arange(length)[:, None] >= torch.arange(length))[None]
    name, _, layer = rule.partition(":")
    allowed = []
    for stock in made.stock.allowed:
        if name == "causal":
            new = torch.where(inside, causal, stock)
        elif name == "bidirectional":
            new = stock | inside
        elif name == "ring":
            new = hand.ordered_allowed(stock, made.batch, kind, hand.ring)
        elif kind == "qwen":  # ids not above in row nor in column, which time does not tell
            new = by_grid(stock, made)
        else:
            new = hand.ordered_allowed(stock, made.batch, kind, lambda t: t[1] * 10 + t[2])
            if kind.startswith("next"):
                new = by_column(stock, made)
        allowed.append(new)
    if layer:
        both = zip(allowed, made.stock.allowed, strict=True)
        allowed = [a if n == 1 else s for n, (a, s) in enumerate(both)]
    spec = f"mask:{name}" + (f",layers={layer}" if layer else "")
    moves = any(not torch.equal(a, s) for a, s in zip(allowed, made.stock.allowed, strict=True))
    made.check(spec, allowed=allowed, moves=1e-2 if moves else -1)


def by_grid(stock: torch.Tensor, made: Case) -> torch.Tensor:
    allowed = stock.clone()
    for b, own in enumerate(made.batch.images):
        for first, count, _, width in own:
            for q in range(count):
                for k in range(count):
                    seen = k // width <= q // width and k % width <= q % width
                    allowed[b, first + q, first + k] = seen
    return allowed


def by_column(stock: torch.Tensor, made: Case) -> torch.Tensor:
    """In a block of a line of ids, those before."""
    allowed = stock.clone()
    for b, own in enumerate(made.batch.images):
        for first, *rest in own:
            tokens = hand.tokens_of(made.kind, *rest)
            for q, asking in enumerate(tokens):
                for k, asked in enumerate(tokens):
                    if asking[0] == asked[0]:
                        allowed[b, first + q, first + k] = k <= q
    return allowed


@pytest.mark.parametrize("kind", ["llava", "next_llama", "qwen"])
def test_a_mask_by_ids_follows_the_ids_of_each_layer(case: Any, kind: str) -> None:
    made = case(kind)
    whole = made.run("pype:jump=1")
    put_together = made.run("pype:jump=1,mask=false+mask:ids")
    assert hand.difference(whole, put_together, made.batch) < 1e-6
    other = made.run("pype:jump=1,mask=false")
    assert hand.difference(whole, other, made.batch) > 1e-2


# ---- attention ----------------------------------------------------------------------------------


def scaled(made: Case, change: Callable[..., torch.Tensor], rows: str, **only: Any) -> Any:
    """An edit of logits: `change(logits, seen image keys)` in these rows, layers and heads."""
    wanted = (hand.last_of if rows == "last" else hand.text_after)(made.batch)
    image = hand.image_of(made.batch)

    def edit(layer: int, logits: torch.Tensor) -> torch.Tensor:
        if layer not in only.get("layers", range(99)):
            return logits
        seen = made.stock.allowed[layer][:, None] & image[:, None, None]
        new = change(logits, seen.expand_as(logits))
        keep = wanted[:, None, :, None].expand_as(logits).clone()
        for head in range(logits.shape[1]):
            if head not in only.get("heads", range(99)):
                keep[:, head] = False
        return torch.where(keep, new, logits)

    return edit


@families
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("rows", ["last", "text"])
@pytest.mark.parametrize(
    ("more", "only"),
    [
        ("", {}),
        (",layers=1", {"layers": [1]}),
        (",heads=0/2-3", {"heads": [0, 2, 3]}),
        (",layers=0,heads=odd", {"layers": [0], "heads": [1, 3]}),
    ],
)
def test_scalingvis(
    case: Any, kind: str, rows: str, more: str, only: dict[str, Any], attention: str
) -> None:
    made = case(kind, attention)
    edit = scaled(made, lambda s, seen: torch.where(seen, 2.5 * s, s), rows, **only)
    made.check(f"scalingvis:alpha=2.5,rows={rows}{more}", logits=edit)


@families
@pytest.mark.parametrize("rows", ["last", "text"])
def test_temperature_and_shift(case: Any, kind: str, rows: str) -> None:
    made = case(kind)
    edit = scaled(made, lambda s, seen: torch.where(seen, s + 1.5, s), rows)
    made.check(f"shift:amount=1.5,rows={rows}", logits=edit)

    def temper(logits: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        new = logits.clone()
        for b, a, q in torch.ones(logits.shape[:3]).nonzero().tolist():
            here = seen[b, a, q]
            if here.any():
                s = logits[b, a, q, here].double()
                sharp = 3 * s
                new[b, a, q, here] = (sharp + s.logsumexp(0) - sharp.logsumexp(0)).float()
        return new

    made.check(f"temperature:alpha=3,rows={rows}", logits=scaled(made, temper, rows))


@families
def test_two_methods_on_attention_act_as_given(case: Any, kind: str) -> None:
    made = case(kind)

    def both(first: Any, second: Any) -> Any:
        one, two = (
            scaled(made, lambda s, seen, f=f: torch.where(seen, f(s), s), rows)
            for f, rows in (first, second)
        )
        return lambda layer, logits: two(layer, one(layer, logits))

    scale, shift = (lambda s: 2 * s, "last"), (lambda s: s + 1, "text")
    made.check("scalingvis:alpha=2+shift:amount=1,rows=text", logits=both(scale, shift))
    made.check("shift:amount=1,rows=text+scalingvis:alpha=2", logits=both(shift, scale))


@families
def test_attention_and_positions_and_masks_together(case: Any, kind: str) -> None:
    made = case(kind)
    bapa = hand.bapa_ids(made.batch, kind)
    allowed = [stock | hand.same_image(made.batch) for stock in made.stock.allowed]
    edit = scaled(made, lambda s, seen: torch.where(seen, 0.3 * s, s), "text", layers=[1])
    ids = [bapa if n == 0 else stock for n, stock in enumerate(made.stock.ids)]
    made.check(
        "scalingvis:alpha=0.3,rows=text,layers=1+bapa:layers=0+mask:bidirectional",
        ids=ids,
        allowed=allowed,
        logits=edit,
    )


@families
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_bapa_cross_and_scalingvis(case: Any, kind: str, attention: str) -> None:
    made = case(kind, attention)
    bapa = hand.bapa_ids(made.batch, kind)
    edit = scaled(made, lambda s, seen: torch.where(seen, 1.7 * s, s), "text")
    made.check(
        "bapa_cross+scalingvis:alpha=1.7,rows=text",
        ids=[bapa] * made.layers,
        image_ids=made.stock.ids,
        logits=edit,
    )


@families
@pytest.mark.parametrize("use_cache", [True, False])
def test_adaptvis_is_two_passes(case: Any, kind: str, use_cache: bool) -> None:
    made = case(kind)
    plain = made.expected()
    last = hand.last_of(made.batch)
    confidence = plain.softmax(-1).amax(-1)[last].sort().values
    # Some rows are sure, some not.
    threshold = float(confidence[:2].mean())
    sure = (plain[:, -1].softmax(-1).amax(-1) >= threshold)[:, None, None, None]
    edit = scaled(
        made,
        lambda s, seen: torch.where(seen, s * torch.where(sure, 2.5, 0.2), s),
        "last",
    )
    want = made.expected(logits=edit)
    got = made.run(f"adaptvis:low=0.2,high=2.5,threshold={threshold!r}", use_cache=use_cache)
    assert hand.difference(got, want, made.batch) < 2e-5
    assert torch.equal(got[:, -1].argmax(-1), want[:, -1].argmax(-1))
    assert (want - plain)[last].abs().max() > 1e-2


@families
@pytest.mark.parametrize(
    ("more", "strength", "renormalize", "rows", "layers"),
    [
        ("", 1.0, True, "text", range(9)),
        (":strength=0.4,renormalize=false", 0.4, False, "text", range(9)),
        (":rows=last,layers=1", 1.0, True, "last", [1]),
    ],
)
def test_uac(
    case: Any, kind: str, more: str, strength: float, renormalize: bool, rows: str, layers: Any
) -> None:
    """One row, whose own blank image it is calibrated on."""
    made = case(kind, rows=[ROWS[kind][1]])
    pixels = torch.zeros_like(made.batch.inputs["pixel_values"])
    blank = hand.captured(made.model, made.batch, pixel_values=pixels)
    plan = dataclasses.replace(made.stock, seen={})
    hand.logits_of(made.model, blank, plan)
    text, image = hand.text_after(made.batch)[0], hand.image_of(made.batch)
    wanted = (hand.last_of if rows == "last" else hand.text_after)(made.batch)[0]

    def calibrate(layer: int, weights: torch.Tensor) -> torch.Tensor:
        if layer not in layers:
            return weights
        out = weights.clone()
        for head in range(weights.shape[1]):
            # Of each key, over the text rows that may see it.
            viewers = made.stock.allowed[layer][0][text].sum(0).clamp_min(1)
            base = plan.seen[layer][0, head, text].sum(0) / viewers
            for q in wanted.nonzero().flatten().tolist():
                seen = made.stock.allowed[layer][0, q] & image[0]
                if not seen.any():
                    continue
                a0 = base[seen].clone()
                factor = torch.where(
                    a0 > 0, ((1 - strength) * a0 + strength * a0.mean()) / a0, torch.ones(())
                )
                row = weights[0, head, q].clone()
                total = row.sum()
                row[seen] *= factor
                out[0, head, q] = row * (total / row.sum()) if renormalize else row
        return out

    made.check(f"uac{more}", weights=calibrate, near=1e-4, moves=1e-3)


# ---- features -----------------------------------------------------------------------------------


def each_image(made: Case, change: Callable[..., torch.Tensor]) -> torch.Tensor:
    """Embeddings with `change(tokens (N, D), their kinds)` put in place of each image."""
    new = made.embeddings.clone()
    for b, own in enumerate(made.batch.images):
        for first, *rest in own:
            tokens = hand.tokens_of(made.kind, *rest)
            here = slice(first, first + len(tokens))
            new[b, here] = change(new[b, here], tokens)
    return new


def newline(tokens: list[hand.Token], n: int) -> bool:
    """The second of two tokens in one place is a newline."""
    return n > 0 and tokens[n] == tokens[n - 1] and tokens[n][0] == 1


@pytest.mark.parametrize("kind", ["llava", "next_llama"])
@pytest.mark.parametrize("more", ["reverse", "shuffle:seed=1"])
def test_two_rows_of_ids_are_rearranged_together(case: Any, kind: str, more: str) -> None:
    """What assigns ids may give more rows of them than the model has."""
    made = case(kind)
    ids = made.ids(hand.per_block(lambda t: (t[1], t[2]), max), rows=2)
    from wheresight.interventions.spec import parse

    layout = wheresight.wrap(made.model).layout(made.batch.inputs)
    ids = parse(more)[0].positions(ids, layout, 0)
    angles = hand.split_angles(made.model, [0, 1] * 4)
    made.check(f"{more}+mrope_on_1d", ids=[ids] * made.layers, angles=angles)


def check_features(made: Case, spec: str, change: Callable[..., torch.Tensor]) -> None:
    want = hand.logits_of(made.model, each_image(made, change), made.stock)
    assert hand.difference(made.run(spec), want, made.batch) < NEAR
    assert hand.difference(want, made.expected(), made.batch) > 1e-3


@families
def test_agci(case: Any, kind: str) -> None:
    def attend_globally(tokens: torch.Tensor, _: Any) -> torch.Tensor:
        mean = sum(tokens[n] for n in range(len(tokens))) / len(tokens)
        alike = [(t @ mean) / (t.norm() * mean.norm()) for t in tokens]
        return torch.stack([t + 0.8 * (1 - a) * mean for t, a in zip(tokens, alike, strict=True)])

    check_features(case(kind), "agci:lambda=0.8", attend_globally)


@families
@pytest.mark.parametrize("mode", ["paper", "text_mean", "global"])
def test_normalize(case: Any, kind: str, mode: str) -> None:
    made = case(kind)
    table = made.model.get_input_embeddings()
    with torch.no_grad():
        every = table(torch.arange(99))
    text = sum(float(e.norm()) for e in every) / 99

    def bring(tokens: torch.Tensor, kinds: Any) -> torch.Tensor:
        new = tokens.clone()
        lengths = [float(t.norm()) for n, t in enumerate(tokens) if not newline(kinds, n)]
        for n, token in enumerate(tokens):
            if newline(kinds, n):
                continue
            if mode == "paper":
                unit = token / (token.square().mean() + 1e-6).sqrt()
                new[n] = unit * min(1.0, 1.22 / float(unit.norm())) * 0.83
            elif mode == "text_mean":
                new[n] = token / token.norm() * text
            else:
                new[n] = token * text / (sum(lengths) / len(lengths))
        return new

    check_features(made, f"normalize:mode={mode}", bring)


@families
@pytest.mark.parametrize("side", [1, 2])
def test_pool_broadcast(case: Any, kind: str, side: int) -> None:
    made = case(kind)

    def coarse(tokens: torch.Tensor, kinds: Any) -> torch.Tensor:
        new = tokens.clone()
        places = {(t[0], t[1], t[2]): n for n, t in enumerate(kinds) if not newline(kinds, n)}
        for (block, r, c), n in places.items():
            height, width = kinds[n][3:]
            h, w = min(side, height), min(side, width)
            i, j = r * h // height, c * w // width
            cell = [
                tokens[m]
                for (other, y, x), m in places.items()
                if other == block
                and i * height // h <= y < -(-(i + 1) * height // h)
                and j * width // w <= x < -(-(j + 1) * width // w)
            ]
            new[n] = torch.stack(cell).mean(0)
        return new

    want = hand.logits_of(made.model, each_image(made, coarse), made.stock)
    assert hand.difference(made.run(f"pool_broadcast:side={side}"), want, made.batch) < NEAR
    if side == 1 or kind != "gemma":  # whose grids are 2 x 2
        assert hand.difference(want, made.expected(), made.batch) > 1e-3


@families
def test_permute_moves_content_within_blocks(case: Any, kind: str) -> None:
    """Features of the model in another order are the features of an image in that order."""
    from wheresight.interventions.spec import parse

    made = case(kind)
    layout = wheresight.wrap(made.model).layout(made.batch.inputs)
    new = parse("permute:seed=4")[0].features(made.embeddings, layout, None)
    for b, own in enumerate(made.batch.images):
        for first, *rest in own:
            kinds = hand.tokens_of(kind, *rest)
            for block in {t[0] for t in kinds}:
                inside = [
                    first + n
                    for n, t in enumerate(kinds)
                    if t[0] == block and not newline(kinds, n)
                ]
                old_set = sorted(made.embeddings[b, inside].sum(-1).tolist())
                assert old_set == pytest.approx(sorted(new[b, inside].sum(-1).tolist()))
    want = hand.logits_of(made.model, new, made.stock)
    assert hand.difference(made.run("permute:seed=4"), want, made.batch) < NEAR
    assert hand.difference(want, made.expected(), made.batch) > 1e-2


@families
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("spec", ["drop:fraction=0.5", "drop:fraction=0.9,seed=2"])
def test_drop_masks_the_keys(case: Any, kind: str, spec: str, attention: str) -> None:
    """Half of an image's keys are seen by no text; positions stay."""
    from wheresight.interventions.spec import parse
    from wheresight.lvlm.layout import Kind

    made = case(kind, attention)
    layout = wheresight.wrap(made.model).layout(made.batch.inputs)
    hidden = parse(spec)[0].relayout(layout).kind == Kind.HIDDEN
    fraction = float(spec.split("=")[1].split(",")[0])
    for b, own in enumerate(made.batch.images):
        for first, count, *_ in own:
            gone = int(hidden[b, first : first + count].sum())
            assert gone == min(int(fraction * count + 0.5), count - 1)
    eye = torch.eye(hidden.shape[1], dtype=torch.bool)
    allowed = [(stock & ~hidden[:, None]) | eye for stock in made.stock.allowed]
    want = made.expected(allowed=allowed)
    got = made.run(spec)
    shown = hand.real_of(made.batch) & ~hidden
    assert (got - want).abs()[shown].max() < NEAR
    assert (want - made.expected()).abs()[shown].max() > 1e-2


@pytest.mark.parametrize("more", ["", "+bapa", "+bapa_cross", "+reverse", "+mask:bidirectional"])
@pytest.mark.parametrize("kind", ["llava", "llava_gqa", "next_mistral", "next_llama", "qwen"])
def test_pool_is_a_prompt_with_fewer_image_tokens(case: Any, kind: str, more: str) -> None:
    """The same tokens put together by hand: left padding, text and pooled images."""
    made = case(kind)
    rows, owners, images = [], [], []
    for b, own in enumerate(made.batch.images):
        parts, number, column = [], [], int(hand.real_of(made.batch)[b].nonzero().min())
        starts = {first: rest for first, *rest in own}
        spans = []
        while column < made.embeddings.shape[1]:
            if column not in starts:
                parts.append(made.embeddings[b, column])
                number.append(column)
                column += 1
                continue
            tokens = hand.tokens_of(kind, *starts[column])
            pooled, small = pool_by_hand(made.embeddings[b, column : column + len(tokens)], tokens)
            spans.append((len(parts), small))
            parts += pooled
            number += [column + n for n in range(len(pooled))]
            column += len(tokens)
        rows.append(parts)
        owners.append(number)
        images.append(spans)
    longest = max(map(len, rows))
    embeddings = torch.zeros(len(rows), longest, made.embeddings.shape[-1])
    mask = torch.zeros(len(rows), longest, dtype=torch.long)
    where: list[list[tuple[int, ...]]] = []
    for b, parts in enumerate(rows):
        gap = longest - len(parts)
        embeddings[b, gap:] = torch.stack(parts)
        mask[b, gap:] = 1
        where.append([(first + gap, *small) for first, small in images[b]])
    small = dataclasses.replace(made.batch, inputs={"attention_mask": mask}, images=where)
    plan = hand.stock_plan(made.model, small, kind)
    if kind.startswith("next"):
        # Grids of 2 x 2 with newlines are what `next_tokens` has for 8 x 8.
        assert all(count in (10, 4 + 3) for own in where for _, count, *_ in own)
    if "bapa" in more:
        plan.image_ids = plan.ids if more == "+bapa_cross" else None
        plan.ids = [hand.bapa_ids(small, kind)] * made.layers
    elif more == "+reverse":
        stock = hand.stock_rule(kind)

        def backwards(tokens: list[Any], at: int) -> tuple[list[Any], int]:
            found, taken = stock(tokens, at)
            return found[::-1], taken

        plan.ids = [hand.count_ids(small, kind, backwards, hand.rotary_rows(kind))] * made.layers
    elif more:
        plan.allowed = [a | hand.same_image(small) for a in plan.allowed]
    want = hand.logits_of(made.model, embeddings, plan)
    got = made.run("pool:side=2" + more)
    for b, number in enumerate(owners):
        gap = longest - len(number)
        assert (got[b, number] - want[b, gap:]).abs().max() < NEAR


def pool_by_hand(
    tokens: torch.Tensor, kinds: list[hand.Token]
) -> tuple[list[Any], tuple[Any, ...]]:
    """The pooled tokens of one image, and (count, height, width) of what is left."""
    out: list[torch.Tensor] = []
    count = height = width = 0
    for block in sorted({t[0] for t in kinds}):
        own = {
            (t[1], t[2]): n for n, t in enumerate(kinds) if t[0] == block and not newline(kinds, n)
        }
        old_height, old_width = next(t[3:] for t in kinds if t[0] == block)
        height, width = min(2, old_height), min(2, old_width)
        ends = {t[1]: n for n, t in enumerate(kinds) if t[0] == block and newline(kinds, n)}
        for i in range(height):
            below = -(-(i + 1) * old_height // height)
            for j in range(width):
                right = -(-(j + 1) * old_width // width)
                cell = [
                    tokens[own[r, c]]
                    for r in range(i * old_height // height, below)
                    for c in range(j * old_width // width, right)
                ]
                out.append(torch.stack(cell).mean(0))
            if ends:
                out.append(tokens[ends[below - 1]])
        count = len(out)
    return out, (count, height, width)


# ---- logits with a cap --------------------------------------------------------------------------


@pytest.mark.parametrize("rows", ["last", "text"])
def test_capped_logits_are_changed_after_the_cap(
    make_model: Any, make_batch: Any, rows: str
) -> None:
    """Gemma 2 caps its logits by a tanh; the masks here are the model's own."""
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

    model = make_model("paligemma2", attention="eager")
    module = hand.language(model)
    for layer in module.layers:
        layer.self_attn.attn_logit_softcapping = 1.5
    batch = make_batch("paligemma", [[3, "i", 6], [2, "i", 4]])
    image = hand.image_of(batch)
    wanted = (hand.last_of if rows == "last" else hand.text_after)(batch)

    def capped(factor: float) -> Callable[..., Any]:
        def attention(
            module: Any, query: Any, key: Any, value: Any, mask: Any, scaling: float, **more: Any
        ) -> Any:
            copies = query.shape[1] // key.shape[1]
            key, value = (x.repeat_interleave(copies, 1) for x in (key, value))
            logits = torch.tanh(query @ key.transpose(2, 3) * scaling / 1.5) * 1.5
            at = wanted[:, None, :, None] & image[:, None, None]
            weights = (torch.where(at, factor * logits, logits) + mask).softmax(-1)
            return (weights @ value).transpose(1, 2), None

        return attention

    masks = ALL_MASK_ATTENTION_FUNCTIONS["eager"]
    ALL_MASK_ATTENTION_FUNCTIONS.register("capped", masks)
    found = {}
    with torch.no_grad():
        stock = model(**batch.inputs).logits
        with wheresight.intervene(model, f"scalingvis:alpha=3,rows={rows}"):
            got = model(**batch.inputs).logits
        for factor in (1.0, 3.0):
            hand.ALL_ATTENTION_FUNCTIONS.register("capped", capped(factor))
            module.set_attn_implementation("capped")
            found[factor] = model(**batch.inputs).logits
    assert hand.difference(found[1.0], stock, batch) < NEAR
    assert hand.difference(found[3.0], got, batch) < NEAR
    assert hand.difference(got, stock, batch) > 1e-2
    module.set_attn_implementation("eager")
    with (
        torch.no_grad(),
        wheresight.intervene(model, "bapa_cross"),
        pytest.raises(wheresight.errors.ModelError, match="softcap"),
    ):
        model(**batch.inputs)


@families
def test_features_of_what_is_left(case: Any, kind: str) -> None:
    """Methods on features act as given: the mean is over the tokens that were not taken away."""
    from wheresight.interventions.spec import parse
    from wheresight.lvlm.layout import Kind

    made = case(kind)
    layout = wheresight.wrap(made.model).layout(made.batch.inputs)
    hidden = parse("drop:fraction=0.5")[0].relayout(layout).kind == Kind.HIDDEN
    new, whole = made.embeddings.clone(), made.embeddings.clone()
    for b, own in enumerate(made.batch.images):
        for first, count, *_ in own:
            here = torch.arange(first, first + count)
            for target, columns in ((new, here[~hidden[b, here]]), (whole, here)):
                tokens = made.embeddings[b, columns]
                mean = tokens.mean(0)
                alike = (tokens @ mean) / (tokens.norm(dim=-1) * mean.norm())
                target[b, columns] = tokens + 0.5 * (1 - alike)[:, None] * mean
    eye = torch.eye(hidden.shape[1], dtype=torch.bool)
    allowed = [(stock & ~hidden[:, None]) | eye for stock in made.stock.allowed]
    plan = dataclasses.replace(made.stock, allowed=allowed, seen={})
    shown = hand.real_of(made.batch) & ~hidden
    wants = [hand.logits_of(made.model, embeddings, plan) for embeddings in (new, whole)]
    for spec, want in zip(("drop:fraction=0.5+agci", "agci+drop:fraction=0.5"), wants, strict=True):
        assert (made.run(spec) - want)[shown].abs().max() < NEAR
    assert (wants[0] - wants[1])[shown].abs().max() > 1e-3
