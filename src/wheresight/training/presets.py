"""The hyperparameters that BaPA's authors trained with, as data (arXiv 2509.21984, appendix C).

What their tables leave open (schedule, warm-up) is what their released configurations say; where
these contradict a table, the preset has the table's number and its note the other.
"""

from __future__ import annotations

from dataclasses import dataclass

from wheresight.errors import RunError, unknown_name


@dataclass(frozen=True)
class LoraPreset:
    """One row of Table 4.

    Attributes:
        rank, alpha: of LoRA; the update is scaled by alpha / rank.
        batch: conversations in one optimizer step, over all devices.
        learning_rate: its peak.
        epochs: passes over the data.
        note: what to know of the row.
    """

    rank: int
    alpha: float
    batch: int
    learning_rate: float
    epochs: float
    note: str = ""


@dataclass(frozen=True)
class StagePreset:
    """One row of Table 5: training a LLaVA-1.5 from its language model and its vision tower.

    Attributes:
        batch: conversations in one optimizer step, over all devices.
        learning_rate: its peak.
        epochs: passes over the data.
        max_length: tokens of the longest row.
        weight_decay: of AdamW.
        warmup: share of the steps in which the rate rises.
    """

    batch: int
    learning_rate: float
    epochs: float
    max_length: int
    weight_decay: float
    warmup: float


WARMUP = 0.1  # of all steps; then a cosine down to 0. The same in all released configurations.
SAMPLES = 10_000  # conversations drawn from LLaVA-1.5's instruction-tuning data

_TWICE_THE_BATCH = (
    "The released configuration gives 2 rows x 8 accumulated x the number of GPUs, 64 on the four "
    "of the paper, where the table has 32."
)
LORA = {
    "gemma3": LoraPreset(8, 16, 32, 1e-4, 2, _TWICE_THE_BATCH),
    "llava-1.6": LoraPreset(
        8, 16, 32, 1e-4, 1, _TWICE_THE_BATCH + " It trains for 2 epochs, the table says 1."
    ),
    "qwen2.5-vl": LoraPreset(8, 16, 32, 1e-4, 1),
    "llava-1.5": LoraPreset(128, 256, 128, 2e-4, 1),
}
# What most rows of Table 4 have.
DEFAULT = LoraPreset(8, 16, 32, 1e-4, 1)

_STAGE_WARMUP = 0.03  # not in the table; from the scripts that LLaVA-1.5 was trained with
STAGES = {
    "stage1": StagePreset(256, 1e-3, 1, 2048, 0.0, _STAGE_WARMUP),  # the table's pre-training
    "stage2": StagePreset(128, 2e-5, 1, 2048, 0.0, _STAGE_WARMUP),  # its instruction tuning
}


def lora_preset(name: str | None) -> LoraPreset:
    """A row of Table 4 by the name that the paper gives the model, or what most rows have.

    Raises:
        RunError: unknown name; the nearest are suggested.
    """
    if name is None:
        return DEFAULT
    if name not in LORA:
        raise RunError(unknown_name("preset", name, LORA))
    return LORA[name]
