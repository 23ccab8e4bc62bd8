"""A frozen dataclass whose fields are parameters of a spec: how it is written and stored."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar


@dataclasses.dataclass(frozen=True)
class WithParameters:
    """Base of what a spec `name:field=value` may name: interventions and diagnostics.

    The fields of a subclass are its parameters. A field whose name is a Python keyword or a method
    ends in `_`, which is not written. A first parameter with the metadata `bare` is written without
    its name; the metadata `read` gives a field its own reader.

    Attributes:
        name: how a spec calls it; lower case letters, digits and `_`.
        example: parameters to try it with, as written behind its name; needed if it has any
            without a default.
    """

    name: ClassVar[str] = ""
    example: ClassVar[str] = ""

    @classmethod
    def parameters(cls) -> dict[str, dataclasses.Field[Any]]:
        """Its parameters by the name they have in a spec; shared ones such as `layers` last."""
        own = sorted(dataclasses.fields(cls), key=lambda field: field.kw_only is True)
        return {field.name.rstrip("_"): field for field in own}

    def values(self) -> dict[str, Any]:
        """Every parameter's value by the name it has in a spec."""
        return {spelt: getattr(self, field.name) for spelt, field in self.parameters().items()}

    def to_json(self) -> dict[str, Any]:
        """Name and all parameters, defaults too, so that a stored record never changes its meaning.

        >>> from wheresight.interventions.positions.bapa import BaPA
        >>> BaPA().to_json()
        {'name': 'bapa', 'params': {'text_only': False, 'layers': 'all'}}
        """
        plain = (bool, int, float, str)
        params = {k: v if isinstance(v, plain) else str(v) for k, v in self.values().items()}
        return {"name": self.name, "params": params}

    def __str__(self) -> str:
        changed = [
            _written(value) if field.metadata.get("bare") else f"{spelt}={_written(value)}"
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
