"""Which columns of the history the keys of an attention call are, and which of them are visible.

Keys are not always the whole history: a sliding cache has dropped the oldest, a static one has
room for more at the end.

Legend: B batch, Q query rows, S key columns, C columns of the history.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from wheresight.errors import ModelError


def keys_of(history: torch.Tensor, keys: int) -> torch.Tensor:
    """What holds for each column (..., C), for each key (..., S); zeros for room to come."""
    columns = history.shape[-1]
    if columns >= keys:
        return history[..., columns - keys :]
    return F.pad(history, (0, keys - columns))


def history_of(keys: torch.Tensor, columns: int) -> torch.Tensor:
    """The inverse of `keys_of`: (..., S) to (..., C); zeros for what has been dropped."""
    count = keys.shape[-1]
    if columns >= count:
        return F.pad(keys, (columns - count, 0))
    return keys[..., :columns]


def visible(
    mask: object, rows: torch.Tensor, columns: int, keys: int, window: int | None = None
) -> torch.Tensor:
    """Which keys the mask of an attention call lets chosen query rows see.

    Args:
        mask: what the attention function is given: (B or 1, 1, T, S) of the call's own T tokens,
            bool or additive; (B, S) for flash attention; None for plain causal attention.
        rows: (B or 1, Q), columns of the history that the chosen query rows are.
        columns: C.
        keys: S.
        window: how many columns a row sees, itself included, where the attention function cuts
            that off without a mask; None for all.

    Returns:
        (B or 1, 1, Q, S) bool.

    Raises:
        ModelError: a mask of another kind, which cannot be read.
    """
    if isinstance(mask, torch.Tensor) and mask.ndim == 4:
        allowed = mask if mask.dtype == torch.bool else mask > torch.finfo(mask.dtype).min / 2
        own = rows - (columns - mask.shape[2])
        batch = max(mask.shape[0], rows.shape[0])
        index = own[:, None, :, None].expand(batch, 1, -1, mask.shape[-1])
        return allowed[:, :1].expand(batch, 1, -1, -1).gather(2, index)[..., :keys]
    if mask is not None and not (isinstance(mask, torch.Tensor) and mask.ndim == 2):
        raise ModelError(
            f"The attention mask is a {type(mask).__name__}, which cannot be read. Load the model "
            "with attn_implementation='sdpa' or 'eager'."
        )
    key = keys_of(torch.arange(columns, device=rows.device), keys)
    behind = rows[..., None] - key
    room = torch.arange(keys, device=rows.device) >= columns if keys > columns else None
    seen = behind >= 0
    if window is not None:
        seen = seen & (behind < window)
    if room is not None:
        seen = seen & ~room
    if mask is not None:
        seen = seen & keys_of(mask != 0, keys)[:, None]
    return seen[:, None]


def as_taken(allowed: torch.Tensor, attention: str, dtype: torch.dtype) -> torch.Tensor:
    """A mask of what may be attended to, of the kind that an attention function takes.

    Args:
        allowed: bool, of any shape.
        attention: the name that the module's attention is set to.
        dtype: of the queries. Eager attention adds the mask to its logits, where a True would be
            a one; the others take booleans.
    """
    if not attention.endswith("eager"):
        return allowed
    lowest = torch.finfo(dtype).min
    return torch.zeros_like(allowed, dtype=dtype).masked_fill(~allowed, lowest)
