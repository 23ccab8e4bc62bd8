"""The questions of the balanced probe on a few composites, for benchmarks that score them."""

from __future__ import annotations

import datetime
import platform
from typing import Any

import torch
import transformers

import wheresight
from wheresight.lvlm.loading import look_up
from wheresight.lvlm.scoring import Query
from wheresight.probes.grid import GridProbe, GridSettings
from wheresight.probes.questions import QUESTIONS, ask
from wheresight.stimuli.sources import open_source

SPECS = ("none", "bapa", "scalingvis:alpha=0.8", "adaptvis")


def balanced(
    model: str,
    *,
    question: str,
    items: int,
    cells: int = 9,
    one_picture: bool = False,
    device: str | None = None,
    dtype: str = "float32",
) -> tuple[wheresight.LVLM, list[Query]]:
    """The model, and the composites of the first cells of some items.

    Args:
        model: as --model takes it.
        question: one of the named phrasings.
        items: how many.
        cells: of each item, the first so many of nine.
        one_picture: ask the third question, a hard negative, of the composite itself (the
            sibling's caption, which is not there). Else as the probe asks it: the key's caption
            of a second picture, where the sibling stands in the key's place.
        device, dtype: as `wheresight.load` takes them.
    """
    card = look_up(model)
    lvlm = wheresight.load(card, device=device, dtype=dtype)
    source = open_source("pocket")
    size = card.picture_size or 840
    settings = GridSettings(
        model=model,
        model_revision=card.revision,
        dtype=dtype,
        attention="sdpa",
        source=source.name,
        source_fingerprint=source.fingerprint,
        protocol="balanced",
        question=QUESTIONS[question],
        scoring="first_token",
        max_new_tokens=None,
        rows=3,
        columns=3,
        layout="swap",
        canvas=size,
        tile=size // 3,
        background="white",
        jitter=0,
        seed=0,
    )
    probe = GridProbe(settings, source, items)
    captions = {pair.id: pair.caption for pair in source.pairs()}
    queries = []
    for item in probe.items:
        for composite in probe.composites(item):
            if composite.cell >= cells:
                continue
            asked = [a.caption for a in composite.asks]
            if one_picture and item.sibling is not None:
                if len(asked) == 1:
                    continue  # the second picture
                asked.append(captions[item.sibling])
            picture = probe.render(composite.recipe.to_json())
            queries.append(Query(picture, tuple(ask(settings.question, a) for a in asked)))
    return lvlm, queries


def circumstances() -> dict[str, Any]:
    """When, where and with what a figure was measured."""
    accelerator = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "threads": torch.get_num_threads(),
        "machine": f"{platform.machine()} {platform.system()}, {accelerator}",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
