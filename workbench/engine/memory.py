"""How much memory the model and the work on it take."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch

from workbench.events import MemoryUsed
from workbench.models.device import for_float64

_FACTORED = 12
"""Bytes for each number of C while it is factorised: it in float32, its factor in float64."""
PART = 4
"""What is kept on an accelerator for speed alone takes one part in so many of what is free there."""
_STATM = Path("/proc/self/statm")


def memory_used(device: torch.device) -> MemoryUsed | None:
    """Of `device`, in bytes: what tensors take on a GPU, what the process takes on a CPU; None where nobody tells."""
    if device.type == "cpu":
        return _of_the_process()
    if device.type == "mps":
        used = torch.mps.current_allocated_memory()
        return MemoryUsed(used=used, peak=max(used, torch.mps.driver_allocated_memory()))
    module: Any = torch.get_device_module(device)
    used, peak = module.memory_allocated(device), module.max_memory_allocated(device)
    return MemoryUsed(used=used, peak=peak, total=module.get_device_properties(device).total_memory)


def place_of_factor(device: torch.device, dimension: int) -> torch.device | None:
    """`device` if C of so many dimensions is to be factorised there: where it takes a quarter at most of what is free.

    None: on the CPU. A solve reads the whole factor, so what it takes is the memory's time.
    """
    if device.type in ("cpu", "meta") or for_float64(device) != device:
        return None
    module: Any = torch.get_device_module(device)
    try:
        free: int = module.mem_get_info(device)[0] + module.memory_reserved(device) - module.memory_allocated(device)
    except RuntimeError:  # some drivers do not tell
        return None
    return device if PART * _FACTORED * dimension**2 <= free else None


def _of_the_process() -> MemoryUsed | None:
    try:
        import resource
    except ImportError:  # not a Unix
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    if not _STATM.exists():
        return MemoryUsed(used=peak, peak=peak)
    pages = int(_STATM.read_text(encoding="ascii").split()[1])
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return MemoryUsed(used=pages * os.sysconf("SC_PAGE_SIZE"), peak=peak, total=total)
