"""Which device and dtype: what was asked for, or the best there is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from workbench.errors import DeviceError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def pick_device(asked: str) -> torch.device:
    """`asked` as a device; "auto" is CUDA if there is one, else the CPU.

    Raises:
        DeviceError: there is no such device here.
    """
    if asked == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(asked)
    except RuntimeError as error:
        raise DeviceError(f"'{asked}' is no device.", "Use auto, cpu, cuda, cuda:1 or mps.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise DeviceError("There is no CUDA device here.", "Use --device cpu, or auto.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(f"There is no {asked} here: {torch.cuda.device_count()} found.", "Use --device auto.")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("There is no MPS device here.", "Use --device cpu, or auto.")
    if device.type not in ("cpu", "cuda", "mps"):
        raise DeviceError(f"The device '{asked}' cannot be used.", "Use auto, cpu, cuda or mps.")
    return device


@contextmanager
def within_memory() -> Iterator[None]:
    """Raises DeviceError where the device, or the machine, runs out of memory inside."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise DeviceError(
            "The device ran out of memory.", "Use fewer context templates, a smaller dtype, or --device cpu."
        ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory ran out; torch has a class of its own for CUDA's alone."""
    words = ("out of memory", "can't allocate memory", "not enough memory", "cannot allocate memory")
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and any(word in str(error).lower() for word in words)
    )


def dtype_name(dtype: torch.dtype) -> str:
    """`dtype` as it is written in files: "float32"."""
    return str(dtype).removeprefix("torch.")
