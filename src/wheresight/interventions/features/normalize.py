"""Image tokens brought to the length of text embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from wheresight.errors import SpecError
from wheresight.interventions.base import Intervention
from wheresight.interventions.ranges import number_in

if TYPE_CHECKING:
    import torch

    from wheresight.interventions.inputs import Embedder
    from wheresight.lvlm.layout import Layout

MODES = ("paper", "text_mean", "global", "trained")
EPSILON, LONGEST, MEAN = 1e-6, 1.22, 0.83


@dataclass(frozen=True)
class Normalize(Intervention):
    """Image tokens x become x f^strength: their directions stay, their lengths change.

    "Beyond Semantics", arXiv 2503.17349, +Normalize: x / sqrt(mean(x^2) + 1e-6), cut to a length
    of 1.22, times 0.83. At the width of any real model the cut always acts, so the method is a
    constant length of 0.83 * 1.22 = 1.0126, whatever it was. It is published as a part of the
    projector that is trained with it, and there each channel has a gain g, 1 before training:
    g x / sqrt(mean(x^2) + 1e-6), then cut and scaled. That is the mode `trained`, for models that
    `wheresight train` made under it. The others need no training: put into a model that was
    trained without, they are a probe of what norms do (dose and response), not the published
    method.

    All tokens of an image are changed but newline tokens, which no projector makes. What a family
    adds to image tokens in later layers stays.

    Parameters:
        mode: `paper`, as above; `text_mean`, f = t / |x| with t the mean length of the model's
            text embeddings; `global`, f = t / mean |x| over the image, which keeps the lengths of
            its tokens relative to each other; `trained`, as published, with the gain that the
            model's projector was trained with.
        strength: from 0 to 1; 0 changes nothing. `trained` has none but 1.

    Raises:
        SpecError: an unknown mode, or a strength out of range.
    """

    name: ClassVar[str] = "normalize"
    paper: ClassVar[str] = "Beyond Semantics 2025, arXiv 2503.17349"

    mode: str = "paper"
    strength: float = 1.0

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise SpecError(
                f"The parameter mode of 'normalize' cannot be {self.mode!r}: expected "
                f"{', '.join(MODES[:-1])} or {MODES[-1]}."
            )
        number_in(self.name, "strength", self.strength, 0, 1)
        if self.mode == "trained" and self.strength != 1:
            raise SpecError(
                f"The parameter strength of 'normalize' cannot be {self.strength} in the mode "
                "trained: the model was trained under all of it. Leave strength out."
            )
        # A mean over an image needs all of it; a token's own length does not.
        object.__setattr__(self, "whole_images", self.mode == "global")

    def idle(self) -> bool:
        """True at strength 0."""
        return self.strength == 0

    def learned(self, width: int) -> dict[str, torch.Tensor]:
        """In the mode `trained` the gain of each channel, (D,), 1 before training."""
        import torch

        return {"gain": torch.ones(width)} if self.mode == "trained" else {}

    def features(
        self, embeddings: torch.Tensor, layout: Layout, embedder: Embedder
    ) -> torch.Tensor:
        """Return the embeddings (B, T, D), image tokens rescaled; lengths are float32."""
        from wheresight.lvlm.layout import Kind

        if self.idle():
            return embeddings
        tokens = layout.of(Kind.PATCH, Kind.THUMBNAIL, Kind.LOOSE)[..., None]
        wide = embeddings.float()
        if self.mode == "trained":
            new = _gained(wide, embedder.learned(self.name)["gain"])
            return new.to(embeddings.dtype).where(tokens, embeddings)
        length = wide.norm(dim=-1, keepdim=True)
        if self.mode == "paper":
            rms = (wide.square().mean(-1, keepdim=True) + EPSILON).sqrt()
            cut = LONGEST / (length / rms).clamp_min(LONGEST)
            factor = MEAN * cut / rms
        else:
            if self.mode == "global":
                length = _means(length, tokens, layout)
            # A token of zeros stays one whatever the factor; it must only be finite.
            factor = embedder.mean_norm / length.where(length > 0, 1)
        return (wide * factor**self.strength).to(embeddings.dtype).where(tokens, embeddings)


def _gained(wide: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
    """The published form: (B, T, D) normed, each channel times its gain (D,), cut and scaled."""
    new = wide * (wide.square().mean(-1, keepdim=True) + EPSILON).rsqrt() * gain.float()
    return new * (MEAN * LONGEST / new.norm(dim=-1, keepdim=True).clamp_min(LONGEST))


def _means(length: torch.Tensor, tokens: torch.Tensor, layout: Layout) -> torch.Tensor:
    """The mean length (B, T, 1) over the tokens of each image, at all its columns."""
    from wheresight.interventions.features.images import images_of

    means = length.clone()
    for _, span, rows in images_of(layout):
        here = slice(span.start, span.stop)
        chosen = tokens[rows, here]
        count = chosen.sum(1, keepdim=True).clamp_min(1)
        mean = (length[rows, here] * chosen).sum(1, keepdim=True) / count
        means[rows, here] = mean.expand(-1, span.stop - span.start, -1)
    return means
