"""Every number of the training, in one frozen dataclass."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Recipe:
    """The recipe of the pocket LVLM; the defaults are those of the shipped weights.

    Sizes: ``image_size`` px pictures give ``(image_size / patch_size)**2`` image tokens.
    Steps: the tower learns for ``tower_steps`` of ``tower_batch`` pictures, then is frozen with
    its projector while the decoder learns for ``decoder_steps`` of ``decoder_batch`` pictures
    with ``questions`` questions each. Last, both go on for ``shape_tower_steps`` and
    ``shape_decoder_steps``, half of them on pictures of shapes (``shape_scenes``);
    ``shape_rounds`` times. ``last_round_at_cell`` is the weight of what is at a cell among the
    last round's questions about other pictures, beside 0.86 of all other kinds.
    """

    architecture: str = "llava"
    seed: int = 20260
    threads: int = 2
    bfloat16: bool = True

    image_size: int = 96
    patch_size: int = 16
    tower_width: int = 224
    tower_layers: int = 6
    tower_heads: int = 4
    tower_mlp: int = 640
    width: int = 256
    layers: int = 5
    heads: int = 4
    mlp: int = 640
    rope_theta: float = 10_000.0
    vocabulary: int = 2_000
    embedding_std: float = 0.1
    place_std: float = 0.3

    tower_steps: int = 4_000
    tower_batch: int = 64
    tower_rate: float = 6e-3
    tower_warmup: int = 100
    tower_weight_decay: float = 0.05
    temperature: float = 0.06
    pull: float = 0.5
    position_weight: float = 0.3

    place_share: float = 0.45
    place_batches: int = 24

    decoder_steps: int = 5_200
    decoder_batch: int = 16
    decoder_rate: float = 2e-3
    word_rate_share: float = 0.2
    decoder_warmup: int = 150
    decoder_weight_decay: float = 0.02
    questions: int = 16
    many_objects_from: int = 528
    long_questions_from: int = 1_100
    relations_from: int = 2_000
    five_objects_from: int = 2_200
    first_cycle: int = 4_400  # the cosine that steps before ``restart_at`` are on
    restart_at: int = 3_000  # the rate goes up to its peak once more, and "where" comes first
    pairs_from: int = 4_000
    fresh_starts: tuple[int, ...] = (2_000, 3_000)  # new optimizer state, new stream of scenes
    multi_turn_share: float = 0.05

    shape_rounds: int = 1
    last_round_at_cell: float = 0.14
    shape_tower_steps: int = 1_500
    shape_tower_rate: float = 1.5e-3
    shape_decoder_steps: int = 3_000
    shape_decoder_rate: float = 1e-3
    shape_questions: int = 10
    shape_share: float = 0.5  # of the pictures in this part
    options_share: float = 0.25  # of the other pictures' questions, with the answers to choose from

    gradient_norm: float = 1.0
    grid_share: float = 0.08
    centre_spread: float = 0.24
    log_every: int = 50

    @property
    def image_tokens(self) -> int:
        """How many tokens a picture takes in the decoder."""
        return (self.image_size // self.patch_size) ** 2

    @property
    def phases(self) -> dict[str, int]:
        """The phases of the training in their order, with their steps."""
        steps = {"tower": self.tower_steps, "decoder": self.decoder_steps}
        for turn in range(self.shape_rounds):
            tower, decoder = shape_phases(turn)
            steps |= {tower: self.shape_tower_steps, decoder: self.shape_decoder_steps}
        return steps

    def to_dict(self) -> dict[str, Any]:
        """The recipe as plain JSON values."""
        values = asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}


def shape_phases(turn: int) -> tuple[str, str]:
    """What the two phases of a round of the last part are called; ``turn`` counts from 0."""
    number = f" {turn + 1}" if turn else ""
    return f"tower, shapes{number}", f"decoder, shapes{number}"


def preset(name: str, seed: int | None = None, architecture: str = "llava") -> Recipe:
    """A recipe by name: ``full`` (the shipped weights) or ``smoke`` (half a minute, to see
    that it runs)."""
    from wheresight.errors import WheresightError
    from wheresight.pocket.architectures import architecture as find

    recipes = {
        "full": Recipe(),
        "smoke": Recipe(
            threads=1,
            tower_layers=2,
            layers=2,
            tower_steps=40,
            tower_batch=16,
            tower_warmup=10,
            place_batches=4,
            decoder_steps=40,
            decoder_batch=8,
            decoder_warmup=10,
            many_objects_from=25,
            long_questions_from=30,
            first_cycle=40,
            restart_at=40,
            shape_tower_steps=8,
            shape_decoder_steps=8,
            questions=8,
            log_every=4,
        ),
    }
    if name not in recipes:
        raise WheresightError(f"Unknown preset {name!r}. Known: {', '.join(recipes)}.")
    kind = find(architecture)
    recipe = replace(recipes[name], architecture=kind.name, **kind.changes)
    return recipe if seed is None else replace(recipe, seed=seed)
