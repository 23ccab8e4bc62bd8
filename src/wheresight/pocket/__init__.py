"""The pocket LVLM: a small LLaVA trained from scratch here, and the emoji that it knows.

Importing this package is cheap; torch is imported only by the modules that train or evaluate.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["emoji_file", "model_folder"]

_HERE = Path(__file__).resolve().parent


def model_folder() -> Path:
    """Folder of the shipped model: config, safetensors, tokenizer, processor and card."""
    return _HERE / "model"


def emoji_file() -> Path:
    """The shipped Parquet file of emoji pictures, one row per picture and style."""
    return _HERE / "emoji.parquet"
