"""Help reads as one voice: whole sentences, nothing left unsaid, nothing swallowed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main

from wheresight.cli.main import app

# What rich takes for markup: a bracket with a word in it that is not escaped.
MARKUP = re.compile(r"(?<!\\)\[[a-z@/#][^\]]*\]")


def commands(command: Any, path: str = "wheresight") -> Iterator[tuple[str, Any]]:
    """A command and all below it, with what is typed for each."""
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, f"{path} {name}")


ALL = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("path", ALL)
def test_a_command_says_what_it_does_in_sentences(path: str) -> None:
    said = ALL[path].help or ""
    first = said.strip().split("\n\n")[0].replace("\n", " ").strip()
    assert re.match(r"[A-Z]", first) and first.endswith((".", "?", ":")), first
    assert not MARKUP.search(said), "rich would swallow what is in brackets"


@pytest.mark.parametrize("path", ALL)
def test_every_option_says_what_it_is(path: str) -> None:
    for parameter in ALL[path].params:
        said = getattr(parameter, "help", None)
        if parameter.name in ("help", "install_completion", "show_completion"):
            continue
        where = f"{path} {parameter.opts[0]}"
        assert said, where
        assert re.match(r"[A-Z0-9]|[a-z0-9-]+[:,. (/]|[a-z0-9]+$", said), where
        assert said.rstrip("'").endswith((".", ")", "}")), f"{where}: {said}"
        assert "  " not in said, where
        assert not MARKUP.search(said), f"{where}: rich would swallow what is in brackets"
        assert not re.search(r"\b(utilize|please|simply|just)\b", said), where
