"""First half of the training: tower and projector learn to write names where things stand.

Every patch that a thing covers should come out of the projector close to that thing's name, as
the decoder's (untrained, frozen) word embeddings spell it. The loss is dense: 36 answers for a
picture instead of one. A small extra head asks each token for its own place, so that places are
not lost from the tokens; the head is thrown away afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from wheresight.pocket.architectures import architecture_of
from wheresight.pocket.attention import plain_attention
from wheresight.pocket.curves import Curve, Report
from wheresight.pocket.emoji import Things
from wheresight.pocket.model import image_features, name_vectors, pixel_tensor, word_length
from wheresight.pocket.optimizer import MuonAndAdamW, learning_rate
from wheresight.pocket.recipe import Recipe
from wheresight.pocket.scenes import IGNORE, Scene, sample_scene

if TYPE_CHECKING:
    import torch

BACKGROUND = "nothing"


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
        *vision_parameters(model),
        *(("embedded_place", p) for p in place_head.parameters()),
    ]
    trained = [parameter for _, parameter in named]
    optimizer = MuonAndAdamW(named, recipe.tower_weight_decay)
    curve = Curve("tower", recipe.tower_steps, recipe.log_every, report)
    few, more = 0.1 * recipe.tower_steps, 0.3 * recipe.tower_steps
    tower = architecture_of(model).tower(model)
    model.train()
    with plain_attention(tower):
        for step in range(recipe.tower_steps):
            # Few and large things first: one or two, then up to six.
            most = 2 if step < few else 4 if step < more else 6
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
            naming, values = naming_loss(features, targets, words, recipe)
            located = F.mse_loss(place_head(features), places.expand(features.shape[0], -1, -1))
            loss = naming + recipe.position_weight * located
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, recipe.gradient_norm)
            optimizer.step(rate)
            curve.add(step, {"loss": loss.item(), **values, "place_error": located.item()})
    rescale_projector(model, things, recipe)
    return curve.points


def vision_parameters(model: Any) -> list[tuple[str, Any]]:
    """Those of tower and projector, with their names."""
    found: dict[int, tuple[str, Any]] = {}
    for part in architecture_of(model).vision(model).values():
        for name, parameter in part.named_parameters():
            found.setdefault(id(parameter), (name, parameter))
    return list(found.values())


def naming_loss(
    features: torch.Tensor, targets: torch.Tensor, words: torch.Tensor, recipe: Recipe
) -> tuple[torch.Tensor, dict[str, float]]:
    """How far image tokens are from the names of what they show.

    Args:
        features: (B, N, D) image tokens.
        targets: (B, N) indices of names, -100 to ignore.
        words: (K + 1, D) unit vectors of the names; the last is that of the background.
        recipe: temperature and pull.

    Returns:
        The loss, and what is right in numbers.
    """
    import torch
    from torch.nn import functional as F

    known = targets >= 0
    cosines = F.normalize(features[known], dim=-1) @ words.T  # (M, K + 1)
    wanted = targets[known]
    things = wanted != len(words) - 1
    # Background patches are many and easy; together they weigh as much as a quarter.
    weights = torch.where(things, 1.0, 0.25)
    each = F.cross_entropy(cosines / recipe.temperature, wanted, reduction="none")
    own = cosines.gather(1, wanted[:, None])[:, 0]
    loss = (weights * (each + recipe.pull * (1 - own))).sum() / weights.sum()
    with torch.no_grad():
        right = (cosines.argmax(-1) == wanted).float()
        values = {
            "patches_right": right[things].mean().item(),
            "background_right": right[~things].mean().item(),
            "cosine": own[things].mean().item(),
        }
    return loss, values


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
        last = architecture_of(model).last_layer(model)
        for part in (last.weight, last.bias):
            if part is not None:
                part.mul_(word_length(model) / length)
    return float(length)
