"""Teach a decoder under a scheme: from random weights, or from `none` by LoRA.

All schemes of a seed see the same pictures and questions in the same order, through the same tower,
for the same number of steps at the same rates.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import models
import numpy as np
from design import Cell, Design, Training, model_name, vision_blocks
from lessons import Lesson, lessons

from wheresight.pocket.attention import plain_attention
from wheresight.pocket.curves import Curve, Report
from wheresight.pocket.intervened import hidden_states
from wheresight.pocket.language import Question
from wheresight.pocket.optimizer import MuonAndAdamW, learning_rate
from wheresight.pocket.packing import Packed, pack
from wheresight.pocket.train_decoder import only_decoder_trains

if TYPE_CHECKING:
    import torch

RECORD = "taught.json"
_EVERY = 50
# Pictures of a step that go through together: what they leave for the way back stays in the cache,
# which makes a step a third shorter. Their gradients are summed.
_AT_ONCE = 8


def taught(design: Design, cell: Cell, out: Path, report: Report) -> Path:
    """The folder of a cell's weights; made if it is not there, and so is what it starts from."""
    folder = out / "models" / model_name(design, cell, models.tower_revision())
    if folder.is_dir():
        return folder
    began, spent = time.monotonic(), time.process_time()
    blocks = vision_blocks(cell.spec)
    model, processor = models.opened(models.start(design, cell.seed, blocks, out))
    if cell.base is None:
        curve = from_scratch(model, processor, design, cell, out, report)
    else:
        taught(design, cell.base, out, report)
        none, _ = models.opened(
            out / "models" / model_name(design, cell.base, models.tower_revision())
        )
        parts = ["language_model"] + ([] if blocks else ["multi_modal_projector"])
        for part in parts:
            getattr(model.model, part).load_state_dict(getattr(none.model, part).state_dict())
        model, curve = adapted(model, processor, design, cell, out, report)
    record = {
        "cell": cell.name,
        "spec": cell.spec,
        "curve": curve,
        "seconds": time.monotonic() - began,
        "processor_seconds": time.process_time() - spent,
    }
    models.save(model, processor, folder, {RECORD: json.dumps(record, indent=1) + "\n"})
    return folder


def from_scratch(
    model: Any, processor: Any, design: Design, cell: Cell, out: Path, report: Report
) -> list[dict[str, float]]:
    """Train the decoder of a model in place; the curve."""
    given = design.training
    named = only_decoder_trains(model)
    optimizer = MuonAndAdamW(named, given.decay, design.recipe(cell.seed).word_rate_share)
    projector = _projector(model, given)

    def step(number: int) -> None:
        _clip(model)
        rate = learning_rate(number, given.steps, given.warmup, given.rate)
        optimizer.step(rate)
        projector.step(rate * given.projector_share)
        optimizer.zero_grad()
        projector.zero_grad()

    curve = Curve(cell.name, given.steps, _EVERY, report)
    steps = lessons(model, design, cell, out, report)
    _learn(model, model, processor.tokenizer, design, cell, steps, step, curve)
    return curve.points


def adapted(
    model: Any, processor: Any, design: Design, cell: Cell, out: Path, report: Report
) -> tuple[Any, list[dict[str, float]]]:
    """Train LoRA layers in the decoder, and merge them; the model and the curve."""
    import torch

    from wheresight import wrap
    from wheresight.training.adapted import add_lora

    given = design.training
    torch.manual_seed(cell.seed)
    adapter = add_lora(
        wrap(model, processor), ("language_model",), given.rank, 2.0 * given.rank, 0.0
    )
    trained = [parameter for parameter in adapter.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.0, weight_decay=0.0)
    core = adapter.get_base_model()
    projector = _projector(core, given)

    def step(number: int) -> None:
        _clip(adapter)
        rate = learning_rate(number, given.lora_steps, given.warmup // 2, given.lora_rate)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        projector.step(rate * given.projector_share)
        optimizer.zero_grad(set_to_none=True)
        projector.zero_grad()

    curve = Curve(cell.name, given.lora_steps, _EVERY, report)
    steps = lessons(core, design, cell, out, report)
    _learn(adapter, core, processor.tokenizer, design, cell, steps, step, curve)
    return adapter.merge_and_unload(), curve.points


def _learn(
    model: Any,
    core: Any,
    tokenizer: Any,
    design: Design,
    cell: Cell,
    steps: Iterable[Lesson],
    step: Callable[[int], None],
    curve: Curve,
) -> None:
    """Steps on packed questions, under the cell's scheme."""
    import torch

    from wheresight import intervene

    given = design.training
    patches = design.recipe(cell.seed).image_tokens
    model.train()
    with plain_attention(core.model.language_model), intervene(model, cell.spec):
        for number, lesson in enumerate(steps):
            parts = [
                (lesson.seen[part], pack(lesson.asked[part], tokenizer, patches))
                for part in (slice(i, i + _AT_ONCE) for i in range(0, given.batch, _AT_ONCE))
            ]
            wanted = torch.cat([packed.labels[packed.labels >= 0] for _, packed in parts])
            found, total = [], 0.0
            for seen, packed in parts:
                loss, tokens = part_loss(core, seen, packed, len(wanted))
                loss.backward()
                found.append(tokens)
                total += loss.item()
            step(number)
            right = whole_answers(torch.cat(found), wanted, lesson.asked, tokenizer.eos_token_id)
            curve.add(number, {"loss": total, **right})
    model.eval()


def part_loss(
    core: Any, seen: torch.Tensor, packed: Packed, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """A part's share of the mean loss over all answers of a step, and the likeliest tokens.

    Args:
        core: the model.
        seen: (B, N, V), what the tower hands to the projector for the part's pictures.
        packed: their questions.
        count: answer tokens of the whole step.
    """
    import torch
    from torch.nn import functional as F

    answered = packed.labels >= 0
    with torch.autocast("cpu", torch.bfloat16):
        states = hidden_states(core, packed, models.projected(core, seen))
        logits = core.lm_head(states[answered])
    logits = logits.float()
    summed = F.cross_entropy(logits, packed.labels[answered], reduction="sum")
    return summed / count, logits.detach().argmax(-1)


def whole_answers(
    found: torch.Tensor, wanted: torch.Tensor, asked: list[list[Question]], end: int
) -> dict[str, float]:
    """Share of whole answers that are right, by kind of question; kinds not asked are left out.

    Args:
        found: (A,) the likeliest token at every place where an answer token is wanted.
        wanted: (A,) those answer tokens.
        asked: the questions that they answer, picture by picture.
        end: the token that ends an answer.
    """
    right, ends = (found == wanted).tolist(), (wanted == end).tolist()
    by_kind: dict[str, list[bool]] = {}
    place = 0
    for question in (question for row in asked for question in row):
        last = ends.index(True, place) + 1
        by_kind.setdefault(question.task, []).append(all(right[place:last]))
        place = last
    return {kind: float(np.mean(given)) for kind, given in by_kind.items()}


def _projector(core: Any, given: Training) -> MuonAndAdamW:
    """The projector's optimizer; where it is frozen its parameters get no gradients."""
    module = core.model.multi_modal_projector
    for parameter in module.parameters():
        parameter.requires_grad_(given.projector_share > 0)
    return MuonAndAdamW(list(module.named_parameters()), 0.0)


def _clip(model: Any) -> None:
    import torch

    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    torch.nn.utils.clip_grad_norm_(trained, 1.0)
