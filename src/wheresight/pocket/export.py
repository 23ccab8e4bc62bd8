"""Save a trained model as the folder that ships: half the bytes, all the files, atomically."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from wheresight.errors import WheresightError

MOST_BYTES = 24_000_000


def save_folder(model: Any, processor: Any, folder: Path, training: dict[str, Any]) -> None:
    """Write config, float16 safetensors, tokenizer, processor, card and ``training.json``.

    The config says float32, so the stock loader widens the weights when it reads them. The folder
    appears all at once: everything is written beside it first.
    """
    import torch

    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=folder.parent))
    try:
        state = {
            name: value.to(torch.float16)
            for name, value in model.state_dict().items()
            if name != "lm_head.weight"  # tied to the word embeddings
        }
        model.generation_config.update(
            max_new_tokens=16,
            do_sample=False,
            eos_token_id=processor.tokenizer.eos_token_id,
            pad_token_id=processor.tokenizer.pad_token_id,
            bos_token_id=processor.tokenizer.bos_token_id,
        )
        model.save_pretrained(draft, state_dict=state)
        config = json.loads((draft / "config.json").read_text())
        for part in (config, config.get("text_config", {}), config.get("vision_config", {})):
            part["dtype"] = "float32"
        (draft / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
        processor.save_pretrained(draft)
        weights = sum(path.stat().st_size for path in draft.glob("*.safetensors"))
        if weights > MOST_BYTES:
            raise WheresightError(f"The weights take {weights:,} bytes, more than {MOST_BYTES:,}.")
        write_records(draft, training)
        for path in draft.rglob("*"):
            path.chmod(0o644)
        draft.chmod(0o755)
        _replace(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def write_records(folder: Path, training: dict[str, Any]) -> None:
    """``training.json`` and the model card made from it."""
    from wheresight.pocket.card import render_card

    text = json.dumps(training, indent=1, ensure_ascii=False)
    (folder / "training.json").write_text(text + "\n")
    (folder / "README.md").write_text(render_card(training))


def _replace(draft: Path, folder: Path) -> None:
    """Put ``draft`` where ``folder`` is, with two renames."""
    if folder.exists():
        old = folder.with_name(f".old-{os.getpid()}-{folder.name}")
        folder.rename(old)
        draft.rename(folder)
        shutil.rmtree(old)
    else:
        draft.rename(folder)
