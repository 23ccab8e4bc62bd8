"""From Inspect's messages to turns for a chat template and the pictures in them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspect_ai.model import ChatMessage, Content, ContentImage, ContentText
from PIL import Image

from wheresight.errors import ModelError
from wheresight.stimuli.images import decode, read_file

_ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class Conversation:
    """What was said so far, ending with the user.

    Attributes:
        turns: as chat templates of transformers take them, with a place for each picture.
        pictures: RGB, in the order of their places.
        texts: every text in `turns`, in order.
    """

    turns: tuple[dict[str, Any], ...]
    pictures: tuple[Image.Image, ...]
    texts: tuple[str, ...]


def conversation(messages: Sequence[ChatMessage]) -> Conversation:
    """Read messages of text and pictures.

    Raises:
        ModelError: anything but text and pictures, tool calls, or a last message that is not the
            user's.
        StimulusError: a picture that cannot be decoded.
    """
    turns: list[dict[str, Any]] = []
    pictures: list[Image.Image] = []
    texts: list[str] = []
    for message in messages:
        if message.role not in _ROLES or getattr(message, "tool_calls", None):
            raise ModelError(
                f"A message of the role {message.role!r} with a tool's call or result was given; "
                "wheresight's models take no tools. Expected system, user and assistant messages."
            )
        parts: list[dict[str, str]] = []
        for content in _contents(message.content):
            if isinstance(content, ContentText):
                texts.append(content.text)
                parts.append({"type": "text", "text": content.text})
            elif isinstance(content, ContentImage):
                pictures.append(picture(content.image, len(pictures) + 1))
                parts.append({"type": "image"})
            else:
                raise ModelError(
                    f"Content of the type {content.type!r} was given; wheresight's models take "
                    "text and pictures. Leave it out, or take another model."
                )
        turns.append({"role": message.role, "content": parts})
    if not turns or turns[-1]["role"] != "user":
        last = turns[-1]["role"] if turns else "nobody"
        raise ModelError(
            f"The last message is from {last!r}; expected one of the user, which the model answers."
        )
    return Conversation(tuple(turns), tuple(pictures), tuple(texts))


def picture(reference: str, number: int) -> Image.Image:
    """Decode a picture that is given as a data URI or as a local file.

    Args:
        reference: what Inspect has in `ContentImage.image`.
        number: which of the conversation's pictures it is, for errors.
    """
    name = f"picture {number}"
    if not reference.startswith("data:"):
        if "://" in reference:
            raise ModelError(
                f"The {name} is an address ({reference[:80]!r}), and nothing is fetched here. "
                "Expected a data URI or a local file."
            )
        return decode(read_file(Path(reference), name), name)
    head, _, data = reference.partition(",")
    try:
        if not head.endswith(";base64"):
            raise ValueError("it is not in base64")
        return decode(base64.b64decode(data, validate=True), name)
    except (ValueError, binascii.Error) as error:
        raise ModelError(
            f"The data URI of {name} cannot be read: {error}. Expected data:image/png;base64,..."
        ) from None


def _contents(content: str | list[Content]) -> Iterable[Content]:
    return [ContentText(text=content)] if isinstance(content, str) else content
