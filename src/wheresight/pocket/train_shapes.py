"""Third part of the training: where shapes are, and answers chosen from a list.

First the tower and projector go on, on old scenes and new ones by turns, so that smaller shapes in
more colours get their names; then the decoder goes on, on tokens that are frozen again. The place
that is written in each token (see ``places``) is held where it is, and so is the tokens' length.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from wheresight.pocket.architectures import architecture_of
from wheresight.pocket.attention import plain_attention
from wheresight.pocket.curves import Curve, Report
from wheresight.pocket.emoji import Things
from wheresight.pocket.language import Question, Stage, ask, ask_with_options
from wheresight.pocket.model import image_features, name_vectors, pixel_tensor
from wheresight.pocket.optimizer import MuonAndAdamW, learning_rate
from wheresight.pocket.packing import pack
from wheresight.pocket.places import place_code
from wheresight.pocket.recipe import Recipe, shape_phases
from wheresight.pocket.scenes import IGNORE, Scene, sample_scene
from wheresight.pocket.shape_scenes import NAMES, ask_of_shapes, sample_shape_scene
from wheresight.pocket.train_decoder import learn, only_decoder_trains
from wheresight.pocket.train_tower import BACKGROUND, naming_loss, patch_targets, vision_parameters

if TYPE_CHECKING:
    import torch

_WARMUP = 50
_STAGE = Stage(0.6, 0.25, 0.04, 0.14, where=0.22, cell_match=0.05, relation=0.30)


def stage_of(recipe: Recipe, turn: int) -> Stage:
    """What is asked about the other scenes in a round, which is counted from 0."""
    last = turn == recipe.shape_rounds - 1
    return replace(_STAGE, at_cell=recipe.last_round_at_cell) if last else _STAGE


def share_at_cell(stage: Stage) -> float:
    """The share of a stage's questions that ask what is at a cell."""
    every = (stage.match, stage.naming, stage.at_cell, stage.where, stage.cell_match)
    return stage.at_cell / (sum(every) + stage.relation)


def train_on_shapes(
    model: Any, tokenizer: Any, things: Things, recipe: Recipe, report: Report, turn: int = 0
) -> dict[str, list[dict[str, float]]]:
    """Train tower and projector, then the decoder, in place; the curves of both.

    Each round, ``turn``, has pictures and questions of its own.
    """
    curves = {}
    for learns, phase in zip((_train_tower, _train_decoder), shape_phases(turn), strict=True):
        curve = Curve(phase, recipe.phases[phase], recipe.log_every, report)
        curves[phase] = learns(model, tokenizer, things, recipe, turn, curve)
    return curves


def asked_scene(
    rng: np.random.Generator, things: Things, recipe: Recipe, count: int
) -> tuple[np.ndarray, list[Question]]:
    """A picture, (S, S, 3) uint8, such as this part's decoder sees, with ``count`` questions."""
    if rng.random() < recipe.shape_share:
        shown = sample_shape_scene(rng, recipe.image_size, recipe.patch_size)
        return shown.pixels, ask_of_shapes(rng, shown, count)
    scene = _scene(rng, things, 5, recipe)
    return scene.pixels, _ask(rng, scene, things, recipe, count)


def place_directions(features: torch.Tensor) -> torch.Tensor:
    """(B, N, D) image tokens -> (D, 4): an orthonormal basis of where the place is written."""
    import torch

    side = round(features.shape[1] ** 0.5)
    code = place_code(side).to(features)
    mean = features.mean(0)
    written = (mean - mean.mean(0)).T @ code / len(code)
    basis: torch.Tensor = torch.linalg.qr(written).Q
    return basis


def _train_tower(
    model: Any, tokenizer: Any, things: Things, recipe: Recipe, turn: int, curve: Curve
) -> list[dict[str, float]]:
    import torch
    from torch.nn import functional as F

    rng = _stream(recipe, 8, turn)
    names = [*things.names, *(name for name in NAMES if name not in things.names), BACKGROUND]
    place = {name: index for index, name in enumerate(names)}
    of_shape = torch.tensor([place[name] for name in NAMES])
    background = len(names) - 1
    shapes = int(recipe.tower_batch * recipe.shape_share)
    size, patch = recipe.image_size, recipe.patch_size

    def drawn() -> tuple[torch.Tensor, torch.Tensor]:
        old = [_scene(rng, things, 6, recipe) for _ in range(recipe.tower_batch - shapes)]
        new = [sample_shape_scene(rng, size, patch) for _ in range(shapes)]
        under = torch.from_numpy(np.stack([shown.patches for shown in new])).flatten(1)
        named = torch.where(under >= 0, of_shape[under.clamp(min=0)], background)
        named = torch.where(under == IGNORE, -100, named)
        pictures = np.stack([*(scene.pixels for scene in old), *(shown.pixels for shown in new)])
        return pixel_tensor(pictures), torch.cat([patch_targets(old, background), named])

    with torch.no_grad():
        words = F.normalize(name_vectors(model, tokenizer, names), dim=-1)
        before = torch.cat([image_features(model, drawn()[0]) for _ in range(8)])
        basis = place_directions(before)
        written = before.mean(0) @ basis  # (N, 4)
        length = before.norm(dim=-1).mean()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    named = vision_parameters(model)
    trained = [parameter for _, parameter in named]
    for parameter in trained:
        parameter.requires_grad_(True)
    optimizer = MuonAndAdamW(named, recipe.tower_weight_decay)
    steps = recipe.shape_tower_steps
    tower = architecture_of(model).tower(model)
    model.train()
    with plain_attention(tower):
        for step in range(steps):
            pixels, targets = drawn()
            with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bfloat16):
                features = image_features(model, pixels)
            features = features.float()
            places = features @ basis
            naming, values = naming_loss(features - places @ basis.T, targets, words, recipe)
            moved = F.mse_loss(places, written.expand_as(places)) / written.square().mean()
            longer = (features.norm(dim=-1).mean() / length - 1).square()
            loss = naming + moved + longer
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, recipe.gradient_norm)
            optimizer.step(learning_rate(step, steps, _WARMUP, recipe.shape_tower_rate))
            shape_right = _right(features[-shapes:], targets[-shapes:], basis, words, background)
            values |= {"shapes_right": shape_right, "place_error": moved.item()}
            curve.add(step, {"loss": loss.item(), **values})
    model.eval()
    return curve.points


def _right(
    features: torch.Tensor,
    targets: torch.Tensor,
    basis: torch.Tensor,
    words: torch.Tensor,
    background: int,
) -> float:
    """Share of the covered patches that are nearest to their own name."""
    import torch

    with torch.no_grad():
        rest = features - features @ basis @ basis.T
        covered = (targets >= 0) & (targets != background)
        return float(((rest[covered] @ words.T).argmax(-1) == targets[covered]).float().mean())


def _train_decoder(
    model: Any, tokenizer: Any, things: Things, recipe: Recipe, turn: int, curve: Curve
) -> list[dict[str, float]]:
    rng = _stream(recipe, 9, turn)
    named = only_decoder_trains(model)
    optimizer = MuonAndAdamW(named, recipe.decoder_weight_decay, recipe.word_rate_share)
    steps = recipe.shape_decoder_steps
    kind, batch, count = architecture_of(model), recipe.decoder_batch, recipe.image_tokens
    stage = stage_of(recipe, turn)
    model.train()
    for step in range(steps):
        if rng.random() < recipe.shape_share:
            shown = [
                sample_shape_scene(rng, recipe.image_size, recipe.patch_size) for _ in range(batch)
            ]
            asked = [ask_of_shapes(rng, picture, recipe.shape_questions) for picture in shown]
            pictures = np.stack([picture.pixels for picture in shown])
        else:
            scenes = [_scene(rng, things, 5, recipe) for _ in range(batch)]
            asked = [_ask(rng, scene, things, recipe, recipe.questions, stage) for scene in scenes]
            pictures = np.stack([scene.pixels for scene in scenes])
        chat = bool(rng.random() < recipe.multi_turn_share)
        packed = pack(asked, tokenizer, count, multi_turn=chat, kind=kind)
        rate = learning_rate(step, steps, _WARMUP, recipe.shape_decoder_rate)
        curve.add(step, learn(model, optimizer, packed, pictures, rate, recipe))
    model.eval()
    return curve.points


def _stream(recipe: Recipe, part: int, turn: int) -> np.random.Generator:
    """Pictures and questions of a part in a round; the first round's have no number of it."""
    return np.random.default_rng((recipe.seed, part, *((turn,) if turn else ())))


def _scene(rng: np.random.Generator, things: Things, most: int, recipe: Recipe) -> Scene:
    return sample_scene(
        rng, things, most, recipe.image_size, recipe.patch_size, recipe.grid_share,
        recipe.centre_spread,
    )  # fmt: skip


def _ask(
    rng: np.random.Generator,
    scene: Scene,
    things: Things,
    recipe: Recipe,
    count: int,
    stage: Stage = _STAGE,
) -> list[Question]:
    """Questions as before, some in favour of ones that list their answers."""
    return [
        (ask_with_options(rng, scene, things) if rng.random() < recipe.options_share else None)
        or question
        for question in ask(rng, scene, things, count, stage)
    ]
