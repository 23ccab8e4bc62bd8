"""The file beside records that says what was asked for last, and where they were made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wheresight.errors import RunError
from wheresight.runs.places import Place


@dataclass(frozen=True)
class ManifestFile:
    """One kind of manifest.

    Attributes:
        name: of the file.
        schema: version of its content, as `schema_version` in it.
        holds: what a folder with it holds, such as `no diagnostics` where it is missing.
        made_by: what writes it.
    """

    name: str
    schema: int
    holds: str
    made_by: str

    def environment(self, place: Place) -> dict[str, Any] | None:
        """The environment of what is there already; None where nothing is.

        Raises:
            RunError: if the folder holds something else.
        """
        held = place.names()
        if self.name in held:
            environment: dict[str, Any] | None = self.read(place)["environment"]
            return environment
        if any(not name.startswith(".") for name in held):
            raise RunError(
                f"The output folder {place.name!r} is not empty and holds no {self.holds} of "
                "wheresight. Choose an empty or new folder for --out."
            )
        return None

    def read(self, place: Place) -> dict[str, Any]:
        """Its content.

        Raises:
            RunError: if it is missing, damaged, or of another schema.
        """
        try:
            found: dict[str, Any] = json.loads(place.read(self.name))
            version = found["schema_version"]
        except FileNotFoundError:
            raise RunError(
                f"{place.name!r} holds no {self.holds} (there is no {self.name}). Expected a "
                f"folder that {self.made_by}."
            ) from None
        except (ValueError, KeyError, TypeError):
            raise RunError(
                f"{place.label(self.name)!r} is damaged: it is not the JSON that wheresight "
                "writes. The records beside it are untouched; move it away and repeat the command."
            ) from None
        if version != self.schema:
            raise RunError(
                f"{place.name!r} was written with schema {version}, this wheresight reads schema "
                f"{self.schema}. Use another --out, or the version that wrote it."
            )
        return found

    def write(self, place: Place, content: Mapping[str, Any]) -> None:
        """Write `content`, with its `schema_version` added."""
        whole = {"schema_version": self.schema, **content}
        text = json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False)
        place.write(self.name, (text + "\n").encode())
