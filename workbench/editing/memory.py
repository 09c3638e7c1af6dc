"""Knowing that memory was short from what torch says, which is another thing on every device."""

from __future__ import annotations

import torch


def out_of_memory(error: BaseException) -> bool:
    """Whether `error` is an allocation that failed."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )
