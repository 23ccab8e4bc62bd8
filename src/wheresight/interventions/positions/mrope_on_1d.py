"""M-RoPE's rows and columns for models that have one rotary id a token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from wheresight.errors import SpecError
from wheresight.interventions.host import Host
from wheresight.interventions.layers import Layered

if TYPE_CHECKING:
    import torch

    from wheresight.lvlm.layout import Layout

SPLITS = ("interleaved", "halves")


@dataclass(frozen=True)
class MRoPEOn1D(Layered):
    """An image token at row r and column c gets (i + r, i + c); text goes on at i + max(H, W).

    The positions of M-RoPE (Wang et al. 2024, arXiv 2409.12191) without its row of time, which is
    the same for all tokens of an image. The two ids turn the rotary pairs as in axial 2-D RoPE for
    vision transformers (EVA-02, arXiv 2303.11331; RoPE-ViT, Heo et al. 2024, arXiv 2403.13298).
    Text has both ids equal, so text on text is exactly as the model was trained.

    A thumbnail and the main grid follow each other, each with its own rows and columns; a newline
    has the ids of the last token of its row.

    Parameters:
        split: which id turns which pair. `interleaved`: rows and columns in turn, rows first, so
            that both have all frequencies; `halves`: rows the first half of the pairs, which turns
            fastest, and columns the second, as published for axial RoPE. There each half has a
            full set of frequencies; a language model has one set for all its pairs, so with
            `halves` columns have the low frequencies only.
    """

    name: ClassVar[str] = "mrope_on_1d"
    paper: ClassVar[str] = "Wang et al. 2024, arXiv 2409.12191; Heo et al. 2024, arXiv 2403.13298"

    split: str = "interleaved"

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise SpecError(
                f"The parameter split of 'mrope_on_1d' cannot be {self.split!r}: expected "
                f"{' or '.join(SPLITS)}."
            )

    def refuses(self, host: Host) -> str | None:
        """It asks for one rotary id a token."""
        if host.rotary_rows != 1:
            return (
                "mrope_on_1d brings M-RoPE to models with one rotary id a token, but this family "
                "has M-RoPE already."
            )
        return super().refuses(host)

    def positions(self, ids: torch.Tensor, layout: Layout, layer: int) -> torch.Tensor:
        """Return ids (2, B, T), rows and columns, of ids (1, B, T).

        Raises:
            ModelError: if the grid of an image is not known.
        """
        import torch

        from wheresight.interventions.geometry import arrange, blocks_of

        blocks = blocks_of(layout)
        offset = torch.stack([blocks.row, blocks.column])
        takes = blocks.per_block(torch.maximum(blocks.height, blocks.width))
        return arrange(ids, blocks.owner, blocks.most, offset, takes)

    def axes(self, pairs: int) -> torch.Tensor:
        """Which of the two rows turns each pair, (pairs,) int64."""
        import torch

        pair = torch.arange(pairs)
        return pair % 2 if self.split == "interleaved" else pair * 2 // max(pairs, 1)
