"""From a picture and a question to the text that the model was trained to see."""

from __future__ import annotations

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
        ModelError: if the processor has no chat template, or the template drops the picture.
    """
    check_chat_template(processor)
    content: list[dict[str, str]] = [{"type": "image"} for _ in range(images)]
    content.append({"type": "text", "text": question})
    turns: list[dict[str, Any]] = [{"role": "user", "content": content}]
    if system:
        turns.insert(0, {"role": "system", "content": [{"type": "text", "text": system}]})
    text = processor.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    return str(text)


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
