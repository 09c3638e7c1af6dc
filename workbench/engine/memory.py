"""How much memory the model and the work on it take."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch

from workbench.events import MemoryUsed

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
