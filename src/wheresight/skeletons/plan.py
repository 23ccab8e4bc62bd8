"""What a skeleton is made of: the shipped configuration, at full size or a quarter of it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wheresight.errors import ModelError, unknown_name
from wheresight.skeletons import PREFIX, QUARTER, names

SEED = 0
_HERE = Path(__file__).resolve().parent
# What becomes a quarter: widths, heads and layers, under every name that transformers has for
# them. Heads keep their size, so that rotary frequencies stay those of the full model.
_QUARTERED = (
    "hidden_size",
    "intermediate_size",
    "out_hidden_size",
    "num_hidden_layers",
    "depth",
    "num_attention_heads",
    "num_key_value_heads",
    "num_heads",
)


@dataclass(frozen=True)
class Plan:
    """A skeleton's facts, as its file in `configurations/` has them.

    Attributes:
        name: as --model takes it.
        published: hub id of the model whose shape it has.
        parameters: of the published model, whatever the size of this one.
        config: for transformers, model_type included; tower and language model inside.
        tokens: special tokens by their role: text and id.
        others: further tokens of the prompt: text and id.
        images: class and options of the image processor.
        processor: class and options of the processor.
        prompt: one turn, with {image} and {question}.
        image: what stands for one picture in the prompt.
    """

    name: str
    published: str
    parameters: int
    config: dict[str, Any]
    tokens: dict[str, tuple[str, int]]
    others: list[tuple[str, int]]
    images: dict[str, Any]
    processor: dict[str, Any]
    prompt: str
    image: str

    @property
    def vocabulary(self) -> int:
        """Rows of the word embeddings."""
        return int(self.config["text_config"]["vocab_size"])

    @property
    def revision(self) -> str:
        """Names what decides the answers: this configuration, the seed and the stand-in words."""
        content = json.dumps([SEED, self.__dict__], sort_keys=True, default=list)
        words = hashlib.sha256(pieces_file().read_bytes()).hexdigest()
        return "skeleton-" + hashlib.sha256((content + words).encode()).hexdigest()[:16]


def plan(model: str) -> Plan:
    """Read the configuration of `skeleton:NAME` or `skeleton:NAME-quarter`.

    Raises:
        ModelError: a name that is not shipped; the nearest are suggested.
    """
    if model not in names():
        raise ModelError(unknown_name("skeleton", model, names()))
    name = model.removeprefix(PREFIX)
    file = _HERE / "configurations" / f"{name.removesuffix(QUARTER)}.json"
    facts = json.loads(file.read_text(encoding="utf-8"))
    if name.endswith(QUARTER):
        for part in ("vision_config", "text_config"):
            facts["config"][part] = quarter(facts["config"][part])
    return Plan(name=model, **facts)


def quarter(config: dict[str, Any]) -> dict[str, Any]:
    """A quarter of a tower's or language model's widths, heads and layers, never below one."""
    small = {k: max(1, round(v / 4)) if k in _QUARTERED else v for k, v in config.items()}
    if "fullatt_block_indexes" in small:  # numbers of layers: the last of each four
        small["fullatt_block_indexes"] = [n // 4 for n in small["fullatt_block_indexes"]]
    return small


def pieces_file() -> Path:
    """The tokenizer whose pieces the stand-in has."""
    from wheresight.pocket import model_folder

    return model_folder() / "tokenizer.json"
