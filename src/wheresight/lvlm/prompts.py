"""From a picture and a question to the text that the model was trained to see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wheresight.errors import ModelError


def chat_prompt(processor: Any, question: str, images: int = 1, system: str = "") -> str:
    """Render one user turn, `images` pictures then the question, by the processor's chat template.

    Args:
        processor: of the model.
        question: the text behind the pictures.
        images: how many.
        system: the text of a system turn before it; none if empty.

    Returns:
        The prompt's text with the family's own image placeholder, ready for the processor; it ends
        where the answer begins.

    Raises:
        ModelError: if the processor has no chat template, or that cannot render these turns.
    """
    content: list[dict[str, str]] = [{"type": "image"} for _ in range(images)]
    content.append({"type": "text", "text": question})
    turns: list[dict[str, Any]] = [{"role": "user", "content": content}]
    if system:
        turns.insert(0, {"role": "system", "content": [{"type": "text", "text": system}]})
    return render_turns(processor, turns)


def render_turns(processor: Any, turns: Sequence[dict[str, Any]]) -> str:
    """Render a conversation by the processor's chat template, ready for the answer.

    Args:
        processor: of the model.
        turns: as transformers takes them; the content of each is a list of texts and pictures.

    Raises:
        ModelError: if the processor has no chat template, or that cannot render these turns, or
            leaves out a text, as some do with a system turn, so that the model would not see it.
    """
    from jinja2 import TemplateError

    check_chat_template(processor)
    name = type(processor).__name__
    try:
        rendered = str(
            processor.apply_chat_template(list(turns), add_generation_prompt=True, tokenize=False)
        )
    except (TemplateError, ValueError, TypeError, KeyError) as error:
        roles = ", ".join(turn["role"] for turn in turns)
        raise ModelError(
            f"The chat template of {name} cannot render turns of {roles}: {error}"
        ) from None
    texts = (part["text"] for turn in turns for part in turn["content"] if part["type"] == "text")
    lost = next((text for text in texts if text.strip() not in rendered), None)
    if lost is not None:
        raise ModelError(
            f"The chat template of {name} leaves out the text {lost[:200]!r}, so the model would "
            "not see it. Put it into the user's message."
        )
    return rendered


def refuse_placeholder(text: str, placeholder: str) -> None:
    """Raise ModelError if a text holds the model's own image placeholder."""
    if placeholder in text:
        raise ModelError(
            f"The text {text[:200]!r} contains {placeholder!r}, the model's own image placeholder, "
            "and would be taken for a picture. Change the caption, question or task."
        )


def check_chat_template(processor: Any) -> None:
    """Raise ModelError unless the processor has a chat template."""
    if getattr(processor, "chat_template", None):
        return
    if getattr(getattr(processor, "tokenizer", None), "chat_template", None):
        return
    raise ModelError(
        f"The processor {type(processor).__name__} has no chat template, so a question cannot be "
        "put in the form the model was trained on. Put a chat_template.jinja beside its files."
    )


def adds_special_tokens(processor: Any, text: str) -> bool:
    """Should the tokenizer put its own tokens around a rendered prompt?

    Not if the template has written the first of them already: two would be more than the model was
    trained with. This is the rule of transformers' own `apply_chat_template(tokenize=True)`.
    """
    bos = getattr(processor.tokenizer, "bos_token", None)
    return not (bos and text.startswith(bos))
