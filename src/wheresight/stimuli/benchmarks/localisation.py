"""In which cell is it? Asked about the very composites that the grid probe shows.

The grid probe asks whether the key is there and wants the same answer in every cell; here the
answer is the cell. What a method gains on the one it may lose on the other, on the same pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PIL import Image

from wheresight.errors import StimulusError
from wheresight.stimuli.benchmarks.about import About
from wheresight.stimuli.benchmarks.files import digest
from wheresight.stimuli.benchmarks.labelled import fingerprint
from wheresight.stimuli.benchmarks.options import refuse_unknown, whole_number
from wheresight.stimuli.benchmarks.question import (
    LETTERS,
    Question,
    answer_with,
    check_questions,
)
from wheresight.stimuli.composites import CANVAS, Recipe, boxes, parse_grid
from wheresight.stimuli.items import plan_items, recipes
from wheresight.stimuli.pairs import Source
from wheresight.stimuli.render import Renderer
from wheresight.stimuli.sources import open_source

_DOWN = {1: ("",), 2: ("top", "bottom"), 3: ("top", "", "bottom")}
_ACROSS = {1: ("",), 2: ("left", "right"), 3: ("left", "", "right")}


class Localisation:
    """Every item in every cell, one question each; a set is one item in all cells.

    Args:
        source: of the pictures.
        items: how many key pictures.
        rows, columns: the grid, of at most 26 cells.
        seed, canvas, tile, layout: as for the grid probe; alike they give its very pictures.
        name: the spec that opens it again.

    Attributes:
        fingerprint: a hash of the source's pictures and of all questions.
    """

    def __init__(
        self,
        source: Source,
        *,
        items: int,
        rows: int = 3,
        columns: int = 3,
        seed: int = 0,
        canvas: int = CANVAS,
        tile: int | None = None,
        layout: str = "swap",
        name: str = "localisation",
    ) -> None:
        self.name = name
        self._renderer = Renderer(source)
        cells = cell_names(rows, columns)
        planned = plan_items(source.pairs(), items, rows=rows, columns=columns, seed=seed)
        found = []
        for item in planned:
            for recipe in recipes(item, rows, columns, layout=layout, canvas=canvas, tile=tile):
                left, top, right, bottom = boxes(recipe)[recipe.cell]
                stem = f"Where is {item.caption}?"
                found.append(
                    Question(
                        id=f"{item.id}/{recipe.cell}",
                        picture=recipe.to_json(),
                        cluster=item.key,
                        stem=stem,
                        text=f"{stem} {answer_with(cells)}",
                        options=cells,
                        right=recipe.cell,
                        category=cells[recipe.cell],
                        group=item.id,
                        group_size=rows * columns,
                        boxes=((float(left), float(top), float(right), float(bottom)),),
                        box_labels=(item.caption,),
                    )
                )
        self._questions = check_questions(found, name)
        self.fingerprint = digest(source.fingerprint, fingerprint(self._questions))

    def questions(self) -> Sequence[Question]:
        """Item by item, cell by cell."""
        return self._questions

    def picture(self, question: Question) -> Image.Image:
        """Draw the composite."""
        return self._renderer.render(Recipe.from_json(question.picture))


def open(location: str, options: Mapping[str, str]) -> Localisation:
    """Open it on a source (default `pocket`). Options: `items`, `grid`, `seed`, `canvas`,
    `tile`, `layout`."""
    given = dict(options)
    rows, columns = parse_grid(given.pop("grid", "3x3"))
    numbers = {
        name: whole_number("localisation", name, given.pop(name, str(default)), least)
        for name, default, least in (("items", 100, 1), ("seed", 0, 0), ("canvas", CANVAS, 16))
    }
    tile = given.pop("tile", None)
    layout = given.pop("layout", "swap")
    refuse_unknown("localisation", given, ("items", "grid", "seed", "canvas", "tile", "layout"))
    named = ",".join(f"{k}={v}" for k, v in sorted(options.items()))
    spec = f"localisation:{location or 'pocket'}" + (f"#{named}" if named else "")
    return Localisation(
        open_source(location or "pocket"),
        items=numbers["items"],
        rows=rows,
        columns=columns,
        seed=numbers["seed"],
        canvas=numbers["canvas"],
        tile=None if tile is None else whole_number("localisation", "tile", tile, 1),
        layout=layout,
        name=spec,
    )


def cell_names(rows: int, columns: int) -> tuple[str, ...]:
    """What each cell is called, row-major: `top left` in grids of up to 3x3, else by numbers.

    Raises:
        StimulusError: if there are more cells than letters.
    """
    if rows * columns > len(LETTERS):
        raise StimulusError(
            f"A {rows}x{columns} grid has {rows * columns} cells. Expected at most {len(LETTERS)} "
            "to choose from, such as 5x5: choose a smaller grid."
        )
    if rows > 3 or columns > 3:
        return tuple(
            f"row {row} column {column}"
            for row in range(1, rows + 1)
            for column in range(1, columns + 1)
        )
    return tuple(
        f"{down} {across}".strip() or "center"
        for down in _DOWN[rows]
        for across in _ACROSS[columns]
    )


ABOUT = {
    "localisation": About(
        "In which cell of the grid is a picture? Asked about the very composites of the grid "
        "probe.",
        "localisation or localisation:SOURCE",
        "drawn here, from a source of image-caption pairs (pocket: the emoji of this package)",
        "that of the source",
        {
            "items": "number of key pictures (100)",
            "grid": "rows x columns, of at most 26 cells (3x3)",
            "canvas": f"side in pixels (what the model takes, else {CANVAS})",
            "tile": "side of a picture in pixels (what fits)",
            "layout": "as for the grid probe (swap)",
            "seed": "of the items (0)",
        },
    )
}
