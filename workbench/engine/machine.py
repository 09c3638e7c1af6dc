"""What this machine has: versions, devices, memory."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from importlib import metadata

import torch

from workbench import __version__
from workbench.events import Finding

LIBRARIES = ("torch", "transformers", "safetensors", "numpy", "textual")
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
    for number in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(number)
        half = "bfloat16 and float16" if torch.cuda.is_bf16_supported() else "float16, no bfloat16"
        free = torch.cuda.mem_get_info(number)[0]
        yield Finding(
            topic=f"cuda:{number}",
            verdict="fine",
            message=f"{about.name}, {free / GIB:.1f} of {about.total_memory / GIB:.1f} GiB free, {half}",
        )
    if torch.backends.mps.is_available():
        yield Finding(topic="mps", verdict="fine", message="Apple GPU; weights are summed on the CPU")
    elif not torch.cuda.is_available():
        yield Finding(topic="devices", verdict="note", message="no CUDA and no MPS: all work is done on the CPU")
