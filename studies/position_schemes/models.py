"""What every decoder starts from: shared tower, projector aligned to the words, random weights.

The tower is that of the shipped pocket model, frozen. Its own projector is not used: it has the
place of each token written into it in closed form (`wheresight.pocket.places`), beside which
position ids would hardly matter. So a fresh projector is aligned, for each seed and each choice of
tower blocks, with the same few steps, until patches point at the names of what they show. Then it
goes on learning with the decoder, more slowly, as LLaVA's does; so what a scheme does to features
(`normalize`) is trained with it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import world
from design import Design, mix_at, start_name

from wheresight.pocket import model_folder
from wheresight.pocket.model import (
    build_model,
    build_processor,
    image_features,
    name_vectors,
    pixel_tensor,
    word_length,
)
from wheresight.pocket.optimizer import MuonAndAdamW, learning_rate
from wheresight.pocket.scenes import ABSENT, IGNORE
from wheresight.pocket.tokenizer import train_tokenizer
from wheresight.pocket.train_tower import BACKGROUND, naming_loss

if TYPE_CHECKING:
    import torch

_RATE, _WARMUP = 4e-3, 20


def tower_revision() -> str:
    """What identifies the shared tower: the shipped weights' revision."""
    from wheresight.lvlm.loading import look_up

    return look_up("pocket").revision


def opened(folder: Path) -> tuple[Any, Any]:
    """Model and processor of a folder, float32 on the CPU."""
    import torch
    from transformers import AutoModelForImageTextToText

    from wheresight.lvlm.stills import load_processor

    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    return model.eval(), load_processor(str(folder))


def save(model: Any, processor: Any, folder: Path, files: dict[str, str] | None = None) -> None:
    """Write a model in half precision and its processor, all or nothing.

    Where another process was faster its folder stays: what is named alike is alike.

    Args:
        model: changed to half precision.
        processor: its processor.
        folder: to be made.
        files: texts beside them, by name.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=folder.parent))
    try:
        model.half().save_pretrained(draft)
        processor.save_pretrained(draft)
        for name, text in (files or {}).items():
            (draft / name).write_text(text, encoding="utf-8")
        try:
            draft.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def start(design: Design, seed: int, blocks: Sequence[int], out: Path) -> Path:
    """The folder with tower, aligned projector and random decoder; made if it is not there."""
    folder = out / "starts" / start_name(design, seed, blocks, tower_revision())
    if not folder.is_dir():
        recipe = design.recipe(seed)
        tokenizer = train_tokenizer(list(world.NAMES), recipe.vocabulary)
        model = build_model(recipe, tokenizer)
        if blocks:
            model = _with_blocks(model, blocks)
        with_shared_tower(model)
        align(model, tokenizer, design, seed, blocks)
        save(model, build_processor(recipe, tokenizer), folder)
    return folder


def with_shared_tower(model: Any) -> None:
    """Put the shipped pocket model's tower into a model."""
    pocket, _ = opened(model_folder())
    model.model.vision_tower.load_state_dict(pocket.model.vision_tower.state_dict())


def features(model: Any, shown: Sequence[world.Shown]) -> torch.Tensor:
    """(B, N, D) image tokens of pictures, under whatever block the model is in."""
    pixels = pixel_tensor(np.stack([one.pixels for one in shown]))
    return image_features(model, pixels).float()


def seen(model: Any, shown: Sequence[world.Shown]) -> torch.Tensor:
    """(B, N, V) what the tower hands to the projector, under whatever block the model is in."""
    import torch

    caught: list[torch.Tensor] = []
    projector = model.model.multi_modal_projector
    hook = projector.register_forward_pre_hook(lambda _, given: caught.append(given[0]))
    try:
        with torch.no_grad():
            features(model, shown)
    finally:
        hook.remove()
    return torch.cat(caught)


def projected(model: Any, seen: torch.Tensor) -> torch.Tensor:
    """(B, N, D) image tokens of what the tower handed on; with it the same as `features`."""
    tokens: torch.Tensor = model.model.multi_modal_projector(seen)
    return tokens.float()


def align(
    model: Any, tokenizer: Any, design: Design, seed: int, blocks: Sequence[int]
) -> dict[str, float]:
    """Train the projector alone until patches point at names; then make them as long as words.

    Returns what was right at the last step.
    """
    import torch
    from torch.nn import functional as F

    from wheresight import intervene

    rng = np.random.default_rng((seed, 1))
    names = [*world.NAMES, BACKGROUND]
    with torch.no_grad():
        words = F.normalize(name_vectors(model, tokenizer, names), dim=-1)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    projector = model.model.multi_modal_projector
    named = list(projector.named_parameters())
    for _, parameter in named:
        parameter.requires_grad_(True)
    optimizer = MuonAndAdamW(named, 0.0)
    mix = mix_at(1.0)
    values: dict[str, float] = {}
    joined = "/".join(str(block) for block in blocks)
    with intervene(model, f"multilayer:layers={joined}" if blocks else "none"):
        for step in range(design.align_steps):
            shown = [world.sample(rng, mix) for _ in range(design.align_batch)]
            targets = _targets(shown, len(names) - 1)
            pixels = pixel_tensor(np.stack([one.pixels for one in shown]))
            found = image_features(model, pixels)
            loss, values = naming_loss(found, targets, words, design.recipe(seed))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step(learning_rate(step, design.align_steps, _WARMUP, _RATE))
        with torch.no_grad():
            found = features(model, shown)
    with torch.no_grad():
        scale = word_length(model) / found.norm(dim=-1).mean()
        projector.linear_2.weight.mul_(scale)
        projector.linear_2.bias.mul_(scale)
    return values


def _with_blocks(model: Any, blocks: Sequence[int]) -> Any:
    """The same model with a projector that is given several blocks of the tower."""
    config = model.config
    config.vision_feature_layer = list(blocks)
    wider = type(model)(config).float()
    state = {k: v for k, v in model.state_dict().items() if "multi_modal_projector" not in k}
    missing, surplus = wider.load_state_dict(state, strict=False)
    assert not surplus and all("multi_modal_projector" in name for name in missing), missing
    wider.tie_weights()
    return wider


def _targets(shown: Sequence[world.Shown], background: int) -> torch.Tensor:
    """(B, N) int64: index of the name under each patch, `background`, or -100 to ignore."""
    import torch

    patches = torch.from_numpy(np.stack([one.patches for one in shown])).flatten(1)
    named = torch.where(patches == ABSENT, background, patches)
    return torch.where(patches == IGNORE, -100, named)
