"""`intervention.json`: under which intervention the weights beside it were trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wheresight.errors import ModelError, WheresightError
from wheresight.interventions.spec import Spec, canonical, parse, to_json

INTERVENTION_FILE = "intervention.json"


class TrainedUnder(BaseModel):
    """What `intervention.json` holds."""

    model_config = ConfigDict(extra="forbid")

    intervention: Any = Field(description="The intervention's JSON form.")
    spec: str = Field(description="The same as a string.")
    base: str = Field(description="Name of the model that training began with.")
    base_revision: str = Field(description="What identifies its weights; may be empty.")
    wheresight: str = Field(description="Version that wrote this.")


def write_trained_under(
    folder: Path, intervention: Spec, base: str, base_revision: str
) -> TrainedUnder:
    """Write a folder's `intervention.json`."""
    import wheresight

    said = TrainedUnder(
        intervention=to_json(intervention),
        spec=canonical(intervention),
        base=base,
        base_revision=base_revision,
        wheresight=wheresight.__version__,
    )
    text = json.dumps(said.model_dump(mode="json"), indent=2) + "\n"
    (folder / INTERVENTION_FILE).write_text(text, encoding="utf-8")
    return said


def read_trained_under(path: Path, what: str, again: str) -> TrainedUnder:
    """Read an `intervention.json`; its spec is canonical afterwards.

    Args:
        path: of the file.
        what: whose it is, for messages, such as `adapter`.
        again: how it is written anew, for messages.

    Raises:
        ModelError: damaged, or a spec that is not known here.
    """
    try:
        said = TrainedUnder.model_validate_json(path.read_bytes())
        spec = canonical(parse(said.intervention))
        if spec != canonical(parse(said.spec)):
            raise ModelError("its two forms of the intervention differ")
    except (ValidationError, WheresightError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(
            f"The file {str(path)!r} does not say which intervention the {what} was trained "
            f"under ({reason}). Write it anew with {again}."
        ) from None
    return said.model_copy(update={"spec": spec})
