"""What every intervention is: a frozen dataclass with one pure function per seam it uses.

Legend: R rotary rows (1, or 3 under M-RoPE), B batch, T tokens of the whole history.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import torch

    from wheresight.lvlm.layout import Layout

# The order in which seams act, and in which a composition is written.
SEAMS = ("positions",)


@dataclasses.dataclass(frozen=True)
class Intervention:
    """A change to a model, as data. Subclasses override the method of each seam they act on.

    The fields of a subclass are its parameters. They are written `name:field=value`; a field whose
    name is a Python keyword ends in `_`, which is not written. A subclass checks the range of its
    fields in `__post_init__` and raises SpecError with one sentence.

    Attributes:
        name: how a spec calls it; lower case letters, digits and `_`.
        paper: where it was published, empty for our own.
        text_moves_rigidly: True if all text after the last image is shifted by one constant per
            row. It lets a decode step add that constant instead of thinking of the whole prompt.
    """

    name: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    text_moves_rigidly: ClassVar[bool] = True

    def positions(self, ids: torch.Tensor, layout: Layout) -> torch.Tensor:
        """Return the rotary ids that tokens shall have, given those they would have had.

        It is called only when the layout holds an image, always with the whole history of a cache,
        and must treat each row of the batch alone.

        Args:
            ids: (R, B, T), as the model made them. Only differences count: a row may start at any
                id, and ids of padding mean nothing.
            layout: of the same B rows and T columns.

        Returns:
            (R, B, T), integer or float.
        """
        return ids

    @classmethod
    def seams(cls) -> tuple[str, ...]:
        """The seams it acts on, in order."""
        return tuple(s for s in SEAMS if getattr(cls, s) is not getattr(Intervention, s))

    @classmethod
    def parameters(cls) -> dict[str, dataclasses.Field[Any]]:
        """Its parameters by the name they have in a spec."""
        return {field.name.rstrip("_"): field for field in dataclasses.fields(cls)}

    def values(self) -> dict[str, Any]:
        """Every parameter's value by the name it has in a spec."""
        return {spelt: getattr(self, field.name) for spelt, field in self.parameters().items()}

    def to_json(self) -> dict[str, Any]:
        """Name and all parameters, defaults too, so that a stored record never changes its meaning.

        >>> from wheresight.interventions.positions.bapa import BaPA
        >>> BaPA().to_json()
        {'name': 'bapa', 'params': {}}
        """
        return {"name": self.name, "params": self.values()}

    def __str__(self) -> str:
        changed = [
            f"{spelt}={_written(value)}"
            for (spelt, field), value in zip(
                self.parameters().items(), self.values().values(), strict=True
            )
            if not _is_default(field, value)
        ]
        return self.name + (":" + ",".join(changed) if changed else "")


def _is_default(field: dataclasses.Field[Any], value: Any) -> bool:
    if field.default_factory is not dataclasses.MISSING:
        return bool(value == field.default_factory())
    return bool(value == field.default)


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
