"""The form of an entry: one table or figure of a paper."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Known = Literal["text", "second-hand", "project page", "released notebook"]
Step = str | dict[str, str | None]


class Model(BaseModel):
    """Base: fields are fixed, and NaN and infinity are refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)


class Paper(Model):
    """A paper, and how well it is known here."""

    title: str = Field(description="As printed.")
    arxiv: str = Field(description="Number and version, such as 2509.21984v1.")
    read: str = Field(description="How its contents are known.")


class PaperModel(Model):
    """A model that a paper measured."""

    name: str = Field(description="As the paper calls it.")
    hub: str | None = Field(description="Hub id that --model takes; null where there is none.")
    skeleton: str | None = Field(default=None, description="Shipped shape, for plans.")
    values: dict[str, str] = Field(
        default_factory=dict, description="What is put for names in commands for it."
    )
    note: str = Field(default="", description="What to know of it.")


class Source(Model):
    """Where the numbers stand."""

    paper: str = Field(description="Key of the paper: bias, awareness, scaling.")
    place: str = Field(description="Table 1, Figure 3, or what it is called where it is not known.")
    page: int | None = Field(default=None, description="Page of the PDF; null where not known.")
    section: str = Field(default="", description="Section or appendix.")
    known: Known = Field(description="Where the numbers were taken from.")


class Row(Model):
    """One line of a printed table."""

    label: str = Field(description="As printed, misprints of names corrected.")
    model: str | None = Field(default=None, description="Key of the model, in models.json.")
    method: str = Field(default="none", description="What was done to it, as a spec or a word.")
    values: tuple[float | None, ...] = Field(description="As printed; null where nothing is.")


class Published(Model):
    """Printed numbers."""

    unit: str = Field(description="Of all values, or what each column's is.")
    columns: tuple[str, ...] = Field(description="Heads.")
    rows: tuple[Row, ...] = Field(description="Lines.")

    @model_validator(mode="after")
    def _one_value_a_column(self) -> Published:
        for row in self.rows:
            if len(row.values) != len(self.columns):
                raise ValueError(f"{row.label}: {len(row.values)} values, not {len(self.columns)}")
        if len({row.label for row in self.rows}) < len(self.rows):
            raise ValueError("two rows have one label")
        return self

    def texts(self) -> list[list[str]]:
        """All values as text, row by row; those of a column have equally many decimals."""
        columns = zip(*(row.values for row in self.rows), strict=True)
        return [list(row) for row in zip(*map(_texts, columns), strict=True)]


def _texts(column: tuple[float | None, ...]) -> list[str]:
    short = ["-" if value is None else f"{value:g}" for value in column]
    if any("e" in text for text in short):
        return short
    most = max(len(text.partition(".")[2]) for text in short)
    return ["-" if value is None else f"{value:.{most}f}" for value in column]


class Misprint(Model):
    """A printed number or name that cannot be right."""

    row: str = Field(description="Label of the row.")
    column: str | None = Field(description="Head of the column; null for the row's own name.")
    printed: float | str = Field(description="What is printed.")
    correct: float | str | None = Field(description="What it must be; null where not known.")
    why: str = Field(description="How that is known.")

    def words(self) -> str:
        """It in a sentence."""
        where = self.row if self.column is None else f"{self.row}, {self.column}"
        right = "" if self.correct is None else f", {self.correct} is right"
        return f"{where}: {self.printed} is printed{right}. {self.why}"


class Passes(Model):
    """How much one model has to compute for the whole entry."""

    count: int = Field(ge=1, description="Passes of one model.")
    through: Literal["model", "tower", "training"] = Field(
        description="model: prompts with a picture. tower: pictures alone. training: such prompts, "
        "forward and backward."
    )
    counted: str = Field(description="How they were counted.")


class Reading(Model):
    """How to take numbers out of a file that a command wrote."""

    document: str = Field(description="JSON file, under the entry's folder.")
    rows: dict[str, str] = Field(description="Label of each row, and what {row} is for it.")
    columns: dict[str, str] = Field(description="Head of each column, and what {column} is.")
    path: tuple[Step, ...] = Field(
        description="Keys, and in lists the fields by which the one element is known."
    )
    scale: float = Field(default=1.0, description="Factor.")


class Contrast(Model):
    """A difference that the printed table holds, for every model that has both rows."""

    column: str
    method: str
    against: str = "none"


class Claim(Model):
    """A statement that the numbers can contradict."""

    words: str = Field(description="The statement.")
    sign: Literal["+", "-"] = Field(description="Of the difference, if it holds.")
    published: Contrast | None = Field(
        default=None, description="Where the paper's numbers say it."
    )
    document: str = Field(description="JSON file with our difference.")
    path: tuple[Step, ...] = Field(description="As in a reading; it leads to an interval.")
    scale: float = 1.0


class Work(Model):
    """Commands, and what is read of what they write.

    In commands, documents and paths {model}, {out} and the names in `values` and `needs` stand for
    what is put there.
    """

    commands: tuple[tuple[str, ...], ...] = Field(
        default=(), description="Arguments behind `wheresight`; one with --json is kept as a file."
    )
    values: dict[str, str] = Field(default_factory=dict, description="What is put for names.")
    needs: dict[str, str] = Field(
        default_factory=dict, description="What the user has to give, and what it is."
    )
    reads: tuple[Reading, ...] = ()
    claims: tuple[Claim, ...] = ()
    note: str = Field(default="", description="How it differs from what the paper did.")


_UNKNOWN = "Not known here"


class Entry(Model):
    """One table or figure."""

    name: str = Field(pattern=r"^[a-z]+/[a-z0-9-]+$", description="As the command line takes it.")
    aliases: tuple[str, ...] = Field(default=(), description="Other names for it.")
    title: str = Field(description="What it shows.")
    source: Source
    published: Published | None = Field(default=None, description="Null where no number is known.")
    shape: str = Field(default="", description="What it shows, in words.")
    misprints: tuple[Misprint, ...] = ()
    traps: tuple[str, ...] = Field(default=(), description="What to know before comparing.")
    models: tuple[str, ...] = Field(default=(), description="Keys of the models it is about.")
    passes: Passes | None = None
    full: Work | None = Field(default=None, description="At the paper's size; null: no command.")
    pocket: Work | None = Field(
        default=None, description="On the pocket model; what is left out is as in `full`."
    )
    cannot: str = Field(default="", description="What cannot be reproduced, and why.")

    @model_validator(mode="after")
    def _says_why_not(self) -> Entry:
        if self.full is None and not self.cannot:
            raise ValueError("there is no command, and nothing says why")
        if self.published is None and not self.shape and not self.cannot:
            raise ValueError("there are no numbers, no words, and nothing says why")
        known = set(self.published.columns) if self.published else set()
        for misprint in self.misprints:
            if misprint.column is not None and misprint.column not in known:
                raise ValueError(f"a misprint in {misprint.column!r}, which is no column")
        return self

    @property
    def unknown(self) -> bool:
        """Is not even known what it shows?"""
        return self.title == _UNKNOWN

    def corrected(self) -> Published | None:
        """The printed numbers with every misprint that can be put right put right."""
        if self.published is None:
            return None
        right = {
            (one.row, one.column): one.correct
            for one in self.misprints
            if one.column is not None and isinstance(one.correct, float | int)
        }
        columns = self.published.columns
        rows = [
            row.model_copy(
                update={
                    "values": tuple(
                        right.get((row.label, column), value)
                        for column, value in zip(columns, row.values, strict=True)
                    )
                }
            )
            for row in self.published.rows
        ]
        return self.published.model_copy(update={"rows": tuple(rows)})

    def printed(self) -> tuple[str, list[list[str]]]:
        """The unit in words, and the printed table: label and values, misprints with a star."""
        if self.published is None:
            return "", []
        wrong = {(one.row, one.column) for one in self.misprints if one.column is not None}
        rows = []
        for row, texts in zip(self.published.rows, self.published.texts(), strict=True):
            stars = ["*" if (row.label, c) in wrong else "" for c in self.published.columns]
            rows.append([row.label, *(t + star for t, star in zip(texts, stars, strict=True))])
        return self.published.unit + ("; * is a misprint" if wrong else ""), rows

    def work(self, pocket: bool) -> Work | None:
        """What is done at the paper's size, or on the pocket model."""
        if not pocket or self.pocket is None:
            return None if pocket else self.full
        if self.pocket.commands or self.full is None:
            return self.pocket
        given = {name: getattr(self.pocket, name) for name in self.pocket.model_fields_set}
        return self.full.model_copy(
            update={
                **given,
                "values": {**self.full.values, **self.pocket.values},
                "needs": self.pocket.needs,
            }
        )
