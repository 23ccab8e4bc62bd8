"""Hidden tokens: left out of attention where nothing else is masked, masked where something is."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import wheresight
from wheresight.lvlm.seams.mask import MaskSeam

ONE_ROW: dict[str, list[list[Any]]] = {
    "llava": [[3, "i", 2, "i", 6]],
    "llava_gqa": [[2, "i", "i", 5]],
    "next_mistral": [[3, (9, 16), 5]],
    "qwen3": [[2, (2, 4), 2, (2, 2), 3]],
    "smolvlm": [[3, "i", 2, "ii", 4]],
}
SPECS = (
    "pool:side=1",
    "drop:fraction=0.5",
    "pool:side=1+bapa",
    "pool:side=1+scalingvis:alpha=3",
    "drop:fraction=0.5+scalingvis:alpha=3,rows=text",
    "pool:side=1+adaptvis:low=0.2,high=2.5",
    "drop:fraction=0.5+uac",
    "drop:fraction=0.5+cca",
    "pool:side=1+bapa_cross",
)


def _logits(model: Any, inputs: dict[str, Any], spec: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Of the last prompt token, and of one more token over the cache."""
    with torch.no_grad(), wheresight.intervene(model, spec):
        out = model(**inputs, use_cache=True)
        more = {k: v for k, v in inputs.items() if k == "attention_mask"}
        more = {k: torch.cat([v, v.new_ones(len(v), 1)], 1) for k, v in more.items()}
        past = out.past_key_values
        count = past.get_seq_length()
        ids = inputs["input_ids"].new_full((1, 1), 7)
        offset = getattr(model.model, "rope_deltas", None)
        at = torch.tensor([[count + (0 if offset is None else int(offset[0]))]])
        step = model(input_ids=ids, past_key_values=past, position_ids=at, **more)
    return out.logits[:, -1], step.logits[:, -1]


@pytest.mark.parametrize("kind", ONE_ROW)
@pytest.mark.parametrize("spec", SPECS)
def test_leaving_out_is_masking(
    make_model: Any, make_batch: Any, monkeypatch: pytest.MonkeyPatch, kind: str, spec: str
) -> None:
    model, inputs = make_model(kind), make_batch(kind, ONE_ROW[kind]).inputs
    short = _logits(model, inputs, spec)
    monkeypatch.setattr(MaskSeam, "_left_out", lambda self, call: False)
    masked = _logits(model, inputs, spec)
    for a, b in zip(short, masked, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_attention_runs_over_fewer_columns(
    make_model: Any, make_batch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows and columns of the attention that is really computed, with and without hidden tokens."""
    model, batch = make_model("llava"), make_batch("llava", ONE_ROW["llava"])
    seen: list[tuple[int, int]] = []
    real = torch.nn.functional.scaled_dot_product_attention

    def counted(query: Any, key: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append((query.shape[2], key.shape[2]))
        return real(query, key, *args, **kwargs)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", counted)
    tokens = batch.inputs["input_ids"].shape[1]
    images = int((batch.inputs["input_ids"] == model.config.image_token_id).sum())
    for spec, left in (("none", tokens), ("pool:side=1", tokens - images + 2)):
        seen.clear()
        with torch.no_grad(), wheresight.intervene(model, spec):
            model(**batch.inputs)
        assert seen[-2:] == [(left, left)] * 2


def test_rows_that_hide_other_tokens_are_masked(make_model: Any, make_batch: Any) -> None:
    """A batch whose rows differ in what is hidden gives what each row gives alone."""
    model = make_model("llava")
    rows: list[list[Any]] = [[3, "i", 2, "i", 6], [2, "i", 3, "i", 6]]
    batch = make_batch("llava", rows)
    with torch.no_grad(), wheresight.intervene(model, "pool:side=1"):
        together = model(**batch.inputs).logits[:, -1]
        alone = []
        for row, first in enumerate((0, 2)):  # two images a row
            part = {k: v[row : row + 1] for k, v in batch.inputs.items()}
            part["pixel_values"] = batch.inputs["pixel_values"][first : first + 2]
            alone.append(model(**part).logits[0, -1])
    torch.testing.assert_close(together, torch.stack(alone), rtol=1e-4, atol=1e-4)
