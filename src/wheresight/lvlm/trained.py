"""Whole models that were trained under an intervention: stock folders with two files beside.

The stock class reads such a folder as it reads any other. What it does not know is in
`intervention.json` (under what it was trained) and, where methods have parameters that were trained
with the projector, in `intervention.safetensors`, one tensor a key `method.name`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from wheresight.errors import ModelError
from wheresight.interventions.spec import Spec, parse
from wheresight.lvlm.learned import before_training, learned_by, put_in, width_of, without_learned
from wheresight.lvlm.trained_under import (
    INTERVENTION_FILE,
    read_trained_under,
    write_trained_under,
)

if TYPE_CHECKING:
    from wheresight.lvlm.wrapper import LVLM

LEARNED_FILE = "intervention.safetensors"
_SAMPLING = ("temperature", "top_p", "top_k", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff")
_AGAIN = "wheresight.lvlm.trained.save_trained"


@dataclass(frozen=True)
class Trained:
    """What a model's folder says of its training, looked at but not loaded.

    Attributes:
        trained_under: canonical spec of the intervention.
        base, base_revision: the model that training began with.
        learned: names of the methods with parameters of their own.
        weights: the file of these; None if there are none.
    """

    trained_under: str
    base: str
    base_revision: str
    learned: frozenset[str] = frozenset()
    weights: Path | None = None


def trained_under(place: str) -> str | None:
    """Canonical spec of what the model at a place was trained under; None if it does not say.

    Args:
        place: folder or hub id, as `resolve` returns it.

    Raises:
        ModelError: an `intervention.json` that cannot be read.
    """
    path = _file(place, INTERVENTION_FILE)
    return None if path is None else read_trained_under(path, "model", _AGAIN).spec


def look_at_trained(place: str, config: Any) -> Trained | None:
    """Read what a model's folder says of its training; None if it says nothing.

    Args:
        place: folder or hub id.
        config: of the model.

    Raises:
        ModelError: files that cannot be read; parameters of a method that are missing, surplus or
            of another shape.
    """
    path, weights = _file(place, INTERVENTION_FILE), _file(place, LEARNED_FILE)
    if path is None:
        if weights is not None:
            raise ModelError(
                f"{place!r} has {LEARNED_FILE}, parameters of an intervention, but no "
                f"{INTERVENTION_FILE} that says of which. Bring the file back."
            )
        return None
    said = read_trained_under(path, "model", _AGAIN)
    first = before_training(parse(said.spec), width_of(config))
    wanted = {f"{m}.{n}": tuple(v.shape) for m, own in first.items() for n, v in own.items()}
    found = {} if weights is None else _shapes(weights)
    _refuse_unfit(place, said.spec, wanted, found)
    return Trained(said.spec, said.base, said.base_revision, frozenset(first), weights)


def put_back(lvlm: LVLM, trained: Trained) -> None:
    """Give a model that was just loaded what its folder says: spec and parameters."""
    lvlm.trained_under = trained.trained_under
    if trained.weights is None:
        return
    from safetensors.torch import load_file

    values: dict[str, dict[str, Any]] = {}
    for key, value in load_file(str(trained.weights)).items():
        method, _, name = key.partition(".")
        values.setdefault(method, {})[name] = value
    put_in(lvlm, values)
    for own in learned_by(lvlm).values():
        for parameter in own.values():
            parameter.requires_grad_(False)


def save_trained(
    lvlm: LVLM, folder: str | Path, intervention: Spec, base: str = "", base_revision: str = ""
) -> Path:
    """Save a whole model, its processor, and what it was trained under.

    Args:
        lvlm: the model, with a processor and without adapters.
        folder: made if it is not there.
        intervention: what it was trained under.
        base, base_revision: the model that training began with; default is what this one is
            called.

    Returns:
        The folder.

    Raises:
        ModelError: parameters that the intervention has trained, and that the model lacks.
    """
    parts = parse(intervention)
    wanted = before_training(parts, width_of(lvlm.core.config))
    held = learned_by(lvlm)
    lacking = sorted(set(wanted) - set(held))
    if lacking:
        raise ModelError(
            f"{lvlm.name!r} has no trained parameters of {', '.join(lacking)}, so it was not "
            f"trained under {intervention!r}. Name what it was trained under."
        )
    folder = Path(folder)
    make_savable(lvlm.core)
    lvlm.core.save_pretrained(folder, state_dict=without_learned(lvlm))
    lvlm.processor.save_pretrained(folder)
    write_trained_under(folder, parts, base or lvlm.name, base_revision or lvlm.revision)
    if wanted:
        from safetensors.torch import save_file

        kept = {
            f"{method}.{name}": held[method][name].detach().float().cpu().contiguous()
            for method, own in wanted.items()
            for name in own
        }
        save_file(kept, str(folder / LEARNED_FILE))
    return folder


def make_savable(core: Any) -> None:
    """Take temperature and the like from a model that does not sample by default.

    They do nothing there. Vicuna comes with them, and transformers refuses to save them.
    """
    settings = core.generation_config
    if not settings.do_sample:
        for name in _SAMPLING:
            setattr(settings, name, None)


def _file(place: str, name: str) -> Path | None:
    """A file of a folder or of a hub's model, or None."""
    if Path(place).is_dir():
        return Path(place) / name if (Path(place) / name).is_file() else None
    from transformers.utils import cached_file

    try:
        found = cached_file(
            place,
            name,
            _raise_exceptions_for_gated_repo=False,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
    except OSError:  # no such model: who loads it says so
        return None
    return None if found is None else Path(found)


def _shapes(weights: Path) -> dict[str, tuple[int, ...]]:
    try:
        with safe_open(str(weights), "pt") as stored:
            return {key: tuple(stored.get_slice(key).get_shape()) for key in stored.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"The file {str(weights)!r} cannot be read: {reason}.") from None


def _refuse_unfit(
    place: str,
    spec: str,
    wanted: Mapping[str, tuple[int, ...]],
    found: Mapping[str, tuple[int, ...]],
) -> None:
    faults = [f"{key} is missing" for key in sorted(set(wanted) - set(found))]
    faults += [f"{key} is surplus" for key in sorted(set(found) - set(wanted))]
    faults += [
        f"{key} has the shape {found[key]}, not {wanted[key]}"
        for key in sorted(set(found) & set(wanted))
        if found[key] != wanted[key]
    ]
    if faults:
        raise ModelError(
            f"The model {place!r} was trained under {spec!r}, and {LEARNED_FILE} beside it does "
            f"not hold what belongs to that: {'; '.join(faults)}. Without it the model is another. "
            "Copy the whole folder of the training."
        )
