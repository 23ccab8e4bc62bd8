"""Adapters that were trained under an intervention: a plain PEFT folder with `intervention.json`.

PEFT reads such a folder as it reads any other. What it does not know is under which positions,
mask, attention and features the adapter was trained; without them its weights are those of another
model. So the two are saved together, and loaded together.
"""

from __future__ import annotations

import contextlib
import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open

from wheresight.errors import ModelError
from wheresight.interventions.spec import Spec, parse
from wheresight.lvlm.encoding import Encoder, Query
from wheresight.lvlm.trained_under import (
    INTERVENTION_FILE,
    read_trained_under,
    write_trained_under,
)
from wheresight.lvlm.wrapper import LVLM, wrap

if TYPE_CHECKING:
    from PIL import Image

_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PLUS = "+adapter-"  # between a base's revision and its adapter's
_NAMED = 5  # keys that an error names


@dataclass(frozen=True)
class Adapter:
    """An adapter's folder, looked at but not loaded.

    Attributes:
        folder: where it is.
        trained_under: canonical spec of its intervention; `none` if the folder does not say.
        says: False if it has no `intervention.json`, as adapters made elsewhere.
        fingerprint: hash of what decides its effect: configuration, weights, intervention.
        base_revision: of the model that it was trained on; empty if that is not known.
    """

    folder: Path
    trained_under: str
    says: bool
    fingerprint: str
    base_revision: str = ""

    def revision(self, base: str) -> str:
        """What identifies the weights of a model of revision `base` with this adapter."""
        return f"{base}{_PLUS}{self.fingerprint[:16]}"


class AdapterWarning(UserWarning):
    """An adapter that does nothing, was trained on other weights, or does not say under what."""


def save_adapter(model: Any, folder: str | Path, intervention: Spec | None = None) -> Path:
    """Save a PEFT model's adapter and the intervention that it was trained under.

    Args:
        model: a PEFT model, or an LVLM around one.
        folder: made if it is not there.
        intervention: default is what the model is under now, so inside a `with intervene` block
            it need not be said again.

    Returns:
        The folder.

    Raises:
        ModelError: a model without an adapter.
    """
    from wheresight.lvlm.tracker import TRACKERS

    lvlm = wrap(model)
    if not hasattr(lvlm.model, "peft_config"):
        raise ModelError(
            f"A {type(lvlm.model).__name__} without an adapter was given; expected a PEFT model "
            "(peft.get_peft_model)."
        )
    tracker = TRACKERS.get(id(lvlm.core))
    wanted = parse(
        intervention if intervention is not None else tracker.wanted() if tracker else "none"
    )
    folder = Path(folder)
    lvlm.model.save_pretrained(folder, safe_serialization=True)
    write_trained_under(folder, wanted, lvlm.name, lvlm.revision.partition(_PLUS)[0])
    return folder


def look_at(folder: str | Path) -> Adapter:
    """Check an adapter's folder as far as that goes without its base model.

    Raises:
        ModelError: not a PEFT folder, weights that are not safetensors, or an `intervention.json`
            that cannot be read.
    """
    folder = Path(folder).expanduser()
    if not (folder / _CONFIG).is_file():
        raise ModelError(
            f"The folder {str(folder)!r} has no {_CONFIG}, so it is not a PEFT adapter. Expected "
            "the output of save_pretrained or of wheresight.save_adapter."
        )
    if not (folder / _WEIGHTS).is_file():
        raise ModelError(
            f"The adapter {str(folder)!r} has no {_WEIGHTS}. Only safetensors weights are read: "
            "save it again with safe_serialization=True."
        )
    path = folder / INTERVENTION_FILE
    fingerprint = _fingerprint(folder)
    if not path.is_file():
        return Adapter(folder, "none", False, fingerprint)
    said = read_trained_under(path, "adapter", "wheresight.save_adapter")
    return Adapter(folder, said.spec, True, fingerprint, said.base_revision)


def _fingerprint(folder: Path) -> str:
    digest = hashlib.sha256()
    for name in (_CONFIG, _WEIGHTS, INTERVENTION_FILE):
        if (folder / name).is_file():
            with (folder / name).open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def put_on(lvlm: LVLM, adapter: Adapter) -> LVLM:
    """Load an adapter onto its base model.

    The intervention is not entered: `intervene(lvlm, lvlm.trained_under)` does that.

    Raises:
        ModelError: keys that the base has no place for, or that the folder lacks; other shapes; a
            kind of adapter that cannot be used here.
    """
    try:
        import peft
    except ImportError:
        raise ModelError(
            "Adapters need PEFT, which is not installed: pip install 'wheresight[train]'."
        ) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of transformers, meant for peft
            adapted = peft.PeftModel.from_pretrained(lvlm.model, str(adapter.folder))
        with safe_open(str(adapter.folder / _WEIGHTS), "pt") as stored:
            given = set(stored.keys())
    except (ValueError, TypeError, RuntimeError, OSError, KeyError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(
            f"The adapter {str(adapter.folder)!r} does not fit {lvlm.name!r}: {reason}"
        ) from None
    wanted = set(peft.get_peft_model_state_dict(adapted))
    if given != wanted:
        raise ModelError(
            f"The adapter {str(adapter.folder)!r} does not fit {lvlm.name!r}: "
            f"{_list(wanted - given, 'missing')}; {_list(given - wanted, 'surplus')}. It was "
            "probably trained for another model or written by another version."
        )
    made = wrap(adapted.eval(), lvlm.processor)
    made.name, made.revision = lvlm.name, adapter.revision(lvlm.revision)
    made.trained_under = adapter.trained_under
    if _other(adapter.base_revision, lvlm.revision):
        warnings.warn(
            f"The adapter {str(adapter.folder)!r} was trained on weights of revision "
            f"{adapter.base_revision}, and those of {lvlm.name!r} are of {lvlm.revision}: it fits, "
            "but it was not made for them.",
            AdapterWarning,
            stacklevel=3,
        )
    if not adapter.says:
        warnings.warn(
            f"The adapter {str(adapter.folder)!r} has no {INTERVENTION_FILE}: it is taken to have "
            "been trained on the stock model.",
            AdapterWarning,
            stacklevel=3,
        )
    if made.processor is not None and not _acts(made):
        warnings.warn(
            f"The adapter {str(adapter.folder)!r} does not change the model's answer: logits with "
            "and without it are equal. It was probably saved before it was trained.",
            AdapterWarning,
            stacklevel=3,
        )
    return made


def _other(trained_on: str, here: str) -> bool:
    """Are these revisions known to be of other weights? A folder's hash and a commit may agree."""
    comparable = trained_on.startswith("local-") == here.startswith("local-")
    return bool(trained_on and here) and comparable and trained_on != here


def _acts(lvlm: LVLM) -> bool:
    """Do logits on a small prompt differ from those of the base model?"""
    encoder = Encoder(lvlm)
    query = Query(_picture(), ("What is in the picture?",))
    logits = []
    with torch.inference_mode():
        for without in (False, True):
            with lvlm.model.disable_adapter() if without else contextlib.nullcontext():
                # Anew each time, since an adapter may sit in the vision tower.
                encoded = encoder.encode([query])
                inputs = encoder.inputs(encoded, encoded.rows)
                logits.append(lvlm.model(**inputs).logits)
    return not torch.equal(*logits)


def _picture() -> Image.Image:
    from PIL import Image

    return Image.radial_gradient("L").convert("RGB")


def _list(keys: set[str], what: str) -> str:
    names = sorted(keys)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{len(names)} keys are {what}" + (
        f" ({', '.join(names[:_NAMED])}{more})" if names else ""
    )
