"""What a diagnostic runs on: a model, the grid probe with its items, an intervention, a seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wheresight.probes.grid import Composite, GridProbe
from wheresight.stimuli.items import Item

if TYPE_CHECKING:
    from PIL import Image

    from wheresight.lvlm.encoding import Encoded
    from wheresight.lvlm.scoring import Scorer
    from wheresight.lvlm.wrapper import LVLM
    from wheresight.stimuli.benchmarks.question import Benchmark


@dataclass(frozen=True, eq=False)
class Bench:
    """What a diagnostic runs on.

    Attributes:
        scorer: encodes and scores; None where steps are only counted.
        probe: the grid probe; its composites ask matched negatives too (question kinds `positive`,
            `absent`, `sibling`).
        items: as many items as the diagnostic wants.
        spec: canonical spec of the intervention to measure under.
        seed: of all draws.
        benchmark: whose questions to ask instead of those about the items; None for none.
    """

    scorer: Scorer | None
    probe: GridProbe
    items: tuple[Item, ...]
    spec: str = "none"
    seed: int = 0
    benchmark: Benchmark | None = None

    @property
    def score(self) -> Scorer:
        """The scorer, where a model is there."""
        if self.scorer is None:
            raise RuntimeError("this bench has no model: it can only count steps")
        return self.scorer

    @property
    def lvlm(self) -> LVLM:
        """The model."""
        return self.score.lvlm

    @property
    def cells(self) -> int:
        """Cells of the grid."""
        return self.probe.settings.rows * self.probe.settings.columns

    def composites(
        self, items: Sequence[Item], kinds: Sequence[str] = ("positive",)
    ) -> list[Composite]:
        """The composites of some items with the questions of these kinds, item by item, cell by
        cell; a composite of which nothing is asked is left out.

        Args:
            items: some of `items`.
            kinds: `positive` (the key's caption, Yes), `absent` (a caption that is not there, No),
                `sibling` (the key's caption where a hard negative stands, No).
        """
        found = []
        for item in items:
            for composite in self.probe.composites(item):
                asks = tuple(ask for ask in composite.asks if ask.question in kinds)
                if asks:
                    found.append(
                        Composite(
                            composite.item, composite.key, composite.cell, composite.recipe, asks
                        )
                    )
        return found

    def picture(self, composite: Composite) -> Image.Image:
        """Draw a composite."""
        return self.probe.render(composite.recipe.to_json())

    def question(self, caption: str) -> str:
        """The text that asks for a caption."""
        from wheresight.probes.questions import ask

        return ask(self.probe.settings.question, caption)

    def encode(self, composites: Sequence[Composite]) -> Encoded:
        """Draw composites and make them ready: one row a question, in order; the vision tower runs
        once a picture."""
        from wheresight.lvlm.encoding import Query

        return self.score.encode(
            [
                Query(self.picture(c), tuple(self.question(ask.caption) for ask in c.asks))
                for c in composites
            ]
        )
