"""What lmms-eval hands over as words: model arguments, and how a task wants its text generated."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wheresight.errors import ModelError

# What lmms-eval fills in where a task names no end: the delimiter between few-shot examples. A chat
# template ends a turn with a token of its own, and a paragraph is no end of an answer.
_FILLED_IN = ["\n\n"]
_TOKENS = 1024  # as lmms-eval's own models, where a task does not say
# What has no meaning here: greedy decoding reads no distribution, pictures are the processor's.
_WITHOUT_EFFECT = {"top_p", "top_k", "image_aspect_ratio", "do_sample", "temperature", "seed"}
_KNOWN = _WITHOUT_EFFECT | {
    "max_new_tokens",
    "until",
    "num_beams",
    "repetition_penalty",
    "use_cache",
}


def unquoted(value: Any) -> Any:
    """A model argument without the quotes that keep its commas together.

    >>> unquoted('"v2pe:delta=0.5,text=1"'), unquoted(8)
    ('v2pe:delta=0.5,text=1', 8)
    """
    if isinstance(value, str) and len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return value


def flag(name: str, value: Any) -> bool:
    """A model argument that is true or false.

    Raises:
        ModelError: another value.
    """
    given = str(unquoted(value)).lower()
    if given not in ("true", "false"):
        raise ModelError(f"The model argument {name}={value} was given; expected true or false.")
    return given == "true"


def spec_of(value: Any) -> Any:
    """An intervention's string, or its JSON form, as `parse` takes it."""
    text = unquoted(value)
    if isinstance(text, str) and text.lstrip().startswith(("{", "[")):
        try:
            return json.loads(text)
        except ValueError as error:
            raise ModelError(
                f"The model argument intervention={text!r} is no JSON ({error}). Give a spec such "
                "as bapa, one with commas in double quotes, or its JSON form."
            ) from None
    return str(text)


def model_arguments(values: Mapping[str, Any]) -> str:
    """Arguments as lmms-eval's --model_args; what is None is left out.

    Raises:
        ModelError: a value with a double quote in it, which lmms-eval cannot read back.

    >>> model_arguments({"pretrained": "pocket", "intervention": "bapa", "adapter": None})
    'pretrained="pocket",intervention="bapa"'
    """
    written = []
    for name, value in values.items():
        if value is None:
            continue
        text = str(value)
        if isinstance(value, bool):
            written.append(f"{name}={text}")
            continue
        if '"' in text or "\\" in text:
            raise ModelError(
                f"The value {text!r} of {name} has a double quote or a backslash in it, which "
                "lmms-eval cannot read as a model argument. Choose a path without them."
            )
        written.append(f'{name}="{text}"')
    return ",".join(written)


@dataclass(frozen=True)
class Wish:
    """How a text is to be generated. Rows with equal wishes may share a batch.

    Attributes:
        max_new_tokens: at most so many tokens.
        until: texts that end an answer; they are no part of it.
        options: what else `generate` is told, by name.
    """

    max_new_tokens: int
    until: tuple[str, ...] = ()
    options: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Wish:
        """Read a task's generation_kwargs.

        Raises:
            ModelError: sampling, or a setting that is not known.
        """
        unknown = sorted(set(given) - _KNOWN)
        if unknown:
            raise ModelError(
                f"The task asks for generation with {', '.join(unknown)}, which the model "
                f"wheresight does not know; it knows {', '.join(sorted(_KNOWN))}. Override the "
                "task's generation_kwargs in a task file of your own."
            )
        if given.get("do_sample") or float(given.get("temperature") or 0) > 0:
            raise ModelError(
                "The task asks for sampled answers (do_sample or temperature > 0), and the model "
                "wheresight decodes greedily, so that answers can be compared between "
                "interventions and do not depend on the batch. Add --gen_kwargs "
                "do_sample=False,temperature=0 to have it so."
            )
        until = given.get("until") or []
        until = [until] if isinstance(until, str) else list(until)
        if until == _FILLED_IN:
            until = []
        options: dict[str, Any] = {"num_beams": int(given.get("num_beams") or 1)}
        for name, kind in (("repetition_penalty", float), ("use_cache", bool)):
            if given.get(name) is not None:
                options[name] = kind(given[name])
        return cls(
            int(given.get("max_new_tokens") or _TOKENS),
            tuple(end for end in until if end),
            tuple(sorted(options.items())),
        )

    def cut(self, text: str) -> str:
        """The text up to the first of its ends."""
        found = [at for end in self.until if (at := text.find(end)) >= 0]
        return text[: min(found)] if found else text
