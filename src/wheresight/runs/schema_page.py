"""The pages docs/results_schema.md and docs/evaluation_schema.md, made from the models."""

from __future__ import annotations

import sys
from typing import Any, get_args

from wheresight.runs import evaluation_results, results
from wheresight.runs.results import Model

_PAGES: dict[str, tuple[Any, type[Model]]] = {
    "results": (results, results.Results),
    "evaluation": (evaluation_results, evaluation_results.Evaluation),
}


def schema_markdown(page: str = "results") -> str:
    """Return a page: one table per model, parents first, with every field's meaning.

    Args:
        page: `results` or `evaluation`.
    """
    module, root = _PAGES[page]
    made_by = "python -m wheresight.runs.schema_page" + ("" if page == "results" else f" {page}")
    lines = [
        f"# {page}.json",
        "",
        f"This page is made from the models in `{module.__name__}` by "
        f"`{made_by} > docs/{page}_schema.md`. Edit the models, not "
        "the page.",
        "",
        f"Schema version {module.SCHEMA_VERSION}. The formulas are in [statistics](statistics.md). "
        f"`{module.__name__}.json_schema()` gives the JSON Schema.",
    ]
    for model in _models(root, []):
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
    name = str(annotation).replace("typing.", "")
    for module, _ in _PAGES.values():
        name = name.replace(f"{module.__name__}.", "")
    return name.replace("None", "null")


if __name__ == "__main__":
    print(schema_markdown(*sys.argv[1:]), end="")
