"""Which weights a LoRA adapter changes, and which interventions a model can be trained under."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING, Any

from wheresight.errors import ModelError, SpecError, unknown_name
from wheresight.interventions.spec import canonical, parse

if TYPE_CHECKING:
    from wheresight.lvlm.wrapper import LVLM

TARGETS = ("language_model", "projector")


def refuse_untrainable(spec: str) -> None:
    """Raise SpecError for an intervention that training would see otherwise than use.

    A method on attention changes the rows at the end of a prompt, or those it has seen a blank
    image for. In training the prompt and its answer are one call, so it would change other rows
    than it does when the model answers.
    """
    for part in parse(spec):
        if "attention" in part.acting():
            raise SpecError(
                f"A model cannot be trained under {canonical(spec)!r}: {part.name!r} changes "
                "attention at the end of a prompt, and in training prompt and answer are one text. "
                "Train under its other parts, and add it when the model is used."
            )


def targets(given: str) -> tuple[str, ...]:
    """Read `language_model`, or `language_model+projector`.

    Raises:
        ModelError: another name.
    """
    found = tuple(name.strip() for name in given.split("+"))
    for name in found:
        if name not in TARGETS:
            raise ModelError(unknown_name("part to adapt", name, TARGETS))
    return tuple(name for name in TARGETS if name in found)


def linear_modules(lvlm: LVLM, parts: tuple[str, ...]) -> list[str]:
    """The names, in the model, of all linear layers of some of its parts.

    Raises:
        ModelError: a part that has none.
    """
    from torch import nn

    core, family = lvlm.core, lvlm.family
    places = {id(module): name for name, module in core.named_modules()}
    found = []
    for part in parts:
        module = family.language_model(core) if part == TARGETS[0] else family.projector(core)
        names = [
            f"{places[id(module)]}.{name}"
            for name, layer in (module.named_modules() if module is not None else ())
            if isinstance(layer, nn.Linear)
        ]
        if not names:
            raise ModelError(
                f"The {part} of {lvlm.name!r} has no linear layer that could be adapted. Adapt "
                f"{TARGETS[0]} alone."
            )
        found += names
    return found


def pattern(names: list[str]) -> str:
    """A regular expression for a list of modules, layers' numbers left open."""
    shapes = sorted({re.sub(r"\.\d+(?=\.)", ".<n>", name) for name in names})
    return "|".join(re.escape(shape).replace("<n>", r"\d+") for shape in shapes)


def add_lora(lvlm: LVLM, parts: tuple[str, ...], rank: int, alpha: float, dropout: float) -> Any:
    """Put untrained LoRA layers into some parts of a model; nothing else can then be trained.

    Args:
        lvlm: the model; it is changed.
        parts: see `targets`. The output layer and the embeddings are never adapted.
        rank, alpha, dropout: of LoRA (Hu et al., arXiv 2106.09685).

    Returns:
        The PEFT model.

    Raises:
        ModelError: a part without linear layers.
    """
    import peft
    from torch import nn

    names = linear_modules(lvlm, parts)
    expression = pattern(names)
    matched = {
        name
        for name, module in lvlm.core.named_modules()
        if isinstance(module, nn.Linear) and re.fullmatch(expression, name)
    }
    assert matched == set(names), matched ^ set(names)
    config = peft.LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]
        lora_dropout=dropout,
        target_modules=expression,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of transformers, meant for peft
        return peft.get_peft_model(lvlm.core, config)
