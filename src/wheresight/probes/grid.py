"""The grid probe: the same picture at every place of a grid, with the same question.

For every item (a key picture with its caption, and distractors) and every cell, a composite is
shown and one question asked: is the caption's picture in it? Protocol `paper` (BaPA, arXiv
2509.21984, section 3) asks about the key alone, so that Yes is always right. Protocol `balanced`
asks matched negatives too: the same composite with a caption that is absent from it, and the key's
caption where a sibling (a hard negative) stands in the key's cell.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, model_serializer

from wheresight.interventions.spec import to_json
from wheresight.probes.questions import ask
from wheresight.stimuli.composites import Recipe
from wheresight.stimuli.items import Item, plan_items, recipes
from wheresight.stimuli.pairs import Source
from wheresight.stimuli.render import Renderer

if TYPE_CHECKING:
    from wheresight.lvlm.preprocessing import Preprocessed, Query
    from wheresight.lvlm.scoring import Answer, Encoded, Scorer

# Items in one work unit: a few seconds of work on two cores, a part file of a few hundred rows.
ITEMS_PER_UNIT = 10


class GridSettings(BaseModel):
    """Everything that decides a record of the grid probe, apart from item and intervention."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(description="Name, folder or hub id of the model.")
    model_revision: str = Field(
        description="Commit of the hub, or a hash of a local folder; a hash of the adapter too."
    )
    adapter: str | None = Field(
        default=None, description="What the adapter on the model was trained under, if it has one."
    )
    dtype: str = Field(description="Type of the weights while scoring.")
    attention: str = Field(description="Attention implementation.")
    source: str = Field(description="Where the image-caption pairs come from.")
    source_fingerprint: str = Field(description="Hash of the pairs' content.")
    protocol: Literal["balanced", "paper"] = Field(description="With matched negatives, or not.")
    question: str = Field(description="Template of the question; {caption} is replaced.")
    scoring: Literal["first_token", "generate"] = Field(
        description="Read the first answer token, or the generated text."
    )
    max_new_tokens: int | None = Field(
        description="Longest generated answer; null for first_token."
    )
    rows: int = Field(description="Rows of the grid.")
    columns: int = Field(description="Columns of the grid.")
    layout: str = Field(description="How the key moves: swap or insert.")
    canvas: int = Field(description="Side of the square composite, pixels.")
    tile: int = Field(description="Side of the square box of one picture, pixels.")
    background: str = Field(description="Colour around and between the tiles.")
    jitter: int = Field(description="Largest shift of the whole grid, pixels; 0 is none.")
    seed: int = Field(description="Seed of distractors, negatives and places.")

    @model_serializer(mode="wrap")
    def _without_what_is_absent(self, write: Any) -> dict[str, Any]:
        """As before there were adapters, so that records of models without one keep their names."""
        found: dict[str, Any] = write(self)
        if self.adapter is None:
            del found["adapter"]
        return found


@dataclass(frozen=True)
class Ask:
    """One question of one composite: what is asked, and what is right."""

    question: str
    caption: str
    expected: bool


@dataclass(frozen=True)
class Composite:
    """One picture to show, in one cell of one item, with its questions."""

    item: str
    key: str
    cell: int
    recipe: Recipe
    asks: tuple[Ask, ...]


class Record(TypedDict):
    """What the probe says of one question; `wheresight.runs.records` says what each field means."""

    item: str
    key: str
    cell: int
    question: str
    intervention: str
    intervention_json: str
    caption: str
    expected: bool
    margin: float
    argmax_id: int
    argmax_token: str
    answer: str
    text: str | None
    recipe: str


class GridProbe:
    """Plans, shows and asks; knows nothing of files, folders or progress.

    Args:
        settings: the configuration.
        source: the pairs.
        count: how many items to plan.
    """

    def __init__(self, settings: GridSettings, source: Source, count: int) -> None:
        self.settings = settings
        self.source = source
        self.count = count
        self._renderer = Renderer(source)

    @functools.cached_property
    def items(self) -> list[Item]:
        """All items, planned when they are first asked for; a worker is given its own."""
        return plan_items(
            self.source.pairs(),
            self.count,
            rows=self.settings.rows,
            columns=self.settings.columns,
            seed=self.settings.seed,
            siblings=self.settings.protocol == "balanced",
        )

    def shards(self) -> Iterator[list[Item]]:
        """The items in groups of fixed size, in order; a group is one work unit's items."""
        for start in range(0, len(self.items), ITEMS_PER_UNIT):
            yield self.items[start : start + ITEMS_PER_UNIT]

    def composites(self, item: Item) -> Iterator[Composite]:
        """Every composite of an item with its questions, cell by cell."""
        s = self.settings
        balanced = s.protocol == "balanced"
        asks = [Ask("positive", item.caption, True)]
        if balanced:
            asks.append(Ask("absent", item.absent_caption, False))
        for recipe in recipes(
            item,
            s.rows,
            s.columns,
            layout=s.layout,
            canvas=s.canvas,
            tile=s.tile,
            background=s.background,
            jitter=s.jitter,
        ):
            yield Composite(item.id, item.key, recipe.cell, recipe, tuple(asks))
            if balanced and item.sibling is not None:
                beside = recipe.with_key(item.sibling)
                no = (Ask("sibling", item.caption, False),)
                yield Composite(item.id, item.key, recipe.cell, beside, no)

    def render(self, recipe: str) -> Image.Image:
        """Draw a composite from the JSON in its record."""
        return self._renderer.render(Recipe.from_json(recipe))

    def check_pictures(self, items: Iterable[Item]) -> None:
        """Read every picture of some items once, so that a bad one is found before a model loads.

        Raises:
            StimulusError: which picture cannot be used, and why.
        """
        items = list(items)
        for item in items[:1]:  # the places of tiles are those of all items
            list(self.composites(item))
        tile = self.settings.tile
        self._renderer.check(
            (name, tile)
            for item in items
            for name in (item.key, *item.distractors, item.sibling)
            if name is not None
        )

    def rows_per_item(self, item: Item) -> int:
        """Number of questions that one item asks under one intervention."""
        kinds = 1 if self.settings.protocol == "paper" else 2 + (item.sibling is not None)
        return kinds * self.settings.rows * self.settings.columns

    def composite_count(self, items: Iterable[Item]) -> int:
        """How many composites some items have."""
        balanced = self.settings.protocol == "balanced"
        cells = self.settings.rows * self.settings.columns
        return cells * sum(1 + (balanced and item.sibling is not None) for item in items)

    def shown(self, items: Sequence[Item]) -> list[Composite]:
        """The composites of some items, in the order of their records."""
        return [composite for item in items for composite in self.composites(item)]

    def queries(self, composites: Sequence[Composite]) -> list[Query]:
        """Draw composites, each with the questions to put to the model."""
        from wheresight.lvlm.preprocessing import Query

        return [
            Query(
                self._renderer.render(composite.recipe),
                tuple(ask(self.settings.question, a.caption) for a in composite.asks),
            )
            for composite in composites
        ]

    def show(self, scorer: Scorer, items: Sequence[Item]) -> tuple[list[Composite], Encoded]:
        """Render the composites of some items and make them ready to be scored."""
        shown = self.shown(items)

        def prepare(start: int, stop: int) -> Preprocessed:
            return scorer.encoder.preprocess(self.queries(shown[start:stop]))

        return shown, scorer.encode_prepared(prepare, len(shown))

    def measure(
        self,
        scorer: Scorer,
        shown: Sequence[Composite],
        encoded: Encoded,
        interventions: Sequence[str],
        advance: Callable[[int], None] | None = None,
    ) -> dict[str, list[Record]]:
        """Ask every question under each intervention; return one record per question.

        Interventions share what they can, and a record does not depend on which others there are.
        """
        if self.settings.scoring == "generate":
            most = self.settings.max_new_tokens or 16
            answers = [
                scorer.generate(encoded, spec, max_new_tokens=most, advance=advance)
                for spec in interventions
            ]
        else:
            answers = scorer.score_all(encoded, interventions, advance=advance)
        return {
            spec: _records(shown, found, spec)
            for spec, found in zip(interventions, answers, strict=True)
        }


def _records(
    shown: Sequence[Composite], answers: Sequence[Answer], intervention: str
) -> list[Record]:
    as_json = json.dumps(to_json(intervention))
    asked = [(composite, a) for composite in shown for a in composite.asks]
    return [
        Record(
            item=composite.item,
            key=composite.key,
            cell=composite.cell,
            question=a.question,
            intervention=intervention,
            intervention_json=as_json,
            caption=a.caption,
            expected=a.expected,
            margin=answer.margin,
            argmax_id=answer.argmax_id,
            argmax_token=answer.argmax_token,
            answer=answer.answer,
            text=answer.text,
            recipe=composite.recipe.to_json(),
        )
        for (composite, a), answer in zip(asked, answers, strict=True)
    ]
