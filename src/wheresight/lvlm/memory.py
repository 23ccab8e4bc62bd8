"""When memory runs out: which errors say so, and what gives memory back."""

from __future__ import annotations

import gc

# What torch's allocator on the CPU and its libraries say in a plain RuntimeError.
_SAID = (
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "out of memory",
    "std::bad_alloc",
    "CUBLAS_STATUS_ALLOC_FAILED",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Does this error say that memory ran out, on an accelerator or on the CPU?"""
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(part in str(error) for part in _SAID)


def release() -> None:
    """Give back what is not used any more; call it when the error itself is forgotten."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
