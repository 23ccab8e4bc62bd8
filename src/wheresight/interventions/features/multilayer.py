"""Outputs of several vision blocks, each through the tower's last norm."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from wheresight.errors import ModelError, SpecError
from wheresight.interventions.base import Intervention
from wheresight.interventions.host import Host

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class VisionBlocks:
    """Blocks of a vision tower in the order in which they are joined: 0 is the embeddings, 1 the
    output of the first block.

    >>> str(VisionBlocks.parse("12/16/20/24"))
    '12/16/20/24'
    """

    numbers: tuple[int, ...]

    @classmethod
    def parse(cls, given: Any) -> VisionBlocks:
        """different whole numbers from 0, joined by `/`, such as 12/16/20/24"""
        if isinstance(given, VisionBlocks):
            return given
        pieces = given if isinstance(given, list | tuple) else str(given).split("/")
        numbers = tuple(int(str(piece).strip()) for piece in pieces)
        if not numbers or min(numbers) < 0 or len(set(numbers)) < len(numbers):
            raise ValueError(given)
        return cls(numbers)

    def __str__(self) -> str:
        return "/".join(str(number) for number in self.numbers)


@dataclass(frozen=True)
class Multilayer(Intervention):
    """The vision blocks that the model takes its features from go through the tower's last norm.

    "Beyond Semantics", arXiv 2503.17349, +Multilayer: outputs of blocks 12, 16, 20 and 24, each
    through the last norm, class token dropped, concatenated on channels. Dropping and
    concatenating is what the model does itself with the layers that its configuration names; here
    those layers are normed. So it is for a model that is trained for several layers: its projector
    is wider, and the norm is not something that other models expect.

    Parameters:
        layers: the blocks, as the configuration counts them: 0 is the embeddings, 1 the output of
            the first block. They must be those that the configuration names.

    Raises:
        SpecError: layers are not different whole numbers from 0.
    """

    name: ClassVar[str] = "multilayer"
    example: ClassVar[str] = "layers=12/16/20/24"
    paper: ClassVar[str] = "Beyond Semantics 2025, arXiv 2503.17349"

    layers: VisionBlocks = field(metadata={"read": VisionBlocks.parse})

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "layers", VisionBlocks.parse(self.layers))
        except ValueError:
            raise SpecError(
                f"The parameter layers of 'multilayer' cannot be {self.layers!r}: expected "
                f"{VisionBlocks.parse.__doc__}."
            ) from None

    @property
    def blocks(self) -> tuple[int, ...]:
        """The numbers of the blocks, which the configuration of the model must name too."""
        return self.layers.numbers

    def vision_layers(self) -> tuple[int, ...]:
        """Its blocks: a model made for it joins them, and its projector is as much wider."""
        return self.blocks

    def refuses(self, host: Host) -> str | None:
        """Refuse models whose tower does not give its states, or that are made for others."""
        if not host.vision_states:
            return (
                "It needs the hidden states of the vision tower, and those of this family cannot "
                "be reached."
            )
        if host.vision_layers is not None and host.vision_layers != self.blocks:
            return (
                f"It names the vision blocks {self.layers}, but this model takes its features from "
                f"{'/'.join(str(n) for n in host.vision_layers)}. A model has to be trained for "
                "its blocks: name those that it takes."
            )
        return super().refuses(host)

    def vision(
        self, states: tuple[torch.Tensor, ...], post_norm: torch.nn.Module
    ) -> tuple[torch.Tensor, ...]:
        """Return the states, those of the chosen blocks through the last norm.

        Raises:
            ModelError: the tower has fewer blocks.
        """
        beyond = [number for number in self.blocks if number >= len(states)]
        if beyond:
            raise ModelError(
                f"'multilayer' names vision block {beyond[0]}, but the tower has states 0 to "
                f"{len(states) - 1}. Name blocks that it has."
            )
        chosen = set(self.blocks)
        return tuple(post_norm(s) if n in chosen else s for n, s in enumerate(states))
