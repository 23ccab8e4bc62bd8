"""Settings of this package's own lmms-eval tasks.

A task's data set is one line of settings, from which its documents are made. They come from, the
later the stronger: `tasks/settings/TASK.jsonl`, and the environment variable of the task.
"""

from __future__ import annotations

import json
import os
from typing import Any

from wheresight.errors import StimulusError


def settings_of(dataset: Any, variable: str) -> dict[str, Any]:
    """The one row of a settings file, under what the environment says.

    Args:
        dataset: what lmms-eval loaded.
        variable: holds a JSON object, or a benchmark's spec alone.

    Raises:
        StimulusError: a variable with something else in it, or a name that there is not.
    """
    found: dict[str, Any] = dict(dataset[0])
    given = os.environ.get(variable, "").strip()
    if not given:
        return found
    if not given.startswith("{"):
        given = json.dumps({"benchmark": given})
    try:
        own = json.loads(given)
    except ValueError as error:
        raise StimulusError(
            f"The environment variable {variable} is no JSON object ({error}). Expected one such "
            'as {"items": 50}.'
        ) from None
    if unknown := sorted(set(own) - set(found)):
        raise StimulusError(
            f"The environment variable {variable} names {', '.join(unknown)}. Expected some of "
            f"{', '.join(found)}."
        )
    return {**found, **own}
