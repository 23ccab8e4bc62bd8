"""Load a model and its processor by name, folder or hub id."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from wheresight.errors import ModelError, unknown_name
from wheresight.lvlm.prompts import check_chat_template
from wheresight.pocket import NAMES, model_folder
from wheresight.skeletons import is_skeleton

if TYPE_CHECKING:
    from wheresight.interventions.host import Host
    from wheresight.lvlm.adapters import Adapter
    from wheresight.lvlm.trained import Trained
    from wheresight.lvlm.wrapper import LVLM

DTYPES = ("float32", "bfloat16", "float16", "float64")
ATTENTIONS = ("sdpa", "eager", "flash_attention_2")
# Files of a model that decide its answers; notes and cards beside them do not.
_DECISIVE = (
    "config.json",
    "intervention.json",
    "generation_config.json",
    "*processor*config.json",
    "*token*.json",
    "vocab*",
    "merges.txt",
    "*.model",
    "*.jinja",
    "*.safetensors",
    "*.bin",
)
# Weights smaller than this are hashed whole; larger ones by their headers, sizes and edges.
_HASH_WHOLE_BELOW = 1 << 30


def named_models() -> dict[str, Callable[[], Any]]:
    """Short names with what returns each one's folder.

    The models that come with the package, and the entry points `wheresight.models` of others.
    """
    found: dict[str, Callable[[], Any]] = {
        point.name: functools.partial(_called, point)
        for point in entry_points(group="wheresight.models")
    }
    return found | {name: functools.partial(model_folder, name) for name in NAMES}


def _called(point: EntryPoint) -> Any:
    return point.load()()


def resolve(name: str) -> str:
    """Turn a model's name into what transformers loads: a folder, or a hub id as it is.

    Raises:
        ModelError: if it is neither a known name, nor a folder with a config.json, nor in the form
            of a hub id (`owner/name`).
    """
    known = named_models()
    if name in known:
        return str(known[name]())
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ModelError(
                f"The folder {name!r} has no config.json, so it is not a saved model. Expected the "
                "output of save_pretrained: config.json, *.safetensors and the processor's files."
            )
        return str(folder)
    is_path = name.startswith((".", "/", "~")) or name.count("/") != 1
    if is_path:
        raise ModelError(
            unknown_name("model", name, known)
            + " A folder with config.json, a hub id such as owner/name, or a skeleton (see: "
            "wheresight list models) is accepted too."
        )
    return name


@dataclass(frozen=True)
class ModelCard:
    """What can be known of a model before its weights are read.

    Attributes:
        name: as the user gave it.
        place: folder or hub id that transformers loads.
        revision: the hub's commit, or a hash of a local folder's files, of the model itself.
        config, processor: of transformers.
        picture_size: side in pixels of the square picture that the vision tower is fed, or None
            where pictures keep their own size.
        build: makes the model with random weights, or None where weights are read.
        adapter: to be put on it, or None.
        trained: what its folder says of a training under an intervention, or None.
    """

    name: str
    place: str
    revision: str
    config: Any
    processor: Any
    picture_size: int | None
    build: Callable[..., Any] | None = None
    adapter: Adapter | None = None
    trained: Trained | None = None

    @property
    def weights(self) -> str:
        """What identifies its weights, those of its adapter included."""
        return self.revision if self.adapter is None else self.adapter.revision(self.revision)

    def host(self, attention: str) -> Host:
        """What interventions may ask of it, run with this attention function."""
        from wheresight.lvlm.families import family_for_config

        return dataclasses.replace(
            family_for_config(self.config).host(self.config),
            attention=attention,
            learned=self.trained.learned if self.trained else frozenset(),
        )


def look_up(
    model: str, *, adapter: str | Path | None = None, trust_remote_code: bool = False
) -> ModelCard:
    """Find a model and check all that can be checked without its weights.

    Args:
        model: as for `load`.
        adapter: as for `load`, which puts it on when it is given the card.
        trust_remote_code: as for `load`.

    Raises:
        ModelError: unknown name, unsupported family, no processor or no chat template; a folder
            that is no adapter; a trained model whose folder is not whole.
    """
    if adapter is not None:
        from wheresight.lvlm.adapters import look_at

        found = look_at(adapter)
        bare = look_up(model, trust_remote_code=trust_remote_code)
        return dataclasses.replace(bare, adapter=found)
    if is_skeleton(model):
        from wheresight.skeletons.build import card

        return card(model)
    place = resolve(model)

    import transformers

    from wheresight.lvlm.families import family_for_config
    from wheresight.lvlm.stills import load_processor
    from wheresight.lvlm.trained import look_at_trained

    config = load_stock(
        model, transformers.AutoConfig.from_pretrained, place, trust_remote_code=trust_remote_code
    )
    family_for_config(config)
    processor = load_stock(
        model,
        load_processor,
        place,
        trust_remote_code=trust_remote_code,
    )
    check_chat_template(processor)
    return ModelCard(
        model,
        place,
        revision(place, config),
        config,
        processor,
        picture_size(processor),
        trained=look_at_trained(place, config),
    )


def load(
    model: str | ModelCard,
    *,
    adapter: str | Path | None = None,
    dtype: str = "float32",
    device: str | None = None,
    attention: str = "sdpa",
    trust_remote_code: bool = False,
    allow_pickle: bool = False,
) -> LVLM:
    """Load a stock transformers LVLM with its processor, in evaluation mode.

    Args:
        model: a shipped name (`pocket`), `skeleton:NAME` for random weights, a folder, a hub id,
            or what `look_up` returned. Where a folder says under which intervention the model was
            trained, the result's `trained_under` does.
        adapter: folder of a PEFT adapter, of whose training `trained_under` then tells.
            `intervene(lvlm, lvlm.trained_under)` enters the intervention.
        dtype: float32, bfloat16, float16 or float64.
        device: a torch device; default is the first accelerator, else the CPU.
        attention: attention implementation of transformers: sdpa, eager or flash_attention_2.
        trust_remote_code: run code that comes with the weights. Off unless asked for.
        allow_pickle: accept weights in pickle files (*.bin), which can run code when they are
            read. Off unless asked for: safetensors only.

    Raises:
        ModelError: unknown name, unsupported family, no chat template, weights that are missing or
            are not safetensors, an adapter that does not fit. Checked before weights are read
            wherever that is possible.
    """
    check_precision(dtype, attention)
    if adapter is not None:
        from wheresight.lvlm.adapters import look_at

        looked_at = look_at(adapter)
    card = (
        model
        if isinstance(model, ModelCard)
        else look_up(model, trust_remote_code=trust_remote_code)
    )

    import torch
    import transformers

    from wheresight.lvlm.wrapper import wrap

    where = _device(device)
    if card.build is not None:
        weights = card.build(dtype=getattr(torch, dtype), device=where, attention=attention)
    else:
        weights = load_stock(
            card.name,
            transformers.AutoModelForImageTextToText.from_pretrained,
            card.place,
            config=card.config,
            dtype=getattr(torch, dtype),
            attn_implementation=attention,
            use_safetensors=None if allow_pickle else True,
            trust_remote_code=trust_remote_code,
        )
    wrapped: LVLM = wrap(weights.to(where).eval(), card.processor)
    wrapped.name, wrapped.revision = card.name, card.revision
    if card.trained is not None:
        from wheresight.lvlm.trained import put_back

        put_back(wrapped, card.trained)
    on_it = card.adapter if adapter is None else looked_at
    if on_it is None:
        return wrapped

    from wheresight.lvlm.adapters import put_on

    return put_on(wrapped, on_it)


def check_precision(dtype: str, attention: str) -> None:
    """Raise ModelError unless both names are known."""
    if dtype not in DTYPES:
        raise ModelError(unknown_name("dtype", dtype, DTYPES))
    if attention not in ATTENTIONS:
        raise ModelError(unknown_name("attention implementation", attention, ATTENTIONS))


def picture_size(processor: Any) -> int | None:
    """Side of the square picture that a processor always makes, or None if it has no such size."""
    images: Any = getattr(processor, "image_processor", None)
    if getattr(images, "image_grid_pinpoints", None):
        return None  # cut into tiles: larger pictures give more tokens
    for name in ("crop_size", "size"):
        size = getattr(images, name, None)
        if isinstance(size, Mapping):
            height, width = size.get("height"), size.get("width")
        else:
            height, width = getattr(size, "height", None), getattr(size, "width", None)
        if height and height == width:
            return int(height)
    return None


def _device(asked: str | None) -> Any:
    import torch

    if asked is None:
        accelerator = torch.accelerator.current_accelerator()
        return accelerator if accelerator is not None else torch.device("cpu")
    try:
        return torch.empty(0, device=asked).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(
            f"The device {asked!r} cannot be used here ({reason}). Name one that torch sees, such "
            "as cpu or cuda:0."
        ) from None


def load_stock(name: str, loader: Callable[..., Any], place: str, **options: Any) -> Any:
    """What a `from_pretrained` of transformers returns; its errors as a sentence.

    Raises:
        ModelError: why it could not be loaded, and what to do.
    """
    try:
        return loader(place, **options)
    except (
        OSError,
        ValueError,
        ImportError,
        KeyError,
        RuntimeError,
        pickle.UnpicklingError,
        SafetensorError,
    ) as error:
        reason = " ".join(str(error).split())
        if len(reason) > 300:
            reason = reason[:300] + " ..."
        hint = ""
        if "safetensors" in reason:
            hint = (
                " Only safetensors weights are read unless pickle files are allowed "
                "(--allow-pickle)."
            )
        elif "trust_remote_code" in reason:
            hint = " Remote code is off unless asked for (--trust-remote-code)."
        elif not Path(place).is_dir():
            hint = (
                " If the hub cannot be reached, download the model elsewhere and give its folder."
            )
        raise ModelError(f"The model {name!r} could not be loaded: {reason}{hint}") from None


def revision(place: str, config: Any) -> str:
    """What identifies the weights: the hub's commit, or a hash of a local folder's files.

    Local weights under 1 GiB are hashed whole. Larger files are identified by name, size and their
    first and last MiB, which holds the safetensors header; a change in the middle that keeps all
    of these would go unseen.
    """
    commit = getattr(config, "_commit_hash", None)
    if commit:
        return str(commit)
    digest = hashlib.sha256()
    files = sorted({file for pattern in _DECISIVE for file in Path(place).glob(pattern)})
    whole = sum(file.stat().st_size for file in files) < _HASH_WHOLE_BELOW
    for file in files:
        digest.update(f"{file.name}:{file.stat().st_size}:".encode())
        with file.open("rb") as stream:
            if whole:
                digest.update(stream.read())
                continue
            digest.update(stream.read(1 << 20))
            stream.seek(max(0, file.stat().st_size - (1 << 20)))
            digest.update(stream.read(1 << 20))
    return "local-" + digest.hexdigest()[:16]
