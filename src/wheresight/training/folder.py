"""The folder of one training: which it holds, its checkpoints, its result."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Generic, TypeVar

from wheresight.errors import RunError
from wheresight.runs.places import Place, open_place
from wheresight.runs.store import content_name
from wheresight.training.record import FILE_NAME, TrainingRecord

_BEGUN = "checkpoints/run.json"
_MAKING = ".made.tmp"
_Record = TypeVar("_Record", bound=TrainingRecord)


class Folder(Generic[_Record]):
    """A local folder that holds one training, or nothing.

    Args:
        where: its path.
        record: what its training.json holds.

    Raises:
        RunError: a file, or an address of a store: checkpoints need a local folder.
    """

    def __init__(self, where: str, record: type[_Record]) -> None:
        self._record = record
        self.place: Place = open_place(where)
        path: Path | None = getattr(self.place, "path", None)
        if path is None:
            raise RunError(
                f"The output {where!r} is in a store, and a training needs a local folder for its "
                "checkpoints. Give a folder, and copy it when the training is done."
            )
        self.place.refuse_file()
        self.path, self.checkpoints = path, path / "checkpoints"

    def hold(self, identity: Mapping[str, Any]) -> AbstractContextManager[bool]:
        """Keep other processes out until the training is done; RunError if one is in."""
        return self.place.hold(content_name({"train": dict(identity)}), "0")

    def finished(self, identity: Mapping[str, Any]) -> _Record | None:
        """The training that the folder holds, if it is done.

        Raises:
            RunError: if the folder holds another training, done or not, or something else.
        """
        self.refuse_foreign()
        if FILE_NAME in self.place.names():
            self._refuse_other(self._identity(), identity)
            return self.read()
        begun = self.begun()
        if begun is not None:
            self._refuse_other(begun["identity"], identity)
        return None

    def refuse_foreign(self) -> None:
        """Raise RunError if the folder holds something that is no training."""
        names = [name for name in self.place.names() if not name.startswith(".")]
        if names and FILE_NAME not in names and self.begun() is None:
            raise RunError(
                f"The output folder {self.place.name!r} is not empty and holds no training of "
                "wheresight. Choose an empty or new folder for --out."
            )

    def read(self) -> _Record:
        """The content of training.json; RunError if it is damaged or of another schema."""
        try:
            return self._record.model_validate_json(self.place.read(FILE_NAME))
        except ValueError:
            raise self._damaged() from None

    def _identity(self) -> dict[str, Any]:
        """What decides the result of the training that is done, whatever its kind."""
        try:
            found: dict[str, Any] = json.loads(self.place.read(FILE_NAME))["identity"]
            return dict(found)
        except (ValueError, KeyError, TypeError):
            raise self._damaged() from None

    def _damaged(self) -> RunError:
        return RunError(
            f"{self.place.label(FILE_NAME)!r} is damaged, or of another version of wheresight. "
            "Choose another --out; the weights beside it are untouched."
        )

    def begun(self) -> dict[str, Any] | None:
        """What a training that is not done wrote when it began: `identity` and `begun_at`."""
        try:
            found: dict[str, Any] = json.loads(self.place.read(_BEGUN))
            _ = found["identity"], found["begun_at"]
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            raise RunError(
                f"{self.place.label(_BEGUN)!r} is damaged, so it is not known which training the "
                "checkpoints beside it are of. Remove the folder, or choose another --out."
            ) from None
        return found

    def begin(self, identity: Mapping[str, Any], step: int) -> list[int]:
        """Write down that training begins at a step; return the steps of all sessions."""
        before = self.begun()
        at = [*(before["begun_at"] if before and step else []), step]
        content = {"identity": dict(identity), "begun_at": at}
        self.place.write(_BEGUN, (json.dumps(content, indent=2) + "\n").encode())
        return at

    def making(self) -> Path:
        """An empty folder for the result, until it is whole."""
        shutil.rmtree(self.path / _MAKING, ignore_errors=True)
        return self.path / _MAKING

    def publish(self, made: Path) -> None:
        """Move the files of a whole result to their places, but for PEFT's empty model card."""
        for file in sorted(made.iterdir()):
            if file.name != "README.md":
                with file.open("rb") as stream:
                    os.fsync(stream.fileno())
                os.replace(file, self.path / file.name)  # it may be larger than memory
        shutil.rmtree(made)

    def _refuse_other(self, here: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
        differ = sorted(k for k in {*here, *asked} if here.get(k) != asked.get(k))
        if differ:
            raise RunError(
                f"The output folder {self.place.name!r} holds another training: it differs in "
                f"{', '.join(differ)}. Choose another --out, or repeat the command that made it."
            )
