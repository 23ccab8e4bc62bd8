"""First half of the training: tower and projector learn to write names where things stand.

Every patch that a thing covers should come out of the projector close to that thing's name, as
the decoder's (untrained, frozen) word embeddings spell it. The loss is dense: 36 answers for a
picture instead of one. A small extra head asks each token for its own place, so that places are
not lost from the tokens; the head is thrown away afterwards.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from wheresight.pocket.emoji import Things
from wheresight.pocket.model import image_features, name_vectors, pixel_tensor
from wheresight.pocket.optimizer import MuonAndAdamW, learning_rate
from wheresight.pocket.recipe import Recipe
from wheresight.pocket.scenes import IGNORE, Scene, sample_scene

if TYPE_CHECKING:
    import torch

BACKGROUND = "nothing"
Report = Callable[[str, int, int, dict[str, float]], None]


def patch_targets(scenes: list[Scene], background: int) -> torch.Tensor:
    """(B, N) int64: index of the name under each patch, ``background``, or -100 to ignore."""
    import torch

    patches = torch.from_numpy(np.stack([scene.patches for scene in scenes])).flatten(1)
    targets = torch.where(patches >= 0, patches, torch.full_like(patches, background))
    return torch.where(patches == IGNORE, torch.full_like(patches, -100), targets)


def train_tower(
    model: Any, tokenizer: Any, things: Things, recipe: Recipe, report: Report
) -> list[dict[str, float]]:
    """Train tower and projector in place, rescale the projector, and return the curve."""
    import torch
    from torch.nn import functional as F

    rng = np.random.default_rng((recipe.seed, 1))
    names = [*things.names, BACKGROUND]
    with torch.no_grad():
        words = F.normalize(name_vectors(model, tokenizer, names), dim=-1)
    background = len(names) - 1
    place_head = torch.nn.Linear(recipe.width, 2)
    side = recipe.image_size // recipe.patch_size
    ticks = torch.linspace(-1, 1, side)
    places = torch.stack(torch.meshgrid(ticks, ticks, indexing="ij"), -1).reshape(-1, 2)
    named = [
        *model.model.vision_tower.named_parameters(),
        *model.model.multi_modal_projector.named_parameters(),
        *(("embedded_place", p) for p in place_head.parameters()),
    ]
    trained = [parameter for _, parameter in named]
    optimizer = MuonAndAdamW(named, recipe.tower_weight_decay)
    curve: list[dict[str, float]] = []
    totals: dict[str, list[float]] = {}
    started = time.monotonic()
    # With 37 tokens plain attention is twice as fast on a CPU as the fused kernel's backward.
    model.model.vision_tower.set_attn_implementation("eager")
    model.train()
    for step in range(recipe.tower_steps):
        # Few and large things first: one or two, then up to six.
        most = 2 if step < 0.1 * recipe.tower_steps else 4 if step < 0.3 * recipe.tower_steps else 6
        scenes = [
            sample_scene(rng, things, most, recipe.image_size, recipe.patch_size,
                         recipe.grid_share, recipe.centre_spread)
            for _ in range(recipe.tower_batch)
        ]  # fmt: skip
        targets = patch_targets(scenes, background)
        pixels = pixel_tensor(np.stack([scene.pixels for scene in scenes]))
        rate = learning_rate(step, recipe.tower_steps, recipe.tower_warmup, recipe.tower_rate)
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bfloat16):
            features = image_features(model, pixels)
        features = features.float()
        known = targets >= 0
        cosines = F.normalize(features[known], dim=-1) @ words.T  # (M, K + 1)
        wanted = targets[known]
        # Background patches are many and easy; together they weigh as much as a quarter.
        weights = torch.where(wanted == background, 0.25, 1.0)
        each = F.cross_entropy(cosines / recipe.temperature, wanted, reduction="none")
        own = cosines.gather(1, wanted[:, None])[:, 0]
        naming = (weights * (each + recipe.pull * (1 - own))).sum() / weights.sum()
        located = F.mse_loss(place_head(features), places.expand(features.shape[0], -1, -1))
        loss = naming + recipe.position_weight * located
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, recipe.gradient_norm)
        optimizer.step(rate)
        with torch.no_grad():
            things_only = wanted != background
            right = cosines.argmax(-1) == wanted
            values = {
                "loss": loss.item(),
                "patches_right": right[things_only].float().mean().item(),
                "background_right": right[~things_only].float().mean().item(),
                "cosine": own[things_only].mean().item(),
                "place_error": located.item(),
            }
        for key, value in values.items():
            totals.setdefault(key, []).append(value)
        if (step + 1) % recipe.log_every == 0 or step + 1 == recipe.tower_steps:
            point = {key: float(np.nanmean(value)) for key, value in totals.items()}
            point |= {"step": step + 1, "seconds": time.monotonic() - started}
            curve.append(point)
            totals = {}
            report("tower", step + 1, recipe.tower_steps, point)
    model.model.vision_tower.set_attn_implementation("sdpa")
    rescale_projector(model, things, recipe)
    return curve


def rescale_projector(model: Any, things: Things, recipe: Recipe) -> float:
    """Scale the projector's last layer so that image tokens are as long as word embeddings.

    Returns the mean length of an image token before.
    """
    import torch

    rng = np.random.default_rng((recipe.seed, 2))
    scenes = [sample_scene(rng, things, 4, recipe.image_size, recipe.patch_size) for _ in range(64)]
    model.eval()
    with torch.no_grad():
        features = image_features(model, pixel_tensor(np.stack([s.pixels for s in scenes])))
        length = features.norm(dim=-1).mean()
        target = model.get_input_embeddings().weight.norm(dim=-1).mean()
        last = model.model.multi_modal_projector.linear_2
        last.weight.mul_(target / length)
        last.bias.mul_(target / length)
    return float(length)
