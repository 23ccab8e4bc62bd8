"""One forward call of a model under interventions."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from wheresight.errors import ModelError
from wheresight.lvlm.families.family import has_image_features
from wheresight.lvlm.history import History, history_of
from wheresight.lvlm.layout import Kind, Layout, layout_of
from wheresight.lvlm.spans import Spans, place_chunk, runs_of
from wheresight.lvlm.wrapper import LVLM

Stage = Literal["inside", "ends", "after"]


@dataclass(eq=False)
class Call:
    """What is known of a forward call while it runs.

    Attributes:
        batch, tokens: rows and columns of this call's own tokens.
        cache: the key-value cache that was given, or None.
        past: columns already in it.
        history: the record of the cache, None if it is empty or there is none.
        new_images: True if there are image tokens among this call's own.
        chunk: see `layout`; None if it has not been asked for yet.
        inputs: what the base module is called with, by name.
        relayout: changes a layout to what it is under the interventions.
        stage: `ends` if the last column of this call is the last of a prompt, `inside` if more of
            the prompt will follow, `after` in a decode step.
        decided: (B,), what an intervention that runs the last row twice has decided, or None.
        measuring: True if this call only measures attention, and changes nothing.
        numbers: how the caller numbers the rows of this call, or None.
        fired: the seams that have acted so far.
        made: what each seam keeps for the rest of the call, by its name.
    """

    batch: int
    tokens: int
    cache: Any
    past: int
    history: History | None
    new_images: bool
    chunk: Layout | None
    inputs: Mapping[str, Any]
    relayout: Callable[[Layout], Layout] | None = None
    stage: Stage = "ends"
    decided: torch.Tensor | None = None
    measuring: bool = False
    numbers: tuple[int, ...] | None = None
    fired: set[str] = field(default_factory=set)
    made: dict[str, Any] = field(default_factory=dict)

    def layout(self) -> Layout:
        """Of the history and this call's tokens: B rows, past + tokens columns."""
        if self.chunk is None:
            assert self.history is not None, "only a call over a cache is begun without a layout"
            self.chunk = self.history.full_layout().extended(self.tokens)
        return self.chunk

    @functools.cached_property
    def seen(self) -> Layout:
        """The same layout under the interventions: what they take away is HIDDEN."""
        layout = self.layout()
        return layout if self.relayout is None else self.relayout(layout)

    @functools.cached_property
    def kept(self) -> torch.Tensor | None:
        """(K,), the columns that are not hidden, in a call without a past; else None.

        None too where nothing is hidden, or rows differ in what is.
        """
        if self.past or self.relayout is None:
            return None
        hidden = self.seen.kind == Kind.HIDDEN
        if not bool(hidden.any()) or not bool((hidden == hidden[:1]).all()):
            return None
        return (~hidden[0]).nonzero().flatten()

    @property
    def cuts_an_image(self) -> bool:
        """True if an image begins or ends outside of this call, and its rest is in it."""
        return self.new_images and any(
            span.stop > self.past and (span.start < self.past or not span.complete)
            for spans in self.layout().images
            for span in spans
        )

    @functools.cached_property
    def real(self) -> torch.Tensor | None:
        """(B, past + tokens) bool: what is not padding, if a mask of that shape was given."""
        mask = self.inputs.get("attention_mask")
        total = self.past + self.tokens
        if isinstance(mask, torch.Tensor) and mask.shape == (self.batch, total):
            return mask != 0
        return None


def begin(lvlm: LVLM, inputs: Mapping[str, Any], spec: str, beginning: str) -> Call:
    """Look at a call before it runs: where its images are, and which cache it goes on.

    Args:
        lvlm: the model.
        inputs: what its base module is called with, by name.
        spec: canonical form of the interventions that are active.
        beginning: the same without those that change the last row of a prompt alone. What comes
            before that row may have been made under it.

    Raises:
        ModelError: a cache that was not built under `spec`, embeddings in place of ids, or inputs
            that stock transformers would silently get wrong.
    """
    ids = inputs.get("input_ids")
    cache = inputs.get("past_key_values")
    past = int(cache.get_seq_length()) if cache is not None else 0
    history = _checked(history_of(cache), past, spec, beginning) if past else None
    like = ids if ids is not None else inputs["inputs_embeds"][..., 0]
    batch, tokens = like.shape
    if history is not None and history.layout.batch != batch:
        if history.layout.batch != 1:
            raise ModelError(
                f"The key-value cache was built for {history.layout.batch} rows and is used for "
                f"{batch}. Repeat it with cache.batch_repeat_interleave, whose record follows."
            )
        history.take(torch.zeros(batch, dtype=torch.int64))
    features = has_image_features(inputs)
    if ids is None and (features or history is None):
        raise ModelError(
            f"The intervention {spec!r} needs input_ids: inputs_embeds alone do not tell which "
            "tokens are of an image. Pass input_ids with pixel_values or mm_encoder_outputs."
        )
    # A placeholder id that the model itself wrote, or that was guessed ahead of it, has no image.
    if history is not None and not features:
        return Call(batch, tokens, cache, past, history, False, None, inputs)
    layout = _look(lvlm, inputs, history, past)
    new_images = any(spans and spans[-1].stop > past for spans in layout.images)
    return Call(batch, tokens, cache, past, history, new_images, layout, inputs)


def check(lvlm: LVLM, inputs: Mapping[str, Any]) -> None:
    """Raise ModelError if stock transformers would silently go wrong on this call's images."""
    if inputs.get("input_ids") is not None and has_image_features(inputs):
        own = inputs["input_ids"] == lvlm.family.image_token(lvlm.core.config)
        lvlm.family.check(lvlm.core, inputs, runs_of(own))


def _look(lvlm: LVLM, inputs: Mapping[str, Any], history: History | None, past: int) -> Layout:
    """The layout of the history and of a call that may hold images."""
    own = inputs["input_ids"] == lvlm.family.image_token(lvlm.core.config)
    runs = runs_of(own)
    lvlm.family.check(lvlm.core, inputs, runs)
    before: Spans = ((),) * len(runs)
    whole = runs
    if history is not None:
        before = history.layout.images
        known = history.full_layout().image >= 0
        whole = runs_of(torch.cat([known, own.to(known.device)], 1))
    total = past + own.shape[1]
    images: Spans = before
    if any(runs):
        sizes = lvlm.family.image_sizes(lvlm.core, inputs, runs)
        images = place_chunk(whole, sizes, before, total)
    real = inputs.get("attention_mask")
    if not isinstance(real, torch.Tensor) or real.shape != (own.shape[0], total):
        real = None
    return layout_of(images, real, own.new_empty(own.shape[0], total))


def _checked(history: History | None, past: int, spec: str, beginning: str) -> History:
    if history is None and spec == "none":
        raise ModelError(
            f"A key-value cache of {past} tokens that was built outside of the reading was given, "
            "so what its tokens are is not known. Start from an empty cache inside the block."
        )
    if history is None:
        raise ModelError(
            f"A key-value cache of {past} tokens that was not built under {spec!r} was given. "
            "Start from an empty cache, or build the prefix inside the same intervention."
        )
    if history.spec not in (spec, beginning):
        raise ModelError(
            f"A key-value cache built under {history.spec!r} was given to a model under {spec!r}. "
            "Start from an empty cache, or enter the same intervention."
        )
    history.cut(past)
    if history.length != past:
        raise ModelError(
            f"The key-value cache holds {past} tokens, but only {history.length} of them were made "
            f"under {spec!r}: a call failed midway or ran outside. Start from a new cache."
        )
    return history


def commit(lvlm: LVLM, call: Call, spec: str, beginning: str) -> History:
    """Write down what the call has added to its cache, once it has run."""
    if call.stage == "inside":
        spec = beginning
    length = call.past + call.tokens
    history = call.history
    if history is None:
        history = History(spec, call.layout(), 0)
    elif call.chunk is not None:
        history.layout = call.chunk
    history.spec = spec
    history.length = length
    history.remembered = lvlm.family.remembered(lvlm.core, call.batch)
    history.open = False
    return history
