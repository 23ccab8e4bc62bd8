"""Small pictures of composites inside the page, within a budget of bytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable

from PIL import Image, features

from wheresight.report.texts import one_line

Render = Callable[[str], Image.Image]

NO_SOURCE = (
    "The pictures could not be drawn, because the source of the image-caption pairs is not at hand "
    "or has changed since the run. Put it where the run found it and make the report again; the "
    "answers below are complete."
)


_FAILURES = 3  # a source that fails so often is not asked again


class Thumbnails:
    """Draws composites on demand; beyond the budget, or after some failures, it stops and says why.

    Args:
        render: recipe JSON to picture, or None where the source is not at hand.
        side: longest side in pixels.
        budget: bytes of all pictures together, as they stand in the page.
        without: what to say where there is no `render`.
    """

    def __init__(
        self,
        render: Render | None,
        side: int = 176,
        budget: int = 600_000,
        without: str = NO_SOURCE,
    ) -> None:
        self._render = render
        self._side = side
        self._left = budget
        self._drawn: dict[str, str] = {}
        self._failures = 0
        self.reason = "" if render else without
        self.sizes: dict[str, tuple[int, int]] = {}  # of pictures that were drawn, in their pixels

    def uri(self, recipe: str) -> str | None:
        """Return the picture as a data URI; None where there is none, `reason` says why."""
        if recipe in self._drawn:
            return self._drawn[recipe]
        if self._render is None or self._left <= 0 or self._failures > _FAILURES:
            return None
        try:
            picture = self._render(recipe).convert("RGB")
        except Exception as error:  # whatever a source may raise: the numbers are worth a report
            what = one_line(str(error), 300) or type(error).__name__
            self.reason = f"Some pictures could not be drawn: {what}"
            self._failures += 1
            return None
        size = picture.size
        picture.thumbnail((self._side, self._side), Image.Resampling.LANCZOS)
        kind, options = ("webp", {"quality": 82}) if features.check("webp") else ("jpeg", {})
        stream = io.BytesIO()
        picture.save(stream, kind, **options)
        uri = f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"
        if len(uri) > self._left:
            self.reason = (
                "Some pictures are left out to keep this file small; all answers are shown."
            )
            self._left = 0
            return None
        self._left -= len(uri)
        self._drawn[recipe] = uri
        self.sizes[recipe] = size
        return uri
