"""A LLaVA put together from a stock vision tower and a stock language model.

Its class, its processor and all its weights are stock; the projector alone is new.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from wheresight.errors import ModelError
from wheresight.lvlm.loading import (
    ModelCard,
    load_stock,
    picture_size,
    resolve,
    revision,
)
from wheresight.lvlm.trained import make_savable
from wheresight.training.templates import IMAGE, with_pictures

_LAYER = -2  # LLaVA-1.5's: the output of the last block but one
# Towers whose states begin with a class token, which LLaVA leaves out, and towers without one.
_TOWERS = {"clip_vision_model": True, "siglip_vision_model": False}


def compose(
    vision: str,
    language: str,
    *,
    layers: int | tuple[int, ...] | None = None,
    seed: int = 0,
    chat_template: str | None = None,
    trust_remote_code: bool = False,
    allow_pickle: bool = False,
) -> ModelCard:
    """Look at a vision tower and a language model, and say what they make; no weights are read.

    The card's `build` reads them. The tokenizer gets one token more, `<image>`; the embeddings one
    row more if they have none to spare, near the mean of the others. The projector has torch's own
    initial values for linear layers, as LLaVA's has, drawn by the seed.

    Args:
        vision: folder or hub id of a CLIP or SigLIP model, or of its tower alone, with its image
            processor.
        language: folder or hub id of a causal language model with its fast tokenizer.
        layers: the hidden states of the tower that the projector is given, several joined along
            their channels; None is the last but one.
        seed: of the projector.
        chat_template: Jinja text; None is that of the tokenizer, or Vicuna's if it has none.
        trust_remote_code, allow_pickle: as for `load`.

    Raises:
        ModelError: what was given, what was expected, what to do.
    """
    import transformers

    places = resolve(vision), resolve(language)
    remote = {"trust_remote_code": trust_remote_code}
    configs = [
        load_stock(name, transformers.AutoConfig.from_pretrained, place, **remote)
        for name, place in zip((vision, language), places, strict=True)
    ]
    # Before anything is changed in them.
    revisions = [revision(place, config) for place, config in zip(places, configs, strict=True)]
    tower, text = _tower_of(configs[0], vision), _text_of(configs[1], language)
    has_class = _TOWERS[tower.model_type]
    images = load_stock(
        vision, transformers.AutoImageProcessor.from_pretrained, places[0], **remote
    )
    tokenizer = load_stock(
        language, transformers.AutoTokenizer.from_pretrained, places[1], **remote
    )
    image_id = _with_image_token(tokenizer, language)
    picked = _LAYER if layers is None else list(layers) if isinstance(layers, tuple) else layers
    _check_layers(picked, tower, vision)
    strategy: Literal["default", "full"] = "default" if has_class else "full"
    rows = max(text.vocab_size, image_id + 1)
    side = tower.image_size // tower.patch_size
    words = copy.deepcopy(text)
    words.vocab_size = rows
    config = transformers.LlavaConfig(
        vision_config=tower,
        text_config=words,
        image_token_index=image_id,
        image_seq_length=side * side,
        vision_feature_layer=picked,
        vision_feature_select_strategy=strategy,
        tie_word_embeddings=bool(text.tie_word_embeddings),
    )
    processor = transformers.LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=tower.patch_size,
        vision_feature_select_strategy=strategy,
        num_additional_image_tokens=int(has_class),
        chat_template=with_pictures(chat_template or tokenizer.chat_template),
    )
    size = picture_size(processor)
    if size != tower.image_size:
        raise ModelError(
            f"The image processor of {vision!r} makes pictures of side {size}, and its tower takes "
            f"{tower.image_size}. Give the model with the processor that belongs to it."
        )
    whole = "\n".join([*revisions, str(picked), str(seed), str(processor.chat_template)])

    def build(*, dtype: Any, device: Any, attention: str) -> Any:
        loading = {**remote, "dtype": dtype, "use_safetensors": None if allow_pickle else True}
        with _quiet():
            seeing, speaking = (
                _whole(name, loader, place, config=own, **loading)
                for name, loader, place, own in (
                    (vision, transformers.AutoModel.from_pretrained, places[0], tower),
                    (language, transformers.AutoModelForCausalLM.from_pretrained, places[1], text),
                )
            )
        return _joined(config, seeing, speaking, rows, seed, attention).to(device)

    return ModelCard(
        name=f"{vision} + {language}",
        place="",
        revision="composed-" + hashlib.sha256(whole.encode()).hexdigest()[:16],
        config=config,
        processor=processor,
        picture_size=size,
        build=build,
    )


def _joined(config: Any, tower: Any, language: Any, rows: int, seed: int, attention: str) -> Any:
    """The whole model: the parts themselves, and a new projector."""
    import torch
    import transformers

    with _quiet():
        if language.get_input_embeddings().num_embeddings < rows:
            torch.manual_seed(seed)
            language.resize_token_embeddings(rows)
    config = copy.deepcopy(config)
    # The parts keep their own configurations, so that there is one of each.
    config.vision_config, config.text_config = tower.config, language.config
    with torch.device("meta"):
        model: Any = transformers.LlavaForConditionalGeneration(config)
    torch.manual_seed(seed)
    made = type(model.model.multi_modal_projector)(config).to(tower.dtype)
    model.model.vision_tower = tower
    model.model.language_model = language.base_model
    model.model.multi_modal_projector = made
    model.lm_head = language.get_output_embeddings()
    model.tie_weights()
    left = [name for name, weight in model.named_parameters() if weight.is_meta]
    left += [name for name, buffer in model.named_buffers() if buffer.is_meta]
    assert not left, left
    model.generation_config = language.generation_config
    make_savable(model)
    model.set_attn_implementation(attention)
    return model


def _tower_of(config: Any, name: str) -> Any:
    """The configuration of a vision tower, also from that of a model that has one beside a text
    tower."""
    found = getattr(config, "vision_config", config)
    if found.model_type not in _TOWERS:
        raise ModelError(
            f"The model {name!r} ({config.model_type}) is no vision tower that can be put together "
            f"with a language model here. Expected {' or '.join(_TOWERS)}, alone or in its CLIP or "
            "SigLIP model."
        )
    return found


def _text_of(config: Any, name: str) -> Any:
    """The configuration of a causal language model whose layers can be intervened on."""
    import torch
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    if type(config) in MODEL_FOR_CAUSAL_LM_MAPPING and not hasattr(config, "vision_config"):
        with torch.device("meta"):
            model = transformers.AutoModel.from_config(config)
        if all(hasattr(model, part) for part in ("layers", "rotary_emb", "norm")):
            return config
    raise ModelError(
        f"The model {name!r} ({config.model_type}) cannot be the language model of a LLaVA here. "
        "Expected a causal language model of texts with rotary positions, such as Llama, Vicuna, "
        "Mistral or Qwen2."
    )


def _with_image_token(tokenizer: Any, name: str) -> int:
    """The id of `<image>`, added if it is not there; a token for padding if there is none."""
    from tokenizers import AddedToken

    if not getattr(tokenizer, "is_fast", False):
        raise ModelError(
            f"The tokenizer of {name!r} ({type(tokenizer).__name__}) does not tell which text a "
            "token comes from, so answers cannot be found. Give the model with its fast tokenizer."
        )
    tokenizer.add_tokens([AddedToken(IMAGE, special=True, normalized=False)], special_tokens=True)
    if tokenizer.pad_token is None:
        # As LLaVA: the unknown token, which no text has; it is masked everywhere.
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
    return int(tokenizer.convert_tokens_to_ids(IMAGE))


def _check_layers(picked: int | list[int], tower: Any, name: str) -> None:
    states = tower.num_hidden_layers + 1
    for layer in [picked] if isinstance(picked, int) else picked:
        if not -states <= layer < states:
            raise ModelError(
                f"The vision tower of {name!r} has hidden states 0 to {states - 1}, and state "
                f"{layer} was asked for. Name one that it has; -1 is the last."
            )


def _whole(name: str, loader: Any, place: str, **options: Any) -> Any:
    """A model all of whose weights were in the files."""
    model, told = load_stock(name, loader, place, output_loading_info=True, **options)
    missing = sorted({*told["missing_keys"], *told["mismatched_keys"]})
    if missing:
        raise ModelError(
            f"The files of {name!r} lack {len(missing)} weights of a {type(model).__name__} "
            f"({', '.join(map(str, missing[:3]))}, ...). Give a whole model."
        )
    return model


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' table of the weights that a part of a model leaves unread."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def read_template(path: str | None) -> str | None:
    """The text of a file with a chat template, or None.

    Raises:
        ModelError: no such file, or no text.
    """
    if path is None:
        return None
    try:
        return Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(
            f"The chat template {path!r} cannot be read ({error}). Give a file with a Jinja "
            "template, such as chat_template.jinja."
        ) from None
