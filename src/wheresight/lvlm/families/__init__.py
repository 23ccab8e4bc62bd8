"""The model families that can be wrapped: one adapter file each, found by `model_type`.

A family is listed only if the installed transformers has its class. Other packages add families
through the entry-point group `wheresight.families` (`model_type = "module:Adapter"`).
"""

from __future__ import annotations

import functools
import importlib
from importlib.metadata import entry_points
from typing import Any

from wheresight.errors import ModelError, unknown_name
from wheresight.lvlm.families.family import Family

GROUP = "wheresight.families"

_BUILT_IN = {
    "gemma3": "wheresight.lvlm.families.gemma3:Gemma3",
    "idefics3": "wheresight.lvlm.families.idefics3:Idefics3",
    "internvl": "wheresight.lvlm.families.internvl:InternVL",
    "llava": "wheresight.lvlm.families.llava:Llava",
    "llava_next": "wheresight.lvlm.families.llava_next:LlavaNext",
    "llava_onevision": "wheresight.lvlm.families.llava_onevision:LlavaOnevision",
    "paligemma": "wheresight.lvlm.families.paligemma:PaliGemma",
    "qwen2_5_vl": "wheresight.lvlm.families.qwen2_5_vl:Qwen2_5_VL",
    "qwen2_vl": "wheresight.lvlm.families.qwen2_vl:Qwen2VL",
    "qwen3_vl": "wheresight.lvlm.families.qwen3_vl:Qwen3VL",
    "smolvlm": "wheresight.lvlm.families.smolvlm:SmolVLM",
}


@functools.cache
def families() -> dict[str, Family]:
    """The families that can be used here, by `model_type`.

    Raises:
        ModelError: if two packages claim one family, or an adapter cannot be imported.
    """
    import transformers

    return {name: f for name, f in all_families().items() if hasattr(transformers, f.model_class)}


def all_families() -> dict[str, Family]:
    """Every family that has an adapter, whether or not the installed transformers has its class.

    Raises:
        ModelError: as `families`.
    """
    targets = dict(_BUILT_IN)
    for entry in entry_points(group=GROUP):
        if targets.setdefault(entry.name, entry.value) != entry.value:
            raise ModelError(
                f"Two adapters claim the model family {entry.name!r}: {targets[entry.name]} and "
                f"{entry.value}. Uninstall the package of one."
            )
    return {name: _adapter(name, target) for name, target in sorted(targets.items())}


def _adapter(name: str, target: str) -> Family:
    module, _, attribute = target.partition(":")
    try:
        adapter = getattr(importlib.import_module(module), attribute)()
    except (ImportError, AttributeError, TypeError) as error:
        raise ModelError(
            f"The adapter of the model family {name!r}, {target!r}, cannot be used ({error}). "
            "Reinstall or remove the package that registers it."
        ) from error
    if not isinstance(adapter, Family):
        raise ModelError(
            f"The adapter of the model family {name!r}, {target!r}, is not a subclass of "
            "wheresight.lvlm.families.family.Family."
        )
    return adapter


def family_for_config(config: Any) -> Family:
    """The adapter for a model's configuration.

    Raises:
        ModelError: unknown family, one without image tokens, or a variant that is not supported.
    """
    model_type = getattr(config, "model_type", None)
    known = families()
    if model_type not in known:
        raise ModelError(
            unknown_name("model family", str(model_type), known)
            + " Expected the configuration of a vision-language model of one of these."
        )
    family = known[model_type]
    reason = family.unsupported(config)
    if family.image_token(config) is None:
        reason = "Its configuration names no image placeholder token (image_token_id)."
    if reason:
        raise ModelError(f"This {model_type} model cannot be wrapped. {reason}")
    return family


def family_for_model(model: Any) -> Family:
    """The adapter for an unwrapped model.

    Raises:
        ModelError: as `family_for_config`; also for a part of a model, such as its base module.
    """
    config = getattr(model, "config", None)
    if config is None:
        raise ModelError(
            f"A {type(model).__name__} was given, which has no configuration; expected a "
            "transformers model. If it is wrapped (DistributedDataParallel), give the model inside."
        )
    family = family_for_config(config)
    classes = {c.__name__ for c in type(model).__mro__}
    if family.model_class not in classes:
        raise ModelError(
            f"A {type(model).__name__} was given; expected the whole model, "
            f"{family.model_class}. Load it with AutoModelForImageTextToText."
        )
    return family
