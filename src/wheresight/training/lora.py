"""Train a LoRA adapter under an intervention.

OUT/adapter_config.json, adapter_model.safetensors    a plain PEFT folder
OUT/intervention.json    what it was trained under (`wheresight.load(base, adapter=OUT)` reads it)
and what every training writes (see `running`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wheresight.runs.progress import Progress, Silent
from wheresight.training.plan import Plan, Way, plan
from wheresight.training.presets import lora_preset
from wheresight.training.record import Adapted, Training
from wheresight.training.request import LoraOptimisation, LoraRequest, settle
from wheresight.training.running import Job, Outcome, run

if TYPE_CHECKING:
    from wheresight.lvlm.wrapper import LVLM

LoraOutcome = Outcome[Training]


def train_lora(
    request: LoraRequest,
    *,
    command: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> LoraOutcome:
    """Train an adapter under an intervention, or go on with it, and save both in one folder.

    Raises:
        WheresightError: what was given, what was expected, what to do; checkpoints are kept.
    """
    told = progress or Silent()
    return run(_Lora(request), request, lambda: plan_lora(request, told), command, told)


def plan_lora(request: LoraRequest, progress: Progress) -> Plan:
    """Read the data, find the model, check everything, and choose the rows.

    Raises:
        WheresightError: what was given, what was expected, what to do.
    """
    from wheresight.lvlm.loading import look_up

    numbers = settle(request)
    note = lora_preset(request.preset).note
    if note:
        progress.say(f"Preset {request.preset}: {note}")
    way = Way(
        find=lambda: look_up(request.model, trust_remote_code=request.trust_remote_code),
        name=request.model,
        longest=request.max_length,
    )
    return plan(request, numbers, way, progress)


class _Lora(Job[Training]):
    record = Training

    def __init__(self, request: LoraRequest) -> None:
        self.request = request

    def load_in(self, planned: Plan) -> str:
        return planned.request.dtype

    def prepare(self, lvlm: LVLM, planned: Plan) -> LVLM:
        from wheresight.lvlm.wrapper import wrap
        from wheresight.training.adapted import add_lora

        numbers = planned.optimisation
        assert isinstance(numbers, LoraOptimisation)
        adapted = wrap(
            add_lora(lvlm, numbers.target, numbers.rank, numbers.alpha, numbers.dropout),
            lvlm.processor,
        )
        adapted.name, adapted.revision = lvlm.name, lvlm.revision
        return adapted

    def write(self, lvlm: LVLM, planned: Plan, made: Path) -> dict[str, Any]:
        from wheresight.lvlm.adapters import save_adapter

        save_adapter(lvlm, made, planned.spec)
        weights = (made / "adapter_model.safetensors").read_bytes()
        trained = [p.numel() for p in lvlm.model.parameters() if p.requires_grad]
        return {
            "preset": self.request.preset,
            "preset_note": lora_preset(self.request.preset).note,
            "adapter": Adapted(
                parameters=sum(trained),
                of=sum(p.numel() for p in lvlm.model.parameters()) - sum(trained),
                modules=str(lvlm.model.peft_config["default"].target_modules),
                sha256=hashlib.sha256(weights).hexdigest(),
            ),
        }
