"""Chat templates of a LLaVA that is put together from a language model of texts."""

from __future__ import annotations

import copy
from typing import Any

IMAGE = "<image>"  # the placeholder; what stands for it in LLaVA's data too

# A picture, then its caption and a line end: what LLaVA's first stage is trained on. Questions are
# left out, as there.
PLAIN = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% endif %}"
    "{% endfor %}"
    "{% elif message['role'] == 'assistant' %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{{ '\\n' }}"
    "{% endif %}"
    "{% endfor %}"
)

# Turns pictures and texts of each message into one text, which templates of language models expect.
_AS_TEXT = (
    "{%- set ns = namespace(turns=[]) -%}"
    "{%- for message in messages -%}"
    "{%- if message['content'] is string -%}{%- set text = message['content'] -%}"
    "{%- else -%}"
    "{%- set text -%}"
    "{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'image' -%}{{ '<image>\\n' }}"
    "{%- elif part['type'] == 'text' -%}{{ part['text'] }}{%- endif -%}"
    "{%- endfor -%}"
    "{%- endset -%}"
    "{%- endif -%}"
    "{%- set ns.turns = ns.turns + [{'role': message['role'], 'content': text}] -%}"
    "{%- endfor -%}"
    "{%- set messages = ns.turns -%}"
)

# What Vicuna was trained with (its version 1.1), as LLaVA-1.5 has it: turns are parted by a space,
# and each answer is ended by the end of sequence.
_VICUNA = (
    "{%- if messages[0]['role'] == 'system' -%}"
    "{{ messages[0]['content'] + ' ' }}"
    "{%- else -%}"
    "{{ 'A chat between a curious user and an artificial intelligence assistant. The assistant "
    "gives helpful, detailed, and polite answers to the user\\'s questions. ' }}"
    "{%- endif -%}"
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'user' -%}{{ 'USER: ' + message['content'] + ' ASSISTANT:' }}"
    "{%- elif message['role'] == 'assistant' -%}{{ ' ' + message['content'] + eos_token }}"
    "{%- endif -%}"
    "{%- endfor -%}"
)


def with_pictures(own: str | None) -> str:
    """A chat template that takes pictures, from a language model's own, or from Vicuna's.

    Each picture becomes the placeholder and a line end where it stands in its message.

    Args:
        own: of the language model's tokenizer, or None.
    """
    return _AS_TEXT + (own or _VICUNA)


def with_template(processor: Any, template: str) -> Any:
    """The same processor with another chat template."""
    twin = copy.copy(processor)
    twin.chat_template = template
    return twin
