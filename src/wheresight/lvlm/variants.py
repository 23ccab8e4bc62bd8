"""One question about many variants of one picture: the same tokens, other pixels.

What all variants share is done once: the text is tokenized once, and the prompt's tokens before the
picture are prefilled once. Used by experiments that erase or exchange parts of a picture.

Legend: P variants, N image tokens, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image

from wheresight.lvlm.distributions import calibrate
from wheresight.lvlm.encoding import Encoded, Query
from wheresight.lvlm.history import branch
from wheresight.lvlm.preprocessing import Preprocessed

if TYPE_CHECKING:
    import torch

    from wheresight.lvlm.intervene import Active
    from wheresight.lvlm.scoring import Scorer


@dataclass(frozen=True)
class Read:
    """What the model made of some variants.

    Attributes:
        logits: (P, V), after the last token of the prompt.
        features: (P, N, D), the image tokens after the projector, as the vision tower made them.
    """

    logits: torch.Tensor
    features: torch.Tensor


def image_tokens(encoded: Encoded) -> list[torch.Tensor]:
    """The features of each picture after the projector, (N, D) each."""
    import torch

    found = encoded.features.pooler_output
    whole = found if isinstance(found, torch.Tensor) else torch.cat(list(found))
    return list(whole.reshape(-1, whole.shape[-1]).split(list(encoded.counts)))


class Variants:
    """Variants of one picture under one question, for one model.

    Use it inside of `intervene`, in inference mode.

    Args:
        scorer: its model, encoder and batch size.
        active: what `intervene` gave.
        picture: all variants have its size.
        question: asked of all.
    """

    def __init__(self, scorer: Scorer, active: Active, picture: Image.Image, question: str) -> None:
        self.scorer = scorer
        self.lvlm = scorer.lvlm
        self.active = active
        self.question = question
        (self.row,) = self.prepare([picture]).rows
        calibrate(scorer, active, [picture.size])
        self._prefix = self._prefilled()

    def prepare(self, pictures: Sequence[Image.Image]) -> Preprocessed:
        """What the processor makes of pictures and question."""
        return self.scorer.encoder.preprocess([Query(p, (self.question,)) for p in pictures])

    def read(self, batch: Preprocessed) -> Read:
        """Run variants, all in one batch.

        Args:
            batch: as `prepare` returns it.
        """
        import torch

        encoded = self.scorer.encoder.see(batch)
        inputs = self.scorer.encoder.inputs(encoded, encoded.rows)
        return Read(self._logits(inputs), torch.stack(image_tokens(encoded)))

    def batches(self, count: int) -> Iterator[slice]:
        """So many variants in slices that fit one batch."""
        for start in range(0, count, self.scorer.batch_size):
            yield slice(start, min(count, start + self.scorer.batch_size))

    def _prefilled(self) -> Any:
        """The cache of the prompt's tokens before the picture; None where none can be shared."""
        import torch

        # Under M-RoPE a model counts the ids of a picture from the whole prompt; under prefix
        # attention the keys of the beginning depend on what follows.
        family = self.lvlm.family
        start = self.row.ids.index(self.scorer.encoder.image_id)
        if start == 0 or family.rotary_rows > 1 or family.prefix_attention or self.row.types:
            return None
        ids = torch.tensor([self.row.ids[:start]], device=self.lvlm.device)
        with self.active.prompt("inside"):
            out = self.lvlm.model(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                position_ids=torch.arange(start, device=ids.device)[None],
                logits_to_keep=1,
                use_cache=True,
            )
        return out.past_key_values

    def _logits(self, inputs: dict[str, Any]) -> torch.Tensor:
        import torch

        rows, length = inputs["input_ids"].shape
        family, past = self.lvlm.family, 0
        if self._prefix is not None:
            past = int(self._prefix.get_seq_length())
            owners = torch.zeros(rows, dtype=torch.long, device=self.lvlm.device)
            inputs["past_key_values"] = branch(self._prefix, owners)
            inputs["input_ids"] = inputs["input_ids"][:, past:]
        if family.rotary_rows == 1 and not family.prefix_attention:
            ids = torch.arange(past, length, device=self.lvlm.device)
            inputs["position_ids"] = ids.expand(rows, -1)
        with self.active.prompt("ends"):
            out = self.lvlm.model(**inputs, logits_to_keep=1, use_cache=self._prefix is not None)
        logits: torch.Tensor = out.logits[:, -1]
        return logits
