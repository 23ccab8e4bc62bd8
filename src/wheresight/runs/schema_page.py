"""The page docs/results_schema.md, made from the models of results.json."""

from __future__ import annotations

from typing import Any, get_args

from wheresight.runs.results import SCHEMA_VERSION, Model, Results


def schema_markdown() -> str:
    """Return the page: one table per model, parents first, with every field's meaning."""
    lines = [
        "# results.json",
        "",
        "This page is made from the models in `wheresight.runs.results` by "
        "`python -m wheresight.runs.schema_page > docs/results_schema.md`. Edit the models, not "
        "the page.",
        "",
        f"Schema version {SCHEMA_VERSION}. The formulas are in [statistics](statistics.md). "
        "`wheresight.runs.results.json_schema()` gives the JSON Schema.",
    ]
    for model in _models(Results, []):
        lines += ["", f"## {model.__name__}", ""]
        for paragraph in (model.__doc__ or "").split("\n\n"):
            lines += [" ".join(paragraph.split()), ""]
        lines += ["| field | type | meaning |", "|---|---|---|"]
        for name, field in model.model_fields.items():
            kind = _type_name(field.annotation).replace("|", "or")
            lines.append(f"| `{name}` | {kind} | {field.description} |")
    return "\n".join(lines) + "\n"


def _models(annotation: Any, found: list[type[Model]]) -> list[type[Model]]:
    """Collect the models reachable from an annotation, each once, parents first."""
    if isinstance(annotation, type) and issubclass(annotation, Model):
        if annotation not in found:
            found.append(annotation)
            for field in annotation.model_fields.values():
                _models(field.annotation, found)
    else:
        for argument in get_args(annotation):
            _models(argument, found)
    return found


def _type_name(annotation: Any) -> str:
    if isinstance(annotation, type) and not get_args(annotation):
        return "null" if annotation is type(None) else annotation.__name__
    name = str(annotation).replace("typing.", "").replace("wheresight.runs.results.", "")
    return name.replace("None", "null")


if __name__ == "__main__":
    print(schema_markdown(), end="")
