"""How often a test part has been looked at: every choice that was tested in a folder.

DIR/choices.json holds one entry a choice, written before the test part is evaluated, so that a look
that was broken off counts as one.
"""

from __future__ import annotations

from wheresight.runs.manifest import ManifestFile
from wheresight.runs.places import Place
from wheresight.runs.tuned import Look

MANIFEST = ManifestFile("choices.json", 1, "tuning", "a tuning was written into")


def begin(place: Place) -> None:
    """Make the file if it is not there.

    Raises:
        RunError: if the folder holds something else, or the file is damaged.
    """
    MANIFEST.environment(place)
    if MANIFEST.name not in place.names():
        MANIFEST.write(place, {"environment": None, "looks": []})


def note(place: Place, look: Look) -> list[Look]:
    """Write a look down, unless the same choice was tested before.

    Returns:
        All looks at the same test part, the first one first.
    """
    held = [Look.model_validate(one) for one in MANIFEST.read(place)["looks"]]
    if not any(look.same(one) for one in held):
        held.append(look)
        content = [one.model_dump(mode="json") for one in held]
        MANIFEST.write(place, {"environment": None, "looks": content})
    return [one for one in held if one.of_one_part(look)]
