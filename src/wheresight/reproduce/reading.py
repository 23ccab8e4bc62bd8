"""Take numbers out of the files that commands wrote, as an entry says."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from wheresight.errors import RunError
from wheresight.reproduce.entry import Claim, Entry, Reading, Step


class Number(BaseModel):
    """A number with its interval, where it has one."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)

    value: float | None = Field(description="Null where it is undefined.")
    low: float | None = Field(default=None, description="Lower end of its interval.")
    high: float | None = Field(default=None, description="Upper end of its interval.")


class Line(BaseModel):
    """One row of what was measured."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: str
    values: dict[str, Number] = Field(description="By head of the column.")


class Held(BaseModel):
    """A statement beside the paper's numbers and beside ours."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    words: str
    published: str = Field(description="Where the printed numbers say so.")
    ours: Number = Field(description="Our difference, paired.")
    verdict: str = Field(description="yes, no, or not shown: its interval has both signs.")


def lines(reads: Sequence[Reading], folder: Path, values: Mapping[str, str]) -> list[Line]:
    """All rows that the readings name, in order; readings fill columns of one table."""
    found: dict[str, dict[str, Number]] = {}
    for read in reads:
        document = _document(folder / put_in(read.document, values))
        for label, row in read.rows.items():
            for head, column in read.columns.items():
                here = {**values, "row": row, "column": column}
                number = _number(follow(document, read.path, here), read.scale)
                found.setdefault(put_in(label, values), {})[put_in(head, values)] = number
    return [Line(label=label, values=numbers) for label, numbers in found.items()]


def columns_of(ours: Sequence[Line]) -> list[str]:
    """Heads of all lines, in order."""
    return list(dict.fromkeys(head for line in ours for head in line.values))


def held(
    claims: Sequence[Claim], entry: Entry, folder: Path, values: Mapping[str, str]
) -> list[Held]:
    """What becomes of every statement."""
    found = []
    for claim in claims:
        document = _document(folder / put_in(claim.document, values))
        ours = _number(follow(document, claim.path, values), claim.scale)
        found.append(
            Held(
                words=claim.words,
                published=printed(claim, entry),
                ours=ours,
                verdict=verdict(ours, claim.sign),
            )
        )
    return found


def printed(claim: Claim, entry: Entry) -> str:
    """In how many models the printed numbers, misprints corrected, have the difference."""
    published, contrast = entry.corrected(), claim.published
    if published is None or contrast is None:
        return "no number is printed"
    column = published.columns.index(contrast.column)
    rows = {(row.model, row.method): row.values[column] for row in published.rows}
    there = []
    for (model, method), value in rows.items():
        before = rows.get((model, contrast.against))
        if method == contrast.method and value is not None and before is not None:
            there.append((value > before) if claim.sign == "+" else (value < before))
    return f"{sum(there)} of {len(there)} models" if there else "no number is printed"


def verdict(ours: Number, sign: str) -> str:
    """Does the interval lie on the side that the statement needs?"""
    if ours.value is None or ours.low is None or ours.high is None:
        return "not shown"
    low, high = (ours.low, ours.high) if sign == "+" else (-ours.high, -ours.low)
    return "yes" if low > 0 else "no" if high < 0 else "not shown"


def put_in(text: str, values: Mapping[str, str]) -> str:
    """A text with every {name} that is known replaced."""
    for name, value in values.items():
        text = text.replace("{" + name + "}", value)
    return text


def follow(document: Any, path: Sequence[Step], values: Mapping[str, str]) -> Any:
    """Go down a document: by keys; in lists by number, or to the one element with given fields.

    Raises:
        RunError: if a key is absent, or not exactly one element fits.
    """
    here = document
    for step in path:
        if isinstance(step, str):
            key = put_in(step, values)
            if isinstance(here, list) and key.isdecimal() and int(key) < len(here):
                here = here[int(key)]
                continue
            if not isinstance(here, dict) or key not in here:
                raise RunError(f"The file has no {key!r} where {_said(path, values)} leads.")
            here = here[key]
            continue
        fitting = [one for one in here if _fits(one, step, values)]
        if len(fitting) != 1:
            raise RunError(
                f"{len(fitting)} elements of the file fit {_said(path, values)}; expected one."
            )
        here = fitting[0]
    return here


def _fits(one: Any, step: Mapping[str, str | None], values: Mapping[str, str]) -> bool:
    for field, wanted in step.items():
        has = one
        for key in field.split("."):
            has = has.get(key) if isinstance(has, dict) else None
        if wanted is None:
            if has not in (None, {}):
                return False
        elif str(has) != put_in(wanted, values):
            return False
    return True


def _said(path: Sequence[Step], values: Mapping[str, str]) -> str:
    return put_in(json.dumps(list(path)), values)


def _number(found: Any, scale: float) -> Number:
    """A number, or an interval in the form of our files."""
    if isinstance(found, bool) or not isinstance(found, dict | float | int | None):
        raise RunError(f"{found!r} stands where a number was expected.")
    parts: dict[str, Any] = found if isinstance(found, dict) else {"value": found}
    value, low, high = (
        None if parts.get(key) is None else scale * parts[key] for key in ("value", "low", "high")
    )
    return Number(value=value, low=low, high=high)


@functools.lru_cache(maxsize=8)
def _parsed(path: Path, changed: int) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _document(path: Path) -> Any:
    if not path.is_file():
        raise RunError(f"{path} is not there, though its command has ended. Remove its folder and "
                       "give the command again.")  # fmt: skip
    return _parsed(path, path.stat().st_mtime_ns)
