"""How `--batch-size` is read: a whole number, or `auto`."""

from __future__ import annotations

from typing import Any

import typer


def read_batch_size(given: Any) -> Any:
    """A whole number or `auto`; typer.BadParameter for anything else."""
    text = str(given).strip()
    if text != "auto" and not text.removeprefix("-").isdecimal():
        raise typer.BadParameter(f"{text!r} was given; expected a whole number or auto.")
    return "auto" if text == "auto" else int(text)
