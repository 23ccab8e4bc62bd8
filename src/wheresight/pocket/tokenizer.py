"""The tokenizer: byte-level BPE, trained here on questions, names, and a little plain text.

Any text encodes and decodes back. The roles and the two fixed sentences of the paper's question
are single pieces, so that the question costs about ten tokens instead of fifty.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from wheresight.pocket import language

PAD, BOS, EOS, IMAGE = "<pad>", "<s>", "</s>", "<image>"
USER, ASSISTANT = "USER:", "ASSISTANT:"
SENTENCES = (
    "Determine if there is a sub-image in the given image that matches the text following.",
    "The answer should only contain 'Yes' or 'No', without reasoning process.",
)
_CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'assistant' -%}{{- 'ASSISTANT:' -}}"
    "{%- else -%}{{- 'USER:' -}}{%- endif -%}"
    "{%- if message['content'] is string -%}{{- message['content'] -}}"
    "{%- else -%}"
    "{%- for part in message['content'] if part['type'] == 'image' -%}{{- MARKER -}}"
    "{%- endfor -%}"
    "{%- for part in message['content'] if part['type'] == 'text' -%}{{- part['text'] -}}"
    "{%- endfor -%}{%- endif -%}"
    "{%- if message['role'] == 'assistant' -%}{{- '</s>' -}}{%- else -%}{{- '\\n' -}}{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- 'ASSISTANT:' -}}{%- endif -%}"
)
_PLAIN = """
The quick brown fox jumps over the lazy dog. A picture is worth a thousand words, and where a
thing stands in it should not matter to the question of whether it is there. Please answer with a
single word. How many objects are there in this image? Which one is bigger, the one on the left
or the one on the right? Describe the scene in a few words. I think that it is about the same as
before, but we will have to look again. This model was trained on small pictures; it knows their
names and little else. What color is it? Are there any animals, people, plants, cars, or houses?
def main(path: str) -> int:
    for index in range(10): print(f"{index}: {path}")
    return 0
{"name": "value", "list": [1, 2, 3], "true": false, "null": null} https://example.org/a?b=c
0 1 2 3 4 5 6 7 8 9 10 2024 3.14 + - * / = < > ( ) [ ] { } # @ & % $ ! ? ; : , . ' "
"""


def chat_template(marker: str) -> str:
    """Turns as the training writes them; ``marker`` stands for a picture, before all text."""
    return _CHAT_TEMPLATE.replace("MARKER", json.dumps(marker))


def corpus(names: list[str]) -> list[str]:
    """Texts whose counts decide the merges: names weigh most, so that their words stay whole."""
    texts = [_PLAIN]
    for name in names:
        texts += [f" {name}"] * 30
        texts += [wording.format(caption=name) for wording in language.MATCHES + language.WHERES]
    for cell in language.CELLS:
        texts += [f"{cell} {cell} {cell}"] * 20
        texts += [wording.format(cell=cell) for wording in language.AT_CELLS] * 20
    words: list[str] = [*language.RELATIONS, *language.RELATION_MATCHES]
    words += [*language.WHERE_RELATIVE, *language.NAMINGS, *language.CELL_MATCHES]
    texts += [text.replace("{", "").replace("}", "") for text in words] * 40
    texts += ["Yes", "No", "nothing", "the", "left", "right", "above", "below"] * 400
    return texts


def train_tokenizer(
    names: list[str], vocabulary: int, marks: Mapping[str, str] | None = None
) -> Any:
    """A ``PreTrainedTokenizerFast`` with about ``vocabulary`` pieces; the same on every run.

    ``marks`` are special tokens that an architecture needs, by their roles.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    pieces = [USER, ASSISTANT, *SENTENCES]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(pieces),
        special_tokens=[PAD, BOS, EOS, IMAGE, *(marks or {}).values()],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(names), trainer)
    tokenizer.add_tokens([AddedToken(piece, normalized=False) for piece in pieces])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        extra_special_tokens={"image_token": IMAGE, **(marks or {})},
        clean_up_tokenization_spaces=False,
        padding_side="left",
        model_max_length=512,
    )
