"""Know, while `generate` runs, which forward call holds the prompt.

A method that acts on the last row of the prompt must act in that one call. From within a forward
call a prompt and a step without a cache look alike, so the model's `generate` is watched.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

from wheresight.errors import ModelError

if TYPE_CHECKING:
    from wheresight.lvlm.tracker import Tracker


class WatchedGenerate:
    """The model's `generate`, watched until `remove`."""

    def __init__(self, tracker: Tracker) -> None:
        self.core = tracker.lvlm.core
        # A bound method: a copy of the model is given one that is bound to the copy.
        self.core.generate = types.MethodType(_generate, self.core)

    def remove(self) -> None:
        """Give the model its own `generate` back."""
        self.core.__dict__.pop("generate", None)


def _generate(core: Any, *args: Any, **kwargs: Any) -> Any:
    from wheresight.lvlm.tracker import TRACKERS

    stock = type(core).generate
    tracker = TRACKERS.get(id(core))
    if tracker is None:  # a copy of the model
        return stock(core, *args, **kwargs)
    ids = args[0] if args else kwargs.get("inputs")
    inputs = kwargs if ids is None else {**kwargs, "input_ids": ids}
    # Within generate, images are turned into features before the first forward call.
    tracker.measure_blank(inputs)
    if not tracker.prompt_only:
        return stock(core, *args, **kwargs)
    _refuse(core, kwargs, tracker)
    prompt = _PromptThenSteps(tracker)
    handle = tracker.base.register_forward_hook(prompt)
    with tracker.at("ends"):
        try:
            return stock(core, *args, **kwargs)
        finally:
            handle.remove()


class _PromptThenSteps:
    """After the first call of a generation, all others are steps."""

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker

    def __call__(self, module: Any, args: Any, out: Any) -> None:
        if not self.tracker.measuring:
            self.tracker.stage = "after"


def _refuse(core: Any, kwargs: dict[str, Any], tracker: Tracker) -> None:
    """Raise ModelError for ways of generating in which no call ends with the prompt's last row."""
    config = kwargs.get("generation_config") or core.generation_config

    def setting(name: str) -> Any:
        return kwargs.get(name, getattr(config, name, None))

    under = f"Under {tracker.spec!r}" if tracker.acts_on_prompt else "While it is read,"
    if setting("use_cache") is False and tracker.acts_on_prompt:
        raise ModelError(
            f"{under} generate needs its cache: without one every step runs the whole "
            "prompt again, and its last row is not that of the prompt. Leave out use_cache=False."
        )
    for name in ("assistant_model", "prompt_lookup_num_tokens", "prefill_chunk_size"):
        if setting(name) is not None:
            raise ModelError(
                f"{under} generate cannot be used with {name}: the last row of the prompt "
                f"would not be the last row of a call. Leave {name} out."
            )
