"""From a request of lmms-eval to the text and the pictures that a model is shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from wheresight.errors import ModelError
from wheresight.lvlm.prompts import adds_special_tokens, refuse_placeholder, render_turns


@dataclass(frozen=True, eq=False)
class Prompt:
    """One prompt.

    Attributes:
        text: rendered by the processor's chat template; it ends where the answer begins.
        images: in the order of their placeholders.
        special: whether the tokenizer is to put its own tokens around it.
    """

    text: str
    images: tuple[Image.Image, ...]
    special: bool

    @property
    def kind(self) -> tuple[int, bool]:
        """Prompts of one kind can go through the processor together."""
        return len(self.images), self.special


class Prompts:
    """Makes prompts for one model.

    Args:
        processor: of the model.
        placeholder: the token that stands for a picture.
        system: the text of a system turn before all others; none if empty.
    """

    def __init__(self, processor: Any, placeholder: str, system: str = "") -> None:
        self.processor = processor
        self.placeholder = placeholder
        self.system = system

    def of_context(self, text: str, visuals: Any) -> Prompt:
        """A `simple` request: its pictures, then its text, in one user turn."""
        pictures = [{"type": "image", "url": one} for one in _flat(visuals)]
        content = [*pictures, {"type": "text", "text": text}]
        return self.of_messages([{"role": "user", "content": content}])

    def of_messages(self, messages: Iterable[Mapping[str, Any]]) -> Prompt:
        """A `chat` request: turns whose content is texts and pictures in the task's order."""
        turns: list[dict[str, Any]] = []
        images: list[Image.Image] = []
        for message in messages:
            content = message["content"]
            parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
            turn: list[dict[str, str]] = []
            for part in parts:
                if part["type"] == "text":
                    refuse_placeholder(part["text"], self.placeholder)
                    turn.append({"type": "text", "text": part["text"]})
                else:
                    images.append(_opened(part))
                    turn.append({"type": "image"})
            turns.append({"role": message["role"], "content": turn})
        if self.system:
            content = [{"type": "text", "text": self.system}]
            turns.insert(0, {"role": "system", "content": content})
        text = render_turns(self.processor, turns)
        return Prompt(text, tuple(images), adds_special_tokens(self.processor, text))


def _flat(visuals: Any) -> list[Any]:
    """Pictures of a request; tasks give None, one, a list, or lists in a list."""
    if visuals is None:
        return []
    if isinstance(visuals, Sequence) and not isinstance(visuals, str):
        return [picture for part in visuals for picture in _flat(part)]
    return [visuals]


def _opened(part: Mapping[str, Any]) -> Image.Image:
    source = part.get("url", part.get("image"))
    kind = part["type"]
    if kind == "image" and isinstance(source, str):
        source = Image.open(source)
    if kind != "image" or not isinstance(source, Image.Image):
        said = kind if kind != "image" else type(source).__name__
        raise ModelError(
            f"The task shows the model a {said}; the model wheresight takes pictures and text. "
            "Choose tasks about pictures."
        )
    return source if source.mode == "RGB" else source.convert("RGB")
