"""Requests as lmms-eval makes them, for its model without a whole task."""

from __future__ import annotations

from typing import Any

from lmms_eval.api.instance import Instance
from PIL import Image

Document = tuple[tuple[Image.Image, ...], str]


def messages(document: Document) -> list[dict[str, Any]]:
    """A task's turn: its pictures, then its text."""
    pictures, text = document
    shown = [{"type": "image", "url": picture} for picture in pictures]
    return [{"role": "user", "content": [*shown, {"type": "text", "text": text}]}]


def chat(documents: list[Document], **kwargs: Any) -> list[Instance]:
    """Requests of a chat model."""
    return [
        _instance("generate_until", (text, messages, dict(kwargs), n, "t", "s"))
        for n, (_, text) in enumerate(documents)
    ]


def simple(documents: list[Document], **kwargs: Any) -> list[Instance]:
    """Requests of a simple model."""
    return [
        _instance("generate_until", (text, dict(kwargs), lambda d: list(d[0]), n, "t", "s"))
        for n, (_, text) in enumerate(documents)
    ]


def options(documents: list[Document], choices: list[list[str]]) -> list[Instance]:
    """Requests of a multiple-choice task: one a choice, behind lmms-eval's space."""
    return [
        _instance("loglikelihood", (text, f" {choice}", lambda d: list(d[0]), n, "t", "s"))
        for n, (_, text) in enumerate(documents)
        for choice in choices[n]
    ]


def given(model: Any, documents: list[Document]) -> Any:
    """A model that knows these documents, as lmms-eval's evaluator tells it."""
    model.task_dict["t"] = {"s": documents}
    return model


def _instance(kind: str, arguments: tuple[Any, ...]) -> Instance:
    metadata = {"task": "t", "doc_id": arguments[-3], "repeats": 1}
    return Instance(request_type=kind, arguments=arguments, idx=0, metadata=metadata)
