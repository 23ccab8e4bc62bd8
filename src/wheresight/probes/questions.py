"""Phrasings of the matching question: is the caption's picture somewhere in this one?"""

from __future__ import annotations

from wheresight.errors import StimulusError, unknown_name

# `paper` is the released prompt of BaPA (arXiv 2509.21984), word for word.
QUESTIONS = {
    "paper": (
        "Determine if there is a sub-image in the given image that matches the text following.\n"
        "Text: {caption}\n"
        "The answer should only contain 'Yes' or 'No', without reasoning process.\n"
    ),
    "contains": (
        "Does this image contain a picture of the following: {caption}? Answer Yes or No."
    ),
    "short": "is {caption}",
}


def question_template(given: str) -> str:
    """A named phrasing, or the user's own text with `{caption}` in it.

    Raises:
        StimulusError: if it is neither.
    """
    if "{caption}" in given:
        return given
    if given in QUESTIONS:
        return QUESTIONS[given]
    raise StimulusError(
        unknown_name("question", given, QUESTIONS)
        + " Your own question is text with {caption} where the caption goes."
    )


def ask(template: str, caption: str) -> str:
    """Put a caption into a template; braces in the caption stay as they are."""
    return template.replace("{caption}", caption)
