"""A JSON file that follows a schema: written whole, and read with its version checked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from wheresight.errors import RunError

Document = TypeVar("Document", bound=BaseModel)


def read_document(path: Path, kind: type[Document], version: int, name: str) -> Document:
    """Read a file.

    Args:
        path: of the file.
        kind: the model that it follows.
        version: the `schema_version` that this package reads.
        name: what to call the file in messages, such as `results`.

    Raises:
        RunError: when it is absent, of another schema version, or does not follow the model.
    """
    return document_of(path.read_bytes, str(path), kind, version, name)


def document_of(
    read: Callable[[], bytes], path: str, kind: type[Document], version: int, name: str
) -> Document:
    """The same for a file that may lie in a store: `read` gives its bytes, `path` is for people."""
    try:
        document = json.loads(read())
    except FileNotFoundError as error:
        raise RunError(
            f"There is no {name} file at {path}. Make it from the records of a finished run."
        ) from error
    except (OSError, ValueError) as error:
        raise RunError(f"The {name} file {path} could not be read as JSON: {error}.") from error
    found = document.get("schema_version") if isinstance(document, dict) else None
    if found != version:
        raise RunError(
            f"The {name} file {path} has schema version {found!r}; this wheresight reads "
            f"version {version}. Make it again from the records, or use the wheresight "
            "that wrote it."
        )
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RunError(
            f"The {name} file {path} does not follow its schema: {where}: {first['msg']} "
            f"({error.error_count()} such faults). Make it again from the records."
        ) from error
