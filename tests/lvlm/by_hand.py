"""A forward pass written out: layers one by one, full attention matrices, ids and masks as given.

Nothing of the installer is used. The model lends its weights, its embeddings (captured on their way
into the language model) and its table of rotary angles; turning, masks, softmax and what a method
does to them are written here. Slow and simple.

Legend: R rotary rows, B batch, T tokens, A heads, D width of a head, L layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

FAMILIES = ("llava", "llava_gqa", "next_mistral", "next_llama", "qwen", "gemma")

# What a rule is told of each token of an image: block, row, column, height and width of the block.
Token = tuple[int, int, int, int, int]


@dataclass
class Plan:
    """What the layers shall do.

    Attributes:
        ids: (R, B, T) for each layer, as text queries see all tokens.
        allowed: (B, T, T) bool for each layer.
        image_ids: (R, B, T) for each layer, as image queries see all tokens; None if as text.
        image: (B, T) bool.
        angles: makes cosines and sines (B, T, D) of ids; None takes the model's own rotary module.
        logits: what is done to the logits (B, A, T, T) of a layer, before the mask.
        weights: the same after the softmax; it is told the layer too.
    """

    ids: Sequence[torch.Tensor]
    allowed: Sequence[torch.Tensor]
    image_ids: Sequence[torch.Tensor] | None = None
    image: torch.Tensor | None = None
    angles: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]] | None = None
    logits: Callable[[int, torch.Tensor], torch.Tensor] | None = None
    weights: Callable[[int, torch.Tensor], torch.Tensor] | None = None
    seen: dict[int, torch.Tensor] = field(default_factory=dict)


def language(model: Any) -> Any:
    return model.model.language_model


def layers_of(model: Any) -> int:
    return len(language(model).layers)


def layer_type(model: Any, layer: int) -> str:
    types = getattr(language(model).config, "layer_types", None)
    return types[layer] if types else "full_attention"


# ---- the forward pass ---------------------------------------------------------------------------


def turned(states: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """(B, A, T, D) turned pair by pair; the pair of channel p is channel p + D / 2."""
    half = states.shape[-1] // 2
    a, b = states[..., :half], states[..., half:]
    c, s = cos[:, None, :, :half], sin[:, None, :, :half]
    return torch.cat([a * c - b * s, b * c + a * s], -1)


def attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: Any,
    scaling: float,
    plan: Plan,
    turn: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]],
    softcap: float | None = None,
    **more: Any,
) -> tuple[torch.Tensor, None]:
    """Full-matrix attention; query and key come unturned."""
    layer = module.layer_idx
    copies = query.shape[1] // key.shape[1]
    key = torch.stack([key[:, a // copies] for a in range(query.shape[1])], 1)
    value = torch.stack([value[:, a // copies] for a in range(query.shape[1])], 1)

    def frame(ids: torch.Tensor) -> torch.Tensor:
        cos, sin = turn(ids)
        return torch.einsum("baqd,bakd->baqk", turned(query, cos, sin), turned(key, cos, sin))

    logits = frame(plan.ids[layer]) * scaling
    if plan.image_ids is not None:
        of_image = frame(plan.image_ids[layer]) * scaling
        logits = torch.where(plan.image[:, None, :, None], of_image, logits)
    if softcap is not None:
        logits = torch.tanh(logits / softcap) * softcap
    if plan.logits is not None:
        logits = plan.logits(layer, logits)
    logits = logits.masked_fill(~plan.allowed[layer][:, None], -torch.inf)
    weights = torch.exp(logits - logits.amax(-1, keepdim=True))
    weights = weights / weights.sum(-1, keepdim=True)
    if plan.weights is not None:
        weights = plan.weights(layer, weights)
    plan.seen[layer] = weights
    return torch.einsum("baqk,bakd->bqad", weights, value), None


ALL_ATTENTION_FUNCTIONS.register("by_hand", attend)


def logits_of(model: Any, embeddings: torch.Tensor, plan: Plan) -> torch.Tensor:
    """(B, T, V) from embeddings (B, T, D) by a plan."""
    module = language(model)
    before = module.config._attn_implementation
    flat = torch.ones(*embeddings.shape[:2], head_width(model)).to(embeddings)
    unturned = (flat, torch.zeros_like(flat))
    try:
        module.config._attn_implementation = "by_hand"
        with torch.no_grad():
            hidden = embeddings
            for n, layer in enumerate(module.layers):

                def turn(ids: torch.Tensor, n: int = n) -> tuple[torch.Tensor, torch.Tensor]:
                    return plan.angles(ids) if plan.angles else stock_angles(model, n, ids)

                out = layer(
                    hidden,
                    attention_mask=None,
                    position_embeddings=unturned,
                    plan=plan,
                    turn=turn,
                )
                hidden = out[0] if isinstance(out, tuple) else out
            return model.lm_head(module.norm(hidden))
    finally:
        module.config._attn_implementation = before


def head_width(model: Any) -> int:
    return int(language(model).layers[0].self_attn.head_dim)


def stock_angles(model: Any, layer: int, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The model's own cosines and sines (B, T, D) of ids (R, B, T)."""
    module = language(model)
    like = module.layers[0].self_attn.q_proj.weight[:1, :1]
    if ids.shape[0] == 1:
        ids = ids[0]
    if "gemma" in model.config.model_type:
        return module.rotary_emb(like, ids, layer_type(model, layer))
    return module.rotary_emb(like, ids)


def frequencies(model: Any) -> torch.Tensor:
    """(D / 2,) by the formula, theta ** (-2 p / D)."""
    width = head_width(model)
    theta = language(model).config.rope_parameters["rope_theta"]
    return torch.tensor([theta ** (-2 * p / width) for p in range(width // 2)])


def split_angles(model: Any, rows: Sequence[int]) -> Callable[..., Any]:
    """Angles in which pair p is turned by row `rows[p]` of the ids."""
    speed = frequencies(model)

    def angles(ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        turn = torch.stack([ids[rows[p]].float() * speed[p] for p in range(len(speed))], -1)
        return torch.cat([turn.cos()] * 2, -1), torch.cat([turn.sin()] * 2, -1)

    return angles


# ---- what a batch holds -------------------------------------------------------------------------


def real_of(batch: Any) -> torch.Tensor:
    return batch.inputs["attention_mask"].bool()


def image_of(batch: Any) -> torch.Tensor:
    """(B, T) bool: image tokens."""
    image = torch.zeros_like(real_of(batch))
    for b, own in enumerate(batch.images):
        for first, count, *_ in own:
            image[b, first : first + count] = True
    return image


def text_after(batch: Any) -> torch.Tensor:
    """(B, T) bool: text behind the first image of a row."""
    text = real_of(batch) & ~image_of(batch)
    for b, own in enumerate(batch.images):
        text[b, : own[0][0] if own else None] = False
    return text


def last_of(batch: Any) -> torch.Tensor:
    """(B, T) bool: the last token of a row that has an image."""
    last = torch.zeros_like(real_of(batch))
    for b, own in enumerate(batch.images):
        if own:
            last[b, int(real_of(batch)[b].nonzero().max())] = True
    return last


def tokens_of(family: str, count: int, height: int, width: int) -> list[Token]:
    """The tokens of one image as they stand in the prompt."""
    tokens: list[Token] = []
    if not family.startswith("next"):
        return [(0, n // width, n % width, height, width) for n in range(count)]
    for n in range(4):  # all our thumbnails
        tokens.append((0, n // 2, n % 2, 2, 2))
    for r in range(height):
        for c in range(width + 1):
            tokens.append((1, r, min(c, width - 1), height, width))
    assert len(tokens) == count
    return tokens


def blocks_of(tokens: list[Token]) -> list[list[Token]]:
    return [[t for t in tokens if t[0] == n] for n in sorted({t[0] for t in tokens})]


def per_block(rule: Callable[[Token], Any], takes: Callable[[int, int], int]) -> Callable[..., Any]:
    """A rule for an image from one for a token of a block of height x width."""

    def of_image(tokens: list[Token], at: int) -> tuple[list[Any], int]:
        found, begin = [], 0
        for block in blocks_of(tokens):
            for token in block:
                offset = rule(token)
                several = offset if isinstance(offset, tuple) else (offset,)
                found.append(tuple(at + begin + o for o in several))
            begin += takes(block[0][3], block[0][4])
        return found, begin

    return of_image


def count_ids(
    batch: Any, family: str, rule: Callable[..., Any], rows: int, dtype: Any = torch.float32
) -> torch.Tensor:
    """(R, B, T): text counts on; `rule(tokens, at)` gives the ids of an image that begins at `at`,
    and how many ids it takes up."""
    mask = real_of(batch)
    ids = torch.zeros(rows, *mask.shape, dtype=torch.float64)
    for b in range(len(mask)):
        at: float = 0
        owner = {first: rest for first, *rest in batch.images[b]}
        column = int(mask[b].nonzero().min())
        while column < mask.shape[1]:
            if column in owner:
                given, taken = rule(tokens_of(family, *owner[column]), at)
                for n, one in enumerate(given):
                    ids[:, b, column + n] = torch.tensor(one, dtype=torch.float64)
                column, at = column + len(given), at + taken
            else:
                if mask[b, column]:
                    ids[:, b, column] = at
                    at += 1
                column += 1
    return ids.to(dtype)


def rotary_rows(family: str) -> int:
    return 3 if family.startswith("qwen") else 1


def stock_rule(family: str) -> Callable[..., Any]:
    if family.startswith("qwen"):
        return per_block(lambda t: (0, t[1], t[2]), max)

    def line(tokens: list[Token], at: int) -> tuple[list[Any], int]:
        return [(at + n,) for n in range(len(tokens))], len(tokens)

    return line


def bapa_rule(tokens: list[Token], at: int) -> tuple[list[Any], int]:
    return [(at,)] * len(tokens), 1


def stock_ids(batch: Any, family: str) -> torch.Tensor:
    return count_ids(batch, family, stock_rule(family), rotary_rows(family))


def bapa_ids(batch: Any, family: str) -> torch.Tensor:
    return count_ids(batch, family, bapa_rule, rotary_rows(family))


def same_image(batch: Any) -> torch.Tensor:
    """(B, T, T) bool."""
    number = torch.full(real_of(batch).shape, -1)
    for b, own in enumerate(batch.images):
        for n, (first, count, *_) in enumerate(own):
            number[b, first : first + count] = n
    return (number[:, :, None] == number[:, None]) & (number >= 0)[:, None]


def stock_allowed(model: Any, batch: Any, layer: int) -> torch.Tensor:
    """(B, T, T) bool: causal, padding apart, windows, and Gemma's images in both directions."""
    real = real_of(batch)
    length = real.shape[1]
    behind = torch.arange(length)[:, None] - torch.arange(length)
    allowed = (behind >= 0)[None].repeat(len(real), 1, 1)
    if layer_type(model, layer) == "sliding_attention":
        allowed &= behind < language(model).config.sliding_window
    if "gemma" in model.config.model_type:
        allowed |= same_image(batch)
    allowed &= real[:, None]
    # Rows of padding see themselves, so that no row is empty; nobody looks at them.
    return allowed | torch.eye(length, dtype=torch.bool)


def ordered_allowed(
    stock: torch.Tensor, batch: Any, family: str, order: Callable[[Token], float]
) -> torch.Tensor:
    """Inside each block a token sees those whose order is not above its own; token by token."""
    allowed = stock.clone()
    for b, own in enumerate(batch.images):
        for first, *rest in own:
            tokens = tokens_of(family, *rest)
            for q, asking in enumerate(tokens):
                for k, asked in enumerate(tokens):
                    if asking[0] == asked[0]:
                        allowed[b, first + q, first + k] = order(asked) <= order(asking)
    return allowed


def ring(token: Token) -> int:
    _, r, c, height, width = token
    return min(r, c, height - 1 - r, width - 1 - c)


def steps(token: Token) -> int:
    _, r, c, height, width = token
    return min(r, height - 1 - r) + min(c, width - 1 - c)


def captured(model: Any, batch: Any, **inputs: Any) -> torch.Tensor:
    """(B, T, D): embeddings as the stock model gives them to its language model."""
    found: list[torch.Tensor] = []

    def look(module: Any, args: Any, kwargs: Any) -> None:
        found.append(kwargs["inputs_embeds"].detach().clone())

    handle = language(model).register_forward_pre_hook(look, with_kwargs=True)
    with torch.no_grad():
        model(**{**batch.inputs, **inputs}, use_cache=False)
    handle.remove()
    return found[0]


def stock_plan(model: Any, batch: Any, family: str) -> Plan:
    """What the stock model does."""
    count = layers_of(model)
    return Plan(
        ids=[stock_ids(batch, family)] * count,
        allowed=[stock_allowed(model, batch, n) for n in range(count)],
        image=image_of(batch),
    )


def difference(a: torch.Tensor, b: torch.Tensor, batch: Any) -> float:
    """The largest at real tokens."""
    return float((a - b).abs()[real_of(batch)].max())
