"""Between the two halves: write each image token's place larger, in closed form.

The tower knows where each token stands (its place is read off a token with a mean squared error
below 0.01), but writes it at a few percent of the token's length, because the loss on names asks
for names alone. On such tokens the decoder learned matching and no relations: they stayed at
chance for 2,000 steps. So the last layer of the projector, being linear, gets a second term: the
least-squares readout of the place, times four fixed random directions. Nothing in it prefers one
place to another as an answer; it makes all of them legible.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from wheresight.pocket.architectures import architecture_of
from wheresight.pocket.emoji import Things
from wheresight.pocket.model import image_features, pixel_tensor
from wheresight.pocket.recipe import Recipe
from wheresight.pocket.scenes import sample_scene

if TYPE_CHECKING:
    import torch


def place_code(side: int) -> torch.Tensor:
    """(side * side, 4) float64: x, y, x squared, y squared, each with mean 0 and variance 1.

    With the squares, being near a given cell is a linear function of the code.
    """
    import torch

    ticks = torch.linspace(-1, 1, side, dtype=torch.float64)
    y, x = torch.meshgrid(ticks, ticks, indexing="ij")
    code = torch.stack([x, y, x * x, y * y], -1).reshape(-1, 4)
    return (code - code.mean(0)) / code.std(0, correction=0)


def write_places(model: Any, things: Things, recipe: Recipe) -> float:
    """Add the place code to the projector's last layer, then restore the tokens' mean length.

    Returns the mean squared error of the readout, in units of the code's variance.
    """
    import torch

    rng = np.random.default_rng((recipe.seed, 6))
    last = architecture_of(model).last_layer(model)
    inner: list[torch.Tensor] = []
    hook = last.watch(inner)
    model.eval()
    lengths = []
    with torch.no_grad():
        for _ in range(recipe.place_batches):
            scenes = [
                sample_scene(rng, things, 4, recipe.image_size, recipe.patch_size)
                for _ in range(64)
            ]
            pixels = pixel_tensor(np.stack([scene.pixels for scene in scenes]))
            lengths.append(image_features(model, pixels).norm(dim=-1).mean())
    hook.remove()
    length = float(torch.stack(lengths).mean())
    hidden = torch.cat([h.reshape(-1, h.shape[-1]) for h in inner]).double()
    code = place_code(recipe.image_size // recipe.patch_size)
    wanted = code.repeat(len(hidden) // len(code), 1)
    # Without a bias to take it off again, the mean stays in: the code's own mean is 0.
    centre = hidden.mean(0) if last.bias is not None else torch.zeros_like(hidden[0])
    spread = hidden - centre
    gram = spread.T @ spread / len(spread)
    gram += 1e-3 * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    readout = torch.linalg.solve(gram, spread.T @ wanted / len(spread))  # (D, 4)
    error = float((spread @ readout - wanted).square().mean())
    noise = torch.from_numpy(rng.standard_normal((recipe.width, 4)))
    directions = torch.linalg.qr(noise).Q  # (D, 4), orthonormal
    # Four code entries of variance 1 make a vector of length 2.
    directions *= recipe.place_share * length / 2
    scale = 1 / (1 + recipe.place_share**2) ** 0.5
    last.weight.add_((directions @ readout.T).float()).mul_(scale)
    if last.bias is not None:
        last.bias.sub_((directions @ readout.T @ centre).float()).mul_(scale)
    return error
