"""Second half of the training: the decoder learns to answer, on frozen image tokens.

Tower and projector are frozen here: trained on at the decoder's rate, image tokens grow twenty
times longer and stop pointing at their names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from wheresight.pocket.architectures import architecture_of
from wheresight.pocket.curves import Curve, Report
from wheresight.pocket.emoji import Things
from wheresight.pocket.language import Stage, ask
from wheresight.pocket.model import image_features, pixel_tensor
from wheresight.pocket.optimizer import MuonAndAdamW, learning_rate
from wheresight.pocket.packing import Packed, hidden_states, pack
from wheresight.pocket.recipe import Recipe
from wheresight.pocket.scenes import sample_scene

if TYPE_CHECKING:
    import torch


def stage_at(step: int, recipe: Recipe) -> tuple[Stage, int]:
    """What is asked at a step, and about how many things at most.

    Short wordings and at most two things first: with four words between the name and the answer,
    or nine things at once, matching does not start. What is at a cell is learned next, where a
    named thing is after that, and how two named things stand to each other last.
    """
    if step < recipe.many_objects_from:
        return Stage(0.0, 0.6, 0.1, at_cell=0.12, where=0.1, cell_match=0.03, relation=0.05), 2
    most = 4 if step < recipe.five_objects_from else 5
    if step < recipe.long_questions_from:
        return Stage(0.0), most
    if step < recipe.relations_from:
        return Stage(0.6), most
    if step < recipe.restart_at:
        return Stage(0.6, 0.25, 0.04, 0.14, where=0.20, cell_match=0.07, relation=0.30), most
    if step < recipe.pairs_from:
        return Stage(0.3, 0.15, 0.03, 0.12, 0.50, cell_match=0.1, relation=0.1, relative=0.2), 4
    return Stage(0.6, 0.25, 0.04, 0.14, where=0.22, cell_match=0.05, relation=0.30), most


def rate_at(step: int, recipe: Recipe) -> float:
    """Two cosines: the first is left at ``restart_at``, the second goes to the end."""
    if step < recipe.restart_at:
        return learning_rate(step, recipe.first_cycle, recipe.decoder_warmup, recipe.decoder_rate)
    rest = recipe.decoder_steps - recipe.restart_at
    return learning_rate(step - recipe.restart_at, rest, 20, recipe.decoder_rate)


def answer_loss(
    model: Any, packed: Packed, features: torch.Tensor, bfloat16: bool
) -> tuple[torch.Tensor, float, float]:
    """Mean cross-entropy over answer tokens; share of Yes/No right; share of other tokens right."""
    import torch
    from torch.nn import functional as F

    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        states = hidden_states(model, packed, features)
        answered = packed.labels >= 0
        logits = model.lm_head(states[answered])
    logits = logits.float()
    wanted = packed.labels[answered]
    loss = F.cross_entropy(logits, wanted)
    right = (logits.argmax(-1) == wanted).float()
    yes_no = packed.yes_no[answered]
    other = ~yes_no & (wanted != model.config.text_config.eos_token_id)
    return loss, right[yes_no].mean().item(), right[other].mean().item()


def train_decoder(
    model: Any, tokenizer: Any, things: Things, recipe: Recipe, report: Report
) -> list[dict[str, float]]:
    """Train the decoder in place and return the curve.

    At ``recipe.fresh_starts`` the optimizer forgets its state and scenes come from another stream,
    as they did where the run behind the shipped weights was stopped and taken up again.
    """
    rng = np.random.default_rng((recipe.seed, 3))
    named = only_decoder_trains(model)
    # Words move slowly: the frozen image tokens point at where they were.
    optimizer = MuonAndAdamW(named, recipe.decoder_weight_decay, recipe.word_rate_share)
    kind, count = architecture_of(model), recipe.image_tokens
    curve = Curve("decoder", recipe.decoder_steps, recipe.log_every, report)
    model.train()
    for step in range(recipe.decoder_steps):
        if step in recipe.fresh_starts:
            rng = np.random.default_rng((recipe.seed, 3, step))
            optimizer = MuonAndAdamW(named, recipe.decoder_weight_decay, recipe.word_rate_share)
        stage, most = stage_at(step, recipe)
        scenes = [
            sample_scene(rng, things, most, recipe.image_size, recipe.patch_size,
                         recipe.grid_share, recipe.centre_spread)
            for _ in range(recipe.decoder_batch)
        ]  # fmt: skip
        asked = [ask(rng, scene, things, recipe.questions, stage) for scene in scenes]
        chat = bool(rng.random() < recipe.multi_turn_share)
        packed = pack(asked, tokenizer, count, multi_turn=chat, kind=kind)
        pixels = np.stack([scene.pixels for scene in scenes])
        curve.add(step, learn(model, optimizer, packed, pixels, rate_at(step, recipe), recipe))
    model.eval()
    return curve.points


def only_decoder_trains(model: Any) -> list[tuple[str, Any]]:
    """Freeze all else; the decoder's parameters with their names."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    named = list(model.model.language_model.named_parameters())
    for _, parameter in named:
        parameter.requires_grad_(True)
    return named


def learn(
    model: Any,
    optimizer: MuonAndAdamW,
    packed: Packed,
    pictures: np.ndarray,
    rate: float,
    recipe: Recipe,
) -> dict[str, float]:
    """One step of the decoder on packed questions about pictures, (B, S, S, 3) uint8."""
    import torch

    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=recipe.bfloat16):
        features = image_features(model, pixel_tensor(pictures)).float()
    loss, yes_no, other = answer_loss(model, packed, features, recipe.bfloat16)
    optimizer.zero_grad()
    loss.backward()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    torch.nn.utils.clip_grad_norm_(trained, recipe.gradient_norm)
    optimizer.step(rate)
    return {"loss": loss.item(), "yes_no": yes_no, "words": other}
