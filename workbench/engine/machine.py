"""What this machine has: versions, devices, memory."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from importlib import metadata
from typing import Any

import torch

from workbench import __version__
from workbench.events import Finding
from workbench.models.device import every_accelerator

LIBRARIES = ("torch", "transformers", "safetensors", "numpy", "textual")
_BFLOAT16 = 8
"""CUDA's compute capability from which bfloat16 is the hardware's own; torch emulates it below, slowly."""
GIB = 2**30
MIB = 2**20


def machine() -> Iterator[Finding]:
    """The software and the devices."""
    yield Finding(
        topic="python",
        verdict="fine",
        message=f"{platform.python_version()} on {platform.system()} {platform.machine()}; workbench {__version__}",
    )
    yield Finding(topic="libraries", verdict="fine", message=", ".join(_version(name) for name in LIBRARIES))
    yield Finding(
        topic="cpu", verdict="fine", message=f"{os.cpu_count() or 1} cores, torch uses {torch.get_num_threads()}"
    )
    yield from _accelerators()


def _version(name: str) -> str:
    try:
        return f"{name} {metadata.version(name)}"
    except metadata.PackageNotFoundError:
        return f"{name} is not installed"


def _accelerators() -> Iterator[Finding]:
    kind = "cuda" if torch.cuda.is_available() else next((device.type for device in every_accelerator()), "")
    if kind == "mps":
        yield Finding(topic="mps", verdict="fine", message="Apple GPU; weights are summed on the CPU")
    elif kind:
        module: Any = torch.get_device_module(kind)
        yield from (_about(module, torch.device(kind, number)) for number in range(module.device_count()))
    else:
        yield Finding(topic="devices", verdict="note", message="no CUDA and no MPS: all work is done on the CPU")


def _about(module: Any, device: torch.device) -> Finding:
    """A device by its name, its memory and what it computes in; `module` is torch's for its kind."""
    try:
        about, free = module.get_device_properties(device.index), module.mem_get_info(device.index)[0]
    except RuntimeError as error:  # held by another process alone, or out of order
        said = next(iter(str(error).splitlines()), "")
        return Finding(
            topic=str(device), verdict="note", message=f"cannot be used: {said}", hint="Use another, or --device cpu."
        )
    half = "bfloat16 and float16"
    if device.type == "cuda" and not torch.version.hip and about.major < _BFLOAT16:
        half = "float16, no bfloat16"
    memory = f"{free / GIB:.1f} of {about.total_memory / GIB:.1f} GiB free"
    return Finding(topic=str(device), verdict="fine", message=f"{about.name}, {memory}, {half}")
