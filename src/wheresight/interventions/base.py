"""What every intervention is: a frozen dataclass with one pure function per seam it uses.

Legend: R rotary rows (1, or 3 under M-RoPE), B batch, T tokens of the whole history (columns),
Q query rows, S key columns, A heads, D width, V vocabulary.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, ClassVar

from wheresight.interventions.parameters import WithParameters
from wheresight.interventions.published import PublishedGrid

if TYPE_CHECKING:
    import torch

    from wheresight.interventions.by_confidence import ByConfidence
    from wheresight.interventions.host import Host
    from wheresight.interventions.inputs import AttentionRows, Embedder
    from wheresight.lvlm.layout import Layout

# The order in which seams act and in which a composition is written, with the methods of each.
SEAMS: dict[str, tuple[str, ...]] = {
    "vision": ("vision",),
    "features": ("features",),
    "positions": ("positions",),
    "mask": ("mask",),
    "attention": ("logits", "weights"),
}


@dataclasses.dataclass(frozen=True)
class Intervention(WithParameters):
    """A change to a model, as data. Subclasses override the method of each seam they act on.

    The fields of a subclass are its parameters (see WithParameters). A subclass checks their range
    in `__post_init__` and raises SpecError with one sentence.

    Attributes:
        paper: where it was published, empty for our own.
        text_moves_rigidly: True if all text after the last image is shifted by one constant per
            row. It lets a decode step add that constant instead of thinking of the whole prompt.
        assigns: True if its positions replace those they are given. Two such methods in one layer
            are refused; one that only rearranges ids acts after one that assigns them.
        whole_images: True if it needs all tokens of an image at once (for features, for ids that
            hang on later tokens, for a mask that shows later tokens), so that a prefill that cuts
            an image in two has to be refused. May hang on its parameters.
        moves_tokens: True if its features carry tokens to other places, so that what a family adds
            to image tokens in later layers (deepstack) has to be carried along.
        decoding: True if it changes attention in decode steps too, not in the prompt alone.
        twice: True if the last prompt row is run again once `decide` has seen its first logits.
        needs_blank: True if it is calibrated on a blank image first.
        neutral: values of numeric parameters at which it leaves the model as it is; the distance
            from them says how far a setting is from the model.
        published_grid: the settings that its authors searched.
    """

    paper: ClassVar[str] = ""
    text_moves_rigidly: ClassVar[bool] = True
    assigns: ClassVar[bool] = True
    whole_images: ClassVar[bool] = False
    moves_tokens: ClassVar[bool] = False
    decoding: ClassVar[bool] = False
    twice: ClassVar[bool] = False
    needs_blank: ClassVar[bool] = False
    neutral: ClassVar[Mapping[str, float]] = {}
    published_grid: ClassVar[PublishedGrid | None] = None

    # ---- what it is -------------------------------------------------------------------------

    def idle(self) -> bool:
        """True if these parameters leave every model as it is, bit for bit."""
        return False

    def refuses(self, host: Host) -> str | None:
        """One sentence on why a model cannot host it, or None. Asked before weights load."""
        return None

    def layer_key(self, layer: int) -> Hashable:
        """None if it does not act in this layer; layers of equal keys get equal ids and masks."""
        return True

    def acting(self) -> tuple[str, ...]:
        """The seams it acts on with these parameters; a field `mask_ = False` turns `mask` off."""
        return tuple(s for s in self.seams() if getattr(self, f"{s}_", True) is not False)

    def last_row_only(self) -> bool:
        """True if it changes nothing but the last row of a prompt."""
        rows = getattr(self, "rows", None)
        return self.acting() == ("attention",) and rows == "last" and not self.decoding

    def by_confidence(self) -> ByConfidence | None:
        """The two methods of which it is one, by how sure the model is; None if it is not so."""
        return None

    @classmethod
    def hides(cls) -> bool:
        """True if it may take image tokens away."""
        return cls.relayout is not Intervention.relayout

    @classmethod
    def has_frames(cls) -> bool:
        """True if image queries may see other ids than text queries."""
        return cls.image_positions is not Intervention.image_positions

    # ---- what has to be trained for it --------------------------------------------------------

    def vision_layers(self) -> tuple[int, ...] | None:
        """The hidden states of the vision tower that a model made for it takes; None: any."""
        return None

    def learned(self, width: int) -> dict[str, torch.Tensor]:
        """What is trained with the projector for it: values before training, by name.

        Empty if nothing is. A model that was trained without it has none of these, and cannot
        host it. One that has them gives them to `features` (see `Embedder.learned`).

        Args:
            width: D of the embeddings.
        """
        return {}

    # ---- what it does -----------------------------------------------------------------------

    def relayout(self, layout: Layout) -> Layout:
        """The layout as it is afterwards; tokens it takes away become Kind.HIDDEN.

        Hidden tokens keep their column and the number of their image, and no other token may
        attend to them. Images are complete if `whole_images`.
        """
        return layout

    def vision(
        self, states: tuple[torch.Tensor, ...], post_norm: torch.nn.Module
    ) -> tuple[torch.Tensor, ...]:
        """Return the hidden states of the vision tower, one (images, tokens, D) a block.

        Args:
            states: the embeddings, then the output of each block.
            post_norm: the tower's last norm.
        """
        return states

    def features(
        self, embeddings: torch.Tensor, layout: Layout, embedder: Embedder
    ) -> torch.Tensor:
        """Return the embeddings (B, T, D) that enter the language model.

        It must treat each image of each row alone, and leave other tokens as they are.

        Args:
            embeddings: (B, T, D) of this call's tokens, images already among them.
            layout: of the same B rows and T columns, before its own `relayout`.
            embedder: what text embeddings of this model look like.
        """
        return embeddings

    def positions(self, ids: torch.Tensor, layout: Layout, layer: int) -> torch.Tensor:
        """Return the rotary ids that tokens shall have, given those they would have had.

        It is called only when the layout holds an image, always with the whole history of a cache,
        and must treat each row of the batch alone.

        Args:
            ids: (R, B, T), as the model made them. Only differences count: a row may start at any
                id, and ids of padding mean nothing.
            layout: of the same B rows and T columns.
            layer: a layer in which it acts; all layers of its `layer_key` get the same ids.

        Returns:
            (R, B, T), integer or float; more rows than were given only if `axes` says what they
            are for.
        """
        return ids

    def axes(self, pairs: int) -> torch.Tensor | None:
        """Which row of its ids turns each of the rotary frequency pairs, (pairs,) int64.

        The first pair turns fastest. None leaves that to the model.
        """
        return None

    def image_positions(self, ids: torch.Tensor, layout: Layout, layer: int) -> torch.Tensor | None:
        """Like `positions`: the ids of all tokens as queries of image tokens see them.

        None if image and text queries see the same.
        """
        return None

    def mask(
        self, allowed: torch.Tensor, layout: Layout, ids: torch.Tensor, layer: int
    ) -> torch.Tensor:
        """Return which keys each query may attend to, given which it might.

        Args:
            allowed: (B, Q, T) bool; the queries are the last Q of the T columns.
            layout: of the B rows and T columns.
            ids: (R, B, T), the rotary ids of this layer.
            layer: as for `positions`.
        """
        return allowed

    def logits(self, logits: torch.Tensor, rows: AttentionRows) -> torch.Tensor:
        """Return the attention logits (B, A, Q, S) of chosen query rows, before mask and softmax.

        Args:
            logits: (B, A, Q, S) float32: q k / sqrt(d) after rotation, softcap included.
            rows: what these queries and keys are.
        """
        return logits

    def weights(self, weights: torch.Tensor, rows: AttentionRows) -> torch.Tensor:
        """Return the attention weights (B, A, Q, S) of chosen query rows, after the softmax."""
        return weights

    def decide(self, logits: torch.Tensor) -> torch.Tensor:
        """With `twice`: what the first logits (B, V) decide for each row, (B,), as `rows.decided`.

        The value 1 means that the row may stay as it is.
        """
        raise NotImplementedError

    # ---- how it is written ------------------------------------------------------------------

    @classmethod
    def seams(cls) -> tuple[str, ...]:
        """The seams it acts on, in order."""
        return tuple(
            seam
            for seam, methods in SEAMS.items()
            if any(getattr(cls, m) is not getattr(Intervention, m) for m in methods)
        )
