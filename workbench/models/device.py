"""Which device and dtype: what was asked for, or the best there is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache

import torch

from workbench.errors import DeviceError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def pick_device(asked: str) -> torch.device:
    """`asked` as a device; "auto" is CUDA if there is one, else the CPU. Any accelerator that torch has here will do.

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
        _check_accelerator(device, asked)
    return device


def _check_accelerator(device: torch.device, asked: str) -> None:
    """Raises DeviceError unless `device` is of the kind that torch has here, as "xpu" may be."""
    here = torch.accelerator.current_accelerator(check_available=True)
    if here is None or here.type != device.type:
        raise DeviceError(f"The device '{asked}' cannot be used.", "Use auto, cpu, cuda or mps.")
    if (device.index or 0) >= torch.accelerator.device_count():
        raise DeviceError(f"There is no {asked} here: {torch.accelerator.device_count()} found.", "Use --device auto.")


def every_accelerator() -> list[torch.device]:
    """All devices of the kind that torch has here; none on a machine with a CPU alone."""
    here = torch.accelerator.current_accelerator(check_available=True)
    return [torch.device(here.type, index) for index in range(torch.accelerator.device_count())] if here else []


def can_pin(device: torch.device) -> bool:
    """Whether copies between `device` and host memory gain from that being pinned: MPS shares the host's."""
    return device.type not in ("cpu", "meta", "mps")


def room_on_host(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Room on the CPU for copies from and to `device`: pinned, where that helps and the system has some left."""
    if can_pin(device):
        with suppress(RuntimeError):
            return torch.empty(*shape, dtype=dtype, pin_memory=True)
    return torch.empty(*shape, dtype=dtype)


@cache
def for_float64(device: torch.device) -> torch.device:
    """Where float64 for `device` is computed: there, or on the CPU where it has none, as MPS and some XPUs."""
    if device.type in ("cpu", "cuda"):
        return device
    try:
        known = float(torch.ones(1, dtype=torch.float64, device=device) + 1) == 2
    except (RuntimeError, TypeError):
        known = False
    return device if known else torch.device("cpu")


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
