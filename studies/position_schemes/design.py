"""Every number of the study, and the names of its cells."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from world import Mix

from wheresight.errors import RunError, unknown_name
from wheresight.interventions.features.multilayer import Multilayer
from wheresight.interventions.spec import canonical, parse
from wheresight.pocket.recipe import Recipe

REFERENCE = "none"
# The second half of the tower's six blocks, as the paper takes 12, 16, 20 and 24 of 24.
MULTILAYER = "multilayer:layers=3/4/5/6"
SCHEMES = {
    "none": "none",
    "bapa": "bapa",
    "bapa_cross": "bapa_cross",
    "cca": "cca",
    "mca": "mca",
    "v2pe": "v2pe",
    "mrope_on_1d": "mrope_on_1d",
    "normalize": "normalize",
    "normalize-multilayer": f"normalize+{MULTILAYER}",
}
# To be raised when the code changes what a cell is: cells made before are then not counted.
VERSION = 1


@dataclass(frozen=True, slots=True)
class Training:
    """How a decoder is taught: the same for every scheme.

    Attributes:
        steps, batch, questions: optimizer steps; pictures a step; questions a picture.
        rate, warmup, decay: of Muon and AdamW; words get a fifth of the rate.
        projector_share: of the rate, that the projector goes on learning at; 0 freezes it.
        lora_steps, lora_rate, rank: of the adapters, which see as many pictures a step.
    """

    steps: int = 1800
    batch: int = 16
    questions: int = 12
    rate: float = 3e-3
    warmup: int = 50
    decay: float = 0.02
    projector_share: float = 0.2
    lora_steps: int = 300
    lora_rate: float = 2e-3
    rank: int = 8


@dataclass(frozen=True, slots=True)
class Measuring:
    """What every cell is asked.

    Attributes:
        items: key pictures of the grid probe, each in nine cells with three questions.
        images: pictures of 2DS, six questions each.
        localisation: key pictures of the benchmark `localisation`, each in nine cells.
        psi_images: pictures of another 2DS for the position sensitivity index.
        norm_items: items whose norms are read.
    """

    items: int = 64
    images: int = 100
    localisation: int = 64
    psi_images: int = 30
    norm_items: int = 4


@dataclass(frozen=True, slots=True)
class Design:
    """The whole study."""

    width: int = 192
    layers: int = 4
    mlp: int = 512
    vocabulary: int = 700
    align_steps: int = 60
    align_batch: int = 32
    training: Training = Training()
    measuring: Measuring = Measuring()

    def recipe(self, seed: int) -> Recipe:
        """The pocket recipe with this study's decoder; the tower is the shipped one."""
        return Recipe(
            seed=seed, threads=1, width=self.width, layers=self.layers, mlp=self.mlp,
            vocabulary=self.vocabulary,
        )  # fmt: skip


# A minute or two for everything: for the tests, and to see that all parts work.
SMOKE = Design(
    width=96,
    layers=2,
    mlp=128,
    align_steps=3,
    align_batch=4,
    training=Training(steps=4, batch=2, questions=3, warmup=2, lora_steps=3, rank=2),
    measuring=Measuring(items=2, images=2, localisation=2, psi_images=1, norm_items=1),
)
DESIGNS = {"full": Design(), "smoke": SMOKE}


def mix_at(done: float) -> Mix:
    """What is asked when a share of the steps is done: few things first, then all kinds.

    In the middle most questions are where a named thing is, about two things and more: names have
    to be bound to places for it, which comes late, and without it every second such question about
    few things is answered right all the same.
    """
    if done < 0.12:
        return Mix(match=0.5, where=0.4, side=0.1, which=0.0, whether=0.0, most=2, grids=0.0)
    if done < 0.5:
        return Mix(
            match=0.25, where=0.5, side=0.1, which=0.08, whether=0.07, least=2, most=3, grids=0.1
        )
    return Mix(match=0.3, where=0.3, side=0.12, which=0.14, whether=0.14, most=4, grids=0.3)


@dataclass(frozen=True, slots=True)
class Cell:
    """One model of the study: a scheme, a seed, from scratch or adapted from none.

    Attributes:
        scheme: a name of SCHEMES.
        seed: of the weights, the scenes and the questions; equal for all schemes.
        adapted: True if it is `none` of this seed with LoRA under the scheme.
    """

    scheme: str
    seed: int
    adapted: bool = False

    @property
    def name(self) -> str:
        """Such as `bapa-seed1` or `bapa-lora-seed1`."""
        return f"{self.scheme}-{'lora-' if self.adapted else ''}seed{self.seed}"

    @property
    def spec(self) -> str:
        """Canonical spec of the scheme."""
        return canonical(SCHEMES[self.scheme])

    @property
    def base(self) -> Cell | None:
        """The cell that must be there first."""
        return Cell(REFERENCE, self.seed) if self.adapted else None

    @classmethod
    def read(cls, name: str) -> Cell:
        """The cell of a name.

        Raises:
            RunError: if there is no such cell.
        """
        scheme, _, seed = name.rpartition("-seed")
        adapted = scheme.endswith("-lora")
        scheme = scheme.removesuffix("-lora")
        if scheme not in SCHEMES or not seed.isdigit():
            known = (f"{scheme}[-lora]-seedN" for scheme in SCHEMES)
            raise RunError(unknown_name("cell", name, list(known)))
        return cls(scheme, int(seed), adapted)


def cells(seeds: int) -> list[Cell]:
    """All cells in the order in which they are made: a seed after the other, so that what is there
    can be compared, and what others start from first."""
    return [
        Cell(scheme, seed, adapted)
        for seed in range(seeds)
        for adapted in (False, True)
        for scheme in SCHEMES
    ]


def vision_blocks(spec: str) -> tuple[int, ...]:
    """The tower's blocks whose outputs the projector is given under a scheme; () for the last."""
    found = [i.blocks for i in parse(spec) if isinstance(i, Multilayer)]
    return found[0] if found else ()


def model_name(design: Design, cell: Cell, tower: str) -> str:
    """Name of a cell's weights: the cell, and a hash of all that decides them."""
    training = asdict(design.training)
    if not cell.adapted:
        training = {k: v for k, v in training.items() if not k.startswith("lora") and k != "rank"}
    decides = {**_size(design), "training": training, "spec": cell.spec, "tower": tower}
    return f"{cell.name}-{_hash(decides)}"


def measured_name(design: Design, cell: Cell, tower: str) -> str:
    """Name of what was measured of a cell."""
    decides = {"model": model_name(design, cell, tower), "measuring": asdict(design.measuring)}
    return f"{cell.name}-{_hash(decides)}"


def start_name(design: Design, seed: int, blocks: Sequence[int], tower: str) -> str:
    """Name of what decoders of a seed start from: tower, aligned projector, random decoder."""
    joined = "-".join(str(block) for block in blocks) or "last"
    return f"start-seed{seed}-{joined}-{_hash({**_size(design), 'tower': tower})}"


def lessons_name(design: Design, cell: Cell, tower: str) -> str:
    """Name of what all schemes of a seed are taught with, from scratch or adapted."""
    given = design.training
    steps = given.lora_steps if cell.adapted else given.steps
    decides = {"version": VERSION, "tower": tower, "steps": steps, "batch": given.batch,
               "questions": given.questions}  # fmt: skip
    return f"{'lora' if cell.adapted else 'scratch'}-seed{cell.seed}-{_hash(decides)}"


def _size(design: Design) -> dict[str, Any]:
    values = asdict(design)
    return {"version": VERSION, **{k: v for k, v in values.items() if isinstance(v, int)}}


def _hash(decides: Any) -> str:
    text = json.dumps(decides, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]
