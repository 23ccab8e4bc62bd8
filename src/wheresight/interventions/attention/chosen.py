"""What methods on attention share: which query rows, layers and heads they act on."""

from __future__ import annotations

from dataclasses import dataclass, field

from wheresight.errors import SpecError
from wheresight.interventions.host import Host
from wheresight.interventions.layers import Layered, Some, outside

ROWS = ("last", "text")


@dataclass(frozen=True)
class Chosen(Layered):
    """Acts on some query rows of the prompt, in some layers and heads; the installer sees to it.

    Parameters:
        rows: `last`, the last row of the prompt, which predicts the first answer token; or `text`,
            every text row after the first image.
        layers: the decoder layers it acts in, from 0.
        heads: the query heads it acts on, from 0.
    """

    rows: str = field(default="last", kw_only=True)
    heads: Some = field(default=Some(), kw_only=True, metadata={"read": Some.parse})

    def __post_init__(self) -> None:
        if self.rows not in ROWS:
            raise SpecError(
                f"The parameter rows of {self.name!r} cannot be {self.rows!r}: expected "
                f"{' or '.join(ROWS)}."
            )

    def refuses(self, host: Host) -> str | None:
        """Refuse layers and heads that the model does not have."""
        return super().refuses(host) or outside("head", self.heads, host.heads)
