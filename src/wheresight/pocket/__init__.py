"""The pocket LVLMs: small models of stock classes trained from scratch here, and their emoji.

Importing this package is cheap; torch is imported only by the modules that train or evaluate.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["NAMES", "emoji_file", "model_folder"]

_HERE = Path(__file__).resolve().parent
# Names of the shipped models, and where each lies.
NAMES = {"pocket": "model", "pocket-qwen": "model_qwen", "pocket-gemma": "model_gemma"}


def model_folder(name: str = "pocket") -> Path:
    """Folder of a shipped model: config, safetensors, tokenizer, processor and card.

    Args:
        name: one of NAMES.
    """
    return _HERE / NAMES[name]


def emoji_file() -> Path:
    """The shipped Parquet file of emoji pictures, one row per picture and style."""
    return _HERE / "emoji.parquet"
