"""What the paper's Table 3 takes of MME."""

from __future__ import annotations

from typing import Any

from wheresight.bridges.lmms_eval.bench.tasks import MME_CATEGORIES


def four_categories(dataset: Any) -> Any:
    """Questions of the four categories, in their order; lmms-eval calls this `process_docs`."""
    return dataset.filter(lambda category: category in MME_CATEGORIES, input_columns="category")
