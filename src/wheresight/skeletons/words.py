"""A stand-in tokenizer and processor: the family's own classes around the pocket model's pieces."""

from __future__ import annotations

import importlib
import json
from typing import Any

from wheresight.lvlm.stills import stills_only
from wheresight.skeletons.plan import Plan, pieces_file


def build_tokenizer(plan: Plan) -> Any:
    """A tokenizer of the published vocabulary's size, with its special tokens at their own ids.

    The words are the pocket model's byte-level pieces, without the whole sentences that it holds as
    single pieces; ids that neither needs are called `<unused7>` and never come from a text. Prompts
    are therefore about as long as real ones, not exactly.
    """
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    special = [*plan.tokens.values(), *plan.others]
    content = json.loads(pieces_file().read_text(encoding="utf-8"))
    added = {token["content"] for token in content["added_tokens"]}
    pieces = [piece for piece in content["model"]["vocab"] if piece not in added]
    reserved = {number for _, number in special}
    free = (number for number in range(plan.vocabulary) if number not in reserved)
    vocabulary = dict(special) | dict(zip(pieces, free, strict=False))
    vocabulary |= {f"<unused{number}>": number for number in free}
    content["model"]["vocab"] = vocabulary
    content["added_tokens"] = [
        {
            "id": number,
            "content": text,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for text, number in sorted(special, key=lambda token: token[1])
    ]
    roles = {role: text for role, (text, _) in plan.tokens.items()}
    known = {"bos_token", "eos_token", "unk_token", "pad_token"}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(content)),
        **{role: text for role, text in roles.items() if role in known},
        extra_special_tokens={role: text for role, text in roles.items() if role not in known},
        clean_up_tokenization_spaces=False,
        padding_side="left",
        model_max_length=plan.config["text_config"]["max_position_embeddings"],
    )


def build_processor(plan: Plan) -> Any:
    """The family's stock processor around the stand-in tokenizer and the stock image processor.

    Where the stock class wants a video processor, which needs torchvision, a subclass without it is
    made: pictures are prepared by the stock code, and videos cannot be given.
    """
    import transformers

    # Named by file, because transformers hands out another class where torchvision is installed.
    images = getattr(importlib.import_module(plan.images["module"]), plan.images["class"])
    stock = getattr(transformers, plan.processor["class"])
    options = dict(plan.processor["options"])
    if "video_token" in plan.tokens:
        stock = stills_only(stock)
        options["video_processor"] = None
    return stock(
        image_processor=images(**plan.images["options"]),
        tokenizer=build_tokenizer(plan),
        chat_template=chat_template(plan),
        **options,
    )


def chat_template(plan: Plan) -> str:
    """One user turn in the published form: its pictures, then its text."""
    before, _, rest = plan.prompt.partition("{image}")
    between, _, after = rest.partition("{question}")

    def each(kind: str, said: str) -> str:
        return (
            "{%- for part in messages[0]['content'] if part['type'] == '" + kind + "' -%}"
            "{{- " + said + " -}}{%- endfor -%}"
        )

    def literal(text: str) -> str:
        return "{{- " + json.dumps(text) + " -}}"

    return (
        literal(before)
        + each("image", json.dumps(plan.image))
        + literal(between)
        + each("text", "part['text']")
        + literal(after)
    )
