"""Processors of models that also take videos, where only pictures are shown to them.

Their stock classes want a video processor, and transformers' video processors need torchvision.
Pictures do not, so without torchvision the stock class is made without its video half.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any


def stills_only(stock: type) -> type:
    """A subclass of a stock processor without a video processor: None stands in its place.

    Pictures are prepared by the stock code; videos cannot be given.
    """

    def parts(cls: type) -> list[str]:
        return [name for name in stock.get_attributes() if name != "video_processor"]  # type: ignore[attr-defined]

    less: dict[str, Any] = {"get_attributes": classmethod(parts), "video_processor": None}
    return type(stock.__name__, (stock,), less)


def load_processor(place: str, **options: Any) -> Any:
    """A model's stock processor, without its video half where that cannot be had.

    Args:
        place: folder or hub id.
        options: of `from_pretrained`.

    Raises:
        what `AutoProcessor.from_pretrained` raises, if the processor needs more than that.
    """
    import transformers

    try:
        return transformers.AutoProcessor.from_pretrained(place, **options)
    except (ImportError, OSError, ValueError, TypeError) as error:
        stock = _class_with_videos(place, options)
        if stock is None:
            raise
        try:
            return _without_videos(stock, place, options)
        except (ImportError, OSError, ValueError, TypeError):
            raise error from None


def _class_with_videos(place: str, options: dict[str, Any]) -> type | None:
    """The class of a model's processor if it takes a video processor, else None."""
    import transformers
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES

    config = transformers.AutoConfig.from_pretrained(place, **options)
    found = getattr(transformers, PROCESSOR_MAPPING_NAMES.get(config.model_type) or "", None)
    if found is None or "video_processor" not in inspect.signature(found.__init__).parameters:
        return None
    return found


def _without_videos(stock: type, place: str, options: dict[str, Any]) -> Any:
    import transformers

    images = transformers.AutoImageProcessor.from_pretrained(place, backend="pil", **options)
    tokenizer = transformers.AutoTokenizer.from_pretrained(place, **options)
    template = tokenizer.chat_template or _template(place)
    return stills_only(stock)(
        image_processor=images, tokenizer=tokenizer, video_processor=None, chat_template=template
    )


def _template(place: str) -> str | None:
    """The chat template in a folder's own files, or in the hub's."""
    from transformers.utils import cached_file

    for name in ("chat_template.jinja", "chat_template.json"):
        found = cached_file(place, name, _raise_exceptions_for_missing_entries=False)
        if found is not None:
            text = Path(found).read_text(encoding="utf-8")
            return text if name.endswith("jinja") else str(json.loads(text)["chat_template"])
    return None
