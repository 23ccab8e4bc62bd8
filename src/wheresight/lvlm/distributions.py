"""Next-token distributions of questions under any intervention, whole rows at a time.

`Scorer` reads one number of each answer and shares all it can; where the whole distribution is
wanted (the probability of any word, a divergence), this is the way.

Legend: B rows (one per picture and question), V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from PIL import Image

from wheresight.interventions.spec import canonical, parse
from wheresight.lvlm.encoding import Encoded
from wheresight.lvlm.intervene import Active, intervene
from wheresight.lvlm.prompt_running import ASKED_OF_BLANK, on_vision

if TYPE_CHECKING:
    import torch

    from wheresight.lvlm.scoring import Scorer


def calibrate(scorer: Scorer, active: Active, sizes: Sequence[tuple[int, int]]) -> None:
    """Show the model a blank picture of each size, if an active method is calibrated on one."""
    if not any(i.needs_blank and not i.idle() for i in active.interventions):
        return
    for size in dict.fromkeys(sizes):
        blank = scorer.encoder.blank(Image.new("RGB", size), ASKED_OF_BLANK)
        active.calibrate(**scorer.encoder.inputs(blank, blank.rows))


class Distributions:
    """Logits after the last prompt token, for questions that were encoded once.

    Use it in inference mode.

    Args:
        scorer: its model and encoder.
        encoded: pictures and questions, made without an intervention, pixels kept.
    """

    def __init__(self, scorer: Scorer, encoded: Encoded) -> None:
        self.scorer = scorer
        self._seen: dict[str, Encoded] = {"none": encoded}
        self.rows = encoded.rows
        self.sizes = encoded.sizes

    def batches(self) -> Iterator[list[int]]:
        """Row numbers in batches, rows of like length together.

        They depend on the rows alone, so a repeated run repeats its rounding too.
        """
        order = sorted(range(len(self.rows)), key=lambda n: (len(self.rows[n].ids), n))
        size = self.scorer.batch_size
        for start in range(0, len(order), size):
            yield order[start : start + size]

    def logits(self, numbers: Sequence[int], spec: Any) -> torch.Tensor:
        """Run some rows under an intervention.

        Args:
            numbers: of rows, B of them.
            spec: any spec.

        Returns:
            (B, V), of the model's type.

        Raises:
            ModelError: if the model does not do what the intervention asks.
        """
        lvlm = self.scorer.lvlm
        encoded = self._encoded(spec)
        with intervene(lvlm, spec) as active:
            calibrate(self.scorer, active, self.sizes)
            inputs = self.scorer.encoder.inputs(encoded, [self.rows[n] for n in numbers])
            if lvlm.family.rotary_rows == 1 and not lvlm.family.prefix_attention:
                # As generate counts them, so that padding on the left changes nothing.
                inputs["position_ids"] = (inputs["attention_mask"].cumsum(-1) - 1).clamp_min(0)
            with active.prompt("ends"):
                out = lvlm.model(**inputs, logits_to_keep=1, use_cache=False)
        logits: torch.Tensor = out.logits[:, -1]
        return logits

    def _encoded(self, spec: Any) -> Encoded:
        """With features of their own for methods that change the vision tower."""
        parts = on_vision(parse(spec))
        name = canonical(parts)
        if name not in self._seen:
            with intervene(self.scorer.lvlm, parts):
                self._seen[name] = self.scorer.encoder.again(self._seen["none"])
        return self._seen[name]
