"""Train a LLaVA in its two stages under an intervention: the projector, then the language model.

OUT/config.json, model*.safetensors, processor and tokenizer    a plain model's folder
OUT/intervention.json    what it was trained under (`wheresight.load(OUT)` reads it)
OUT/intervention.safetensors    what the intervention has trained in the projector, if anything
and what every training writes (see `running`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wheresight.errors import ModelError
from wheresight.interventions.spec import canonical, parse
from wheresight.runs.progress import Progress, Silent
from wheresight.training.plan import Plan, Way, plan
from wheresight.training.record import StageTraining, TrainedParts
from wheresight.training.running import Job, Outcome, run
from wheresight.training.stage_request import PARTS, Stage, StageRequest, settle_stage

if TYPE_CHECKING:
    import torch

    from wheresight.lvlm.loading import ModelCard
    from wheresight.lvlm.wrapper import LVLM

StageOutcome = Outcome[StageTraining]
_LEARNED = "intervention"  # what a method has trained in the projector, as the record calls it


def train_stage(
    request: StageRequest,
    *,
    command: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> StageOutcome:
    """Train one stage under an intervention, or go on with it, and save the whole model.

    Raises:
        WheresightError: what was given, what was expected, what to do; checkpoints are kept.
    """
    told = progress or Silent()
    return run(_Stage(request.stage), request, lambda: plan_stage(request, told), command, told)


def plan_stage(request: StageRequest, progress: Progress) -> Plan:
    """Read the data, find the model or its parts, check everything, and choose the rows.

    Raises:
        WheresightError: what was given, what was expected, what to do.
    """
    numbers, longest = settle_stage(request)
    way = Way(
        find=lambda: _find(request),
        name=request.model or f"{request.vision} + {request.language}",
        longest=longest,
        plain=numbers.prompt == "plain",
        need_pictures="language_model" not in numbers.trained,
        makes=True,
    )
    return plan(request, numbers, way, progress)


def _find(request: StageRequest) -> ModelCard:
    from wheresight.lvlm.loading import look_up
    from wheresight.training.composed import compose, read_template

    if request.model is not None:
        return look_up(request.model, trust_remote_code=request.trust_remote_code)
    assert request.vision is not None and request.language is not None
    spec = request.intervention or "none"
    wanted = {layers for part in parse(spec) if (layers := part.vision_layers()) is not None}
    if wanted and request.vision_layer is not None:
        raise ModelError(
            f"--vision-layer was given as {request.vision_layer}, and {canonical(spec)!r} says "
            "itself which states of the tower it takes. Leave --vision-layer out."
        )
    return compose(
        request.vision,
        request.language,
        layers=wanted.pop() if wanted else request.vision_layer,
        seed=request.seed,
        chat_template=read_template(request.chat_template),
        trust_remote_code=request.trust_remote_code,
        allow_pickle=request.allow_pickle,
    )


def trained_weights(lvlm: LVLM, stage: Stage) -> dict[str, list[torch.Tensor]]:
    """The weights that a stage trains, by part of the model; each is in one part alone.

    The language model is all of it: embeddings, layers, norms and output layer. What a method has
    trained in the projector is apart.

    Raises:
        ModelError: a model without a projector of its own.
    """
    from wheresight.lvlm.learned import learned_by

    family, core = lvlm.family, lvlm.core
    projector = family.projector(core)
    if projector is None:
        raise ModelError(
            f"{lvlm.name!r} has no projector of its own between vision tower and language model, "
            "so it cannot be trained in stages. Take a model of another family, such as LLaVA."
        )
    found: dict[str, list[torch.Tensor]] = {
        _LEARNED: [p for own in learned_by(lvlm).values() for p in own.values()]
    }
    taken = {id(p) for p in found[_LEARNED]}
    modules = {
        "projector": [projector],
        "language_model": [family.language_model(core), core.get_output_embeddings()],
    }
    for part in PARTS[stage]:
        found[part] = []
        for module in modules[part]:
            for parameter in module.parameters():
                if id(parameter) not in taken:
                    found[part].append(parameter)
                    taken.add(id(parameter))
    return found


class _Stage(Job[StageTraining]):
    record = StageTraining

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def load_in(self, planned: Plan) -> str:
        # What is trained stays in float32; the rest is rounded when it is known which that is.
        return "float32"

    def prepare(self, lvlm: LVLM, planned: Plan) -> LVLM:
        import torch

        from wheresight.lvlm.learned import before_training, learned_by, put_in, width_of

        held = learned_by(lvlm)
        first = before_training(parse(planned.spec), width_of(lvlm.core.config))
        put_in(lvlm, {name: held.get(name, values) for name, values in first.items()})
        wanted = {id(p) for own in trained_weights(lvlm, self.stage).values() for p in own}
        frozen = getattr(torch, planned.request.dtype)
        for parameter in lvlm.core.parameters():
            parameter.requires_grad_(id(parameter) in wanted)
            if id(parameter) not in wanted:
                parameter.data = parameter.data.to(frozen)
        return lvlm

    def write(self, lvlm: LVLM, planned: Plan, made: Path) -> dict[str, Any]:
        import torch

        from wheresight.lvlm.trained import save_trained

        weights = trained_weights(lvlm, self.stage)
        counts = {part: sum(p.numel() for p in own) for part, own in weights.items() if own}
        of = sum(p.numel() for p in lvlm.core.parameters()) - sum(counts.values())
        ours = {id(p) for p in weights[_LEARNED]}
        for parameter in lvlm.core.parameters():
            if id(parameter) not in ours:
                parameter.data = parameter.data.to(getattr(torch, planned.request.dtype))
        save_trained(lvlm, made, planned.spec, planned.card.name, planned.card.weights)
        return {
            "weights": TrainedParts(
                parameters=counts,
                of=of,
                dtype=planned.request.dtype,
                sha256={file.name: _hash(file) for file in sorted(made.glob("*.safetensors"))},
            )
        }


def _hash(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
