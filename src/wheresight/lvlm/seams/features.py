"""The seam of image features: the embeddings on their way into the language model.

Behind the projector and the scatter of image features among text embeddings, so that one way
serves all families, in forward calls and in `generate`.

Legend: B batch, T tokens of this call, D width, N image tokens of the batch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch

from wheresight.errors import ModelError
from wheresight.interventions.base import Intervention
from wheresight.lvlm.layout import Layout
from wheresight.lvlm.learned import learned_by
from wheresight.lvlm.seams.seam import Handle, Seam
from wheresight.lvlm.wrapper import LVLM

_CHUNK = 8192  # embeddings looked at together


class TextEmbeddings:
    """What text embeddings of a model look like as they enter its layers, and what was trained."""

    def __init__(self, lvlm: LVLM) -> None:
        self._lvlm, self._model = lvlm, lvlm.core

    def learned(self, method: str) -> Mapping[str, torch.Tensor]:
        """What was trained with the projector for the method of this name, by name."""
        return learned_by(self._lvlm)[method]

    @functools.cached_property
    def mean_norm(self) -> float:
        """Mean L2 norm over the vocabulary.

        Through the embedding module: some families scale what the table holds, and under offload
        the table is elsewhere.
        """
        module = self._model.get_input_embeddings()
        ids = torch.arange(module.num_embeddings, device=self._model.device)
        with torch.no_grad():
            norms = [module(part).float().norm(dim=-1) for part in ids.split(_CHUNK)]
        return float(torch.cat(norms).mean())


class FeatureSeam(Seam):
    """Rewrites the embeddings that the language model is given."""

    name: ClassVar[str] = "features"

    def attach(self) -> list[Handle]:
        """Hook the language model."""
        self.embedder = TextEmbeddings(self.lvlm)
        module = self.lvlm.family.language_model(self.lvlm.core)
        return [module.register_forward_pre_hook(self._before_layers, with_kwargs=True)]

    def _before_layers(
        self, module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        call = self.current()
        if self.copied or call is None:
            return None
        call.fired.add(self.name)
        if not call.new_images:
            return None
        embeddings = kwargs.get("inputs_embeds")
        if embeddings is None:
            raise ModelError(
                "The language model was given no inputs_embeds by name, so image features cannot "
                "be reached."
            )
        layout = call.layout().from_column(call.past).to(embeddings.device)
        new: dict[str, Any] = {"inputs_embeds": self._rewritten(embeddings, layout)}
        deepstack = self.lvlm.family.deepstack
        if deepstack and kwargs.get(deepstack) is not None:
            new[deepstack] = self._carried(kwargs[deepstack], layout)
        return args, {**kwargs, **new}

    def _rewritten(
        self, embeddings: torch.Tensor, layout: Layout, moving_only: bool = False
    ) -> torch.Tensor:
        for intervention in self.interventions:
            if not moving_only or intervention.moves_tokens:
                embeddings = intervention.features(embeddings, layout, self.embedder)
            layout = intervention.relayout(layout)
        return embeddings

    def _carried(self, stack: Any, layout: Layout) -> list[torch.Tensor]:
        """What later layers add to image tokens, (N, D) each, moved as the tokens were."""
        image = layout.image >= 0
        carried = []
        for added in stack:
            placed = added.new_zeros(*image.shape, added.shape[-1])
            placed[image] = added
            carried.append(self._rewritten(placed, layout, moving_only=True)[image])
        return carried


def relayout_of(interventions: Sequence[Intervention]) -> Callable[[Layout], Layout] | None:
    """One function that changes a layout as all of these do, or None if none does."""
    changing = [i for i in interventions if i.hides()]
    if not changing:
        return None

    def relayout(layout: Layout) -> Layout:
        for intervention in changing:
            layout = intervention.relayout(layout)
        return layout

    return relayout
