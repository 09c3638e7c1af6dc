"""A pretend accelerator: devices `pretend:0` and `pretend:1`, other devices to torch, in the CPU's memory.

What mixes their tensors with the CPU's, or with each other's, fails as on CUDA; a number is read, and a tensor is
moved, by a copy from the device; generators belong to a device. Every operation is the CPU's own. What is copied into
pinned memory without waiting is there only after a wait: until then the memory holds rubbish. `without_float64` makes
them like Apple's, and `memory_limit` small.

To use it, put a test file into tests/device/inside/ (it runs in a process of its own, since a process has the device
for good once it was asked for) and take the fixture `device`, the name "pretend:0". To count what waits:

    with pretend.counting() as counts:
        ...
    assert counts.waits == 0     # nothing stood still until the device was done
    assert counts.scalars == 0   # no item(), no bool(), no branch on a tensor

`pretend.no_waiting()` raises where something waits, so that the traceback names the line. `counts.later` are copies
that go on by themselves; `counts.too_early` is how often pinned memory was changed while a copy from it was under way.
Wait with `torch.accelerator.synchronize()` or a `torch.Event("pretend")`, as on any accelerator.

Waits are what `torch.cuda.set_sync_debug_mode` calls so: numbers that are read, blocking copies to the host and from it
(`torch.tensor(..., device=...)` too), boolean masks as indices, `nonzero` and its like, `equal`, `synchronize`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cache
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch.utils import backend_registration

from tests.device.building import library
from workbench.models.device import for_float64

NAME = "pretend"


@dataclass
class Counts:
    """What was done on the devices inside a `counting()`; filled in when it is left. In the order of pretend.h."""

    scalars: int = 0
    """Numbers read one by one."""
    to_host: int = 0
    """Copies to the host that were waited for."""
    to_device: int = 0
    """Copies from the host that were waited for."""
    answers: int = 0
    """Operations that only the device can tell the end of: nonzero, boolean masks, equal."""
    synchronised: int = 0
    """Waits that were asked for in so many words."""
    later_to_host: int = 0
    """Copies into pinned memory that were not waited for."""
    later_to_device: int = 0
    """Copies from the host that were not waited for."""
    across: int = 0
    """Copies from one device to another."""
    too_early: int = 0
    """Copies from pinned memory that was changed before anybody waited: found out at the next wait."""

    @property
    def waits(self) -> int:
        """How often the host stood still."""
        return self.scalars + self.to_host + self.to_device + self.answers + self.synchronised

    @property
    def later(self) -> int:
        """Copies that nobody waited for."""
        return self.later_to_host + self.later_to_device


@cache
def plug_in() -> ctypes.CDLL:
    """Gives this process the devices, for good. Raises building.NoCompilerError."""
    compiled = ctypes.CDLL(str(library()))
    compiled.pretend_count.restype = ctypes.c_int64
    compiled.pretend_limit.argtypes = [ctypes.c_int, ctypes.c_int64]
    compiled.pretend_register()
    backend_registration.rename_privateuse1_backend(NAME)
    backend_registration.generate_methods_for_privateuse1_backend(for_storage=True)
    register: Any = torch._register_device_module
    register(NAME, _module())
    return compiled


@contextmanager
def counting() -> Iterator[Counts]:
    """Counts what is done inside."""
    before, counts = _read(), Counts()
    try:
        yield counts
    finally:
        for field, first, last in zip(fields(Counts), before, _read(), strict=True):
            setattr(counts, field.name, last - first)


@contextmanager
def no_waiting() -> Iterator[None]:
    """Whatever waits for a device inside raises RuntimeError."""
    plug_in().pretend_forbid(1)
    try:
        yield
    finally:
        plug_in().pretend_forbid(0)


@contextmanager
def without_float64() -> Iterator[None]:
    """The devices have no float64 inside, as MPS has none: TypeError where a tensor of it is made there."""
    plug_in().pretend_narrow(1)
    for_float64.cache_clear()
    try:
        yield
    finally:
        plug_in().pretend_narrow(0)
        for_float64.cache_clear()


@contextmanager
def memory_limit(size: int, index: int = 0) -> Iterator[None]:
    """A device has no more than `size` bytes inside: torch.OutOfMemoryError, as from CUDA."""
    plug_in().pretend_limit(index, size)
    try:
        yield
    finally:
        plug_in().pretend_limit(index, 1 << 40)


def fill(device: str) -> None:
    """Leaves no byte of `device` free, for as long as a `memory_limit` lasts that is around it."""
    index = torch.device(device).index
    plug_in().pretend_limit(index, torch.accelerator.memory_allocated(index))


def _read() -> list[int]:
    return [plug_in().pretend_count(number) for number in range(len(fields(Counts)))]


class _Device:
    """`with torch.pretend.device(1):`"""

    def __init__(self, device: Any) -> None:
        self._index = torch.device(NAME, device) if isinstance(device, int) else torch.device(device)
        self._before = 0

    def __enter__(self) -> None:
        self._before = torch.accelerator.current_device_index()
        torch.accelerator.set_device_index(self._index)

    def __exit__(self, *_: object) -> None:
        torch.accelerator.set_device_index(self._before)


def _module() -> Any:
    """What torch and the libraries on it look for under `torch.pretend`."""
    module: Any = ModuleType(f"torch.{NAME}")
    module.is_available = module.is_initialized = lambda: True
    module._is_in_bad_fork = lambda: False
    module._lazy_init = lambda: None
    module.device_count = lambda: 2
    module.current_device = torch.accelerator.current_device_index
    module.set_device = torch.accelerator.set_device_index
    module.synchronize = torch.accelerator.synchronize
    module.device = _Device
    module.get_amp_supported_dtype = lambda: [torch.float16, torch.bfloat16]
    module.is_bf16_supported = lambda: True
    module.manual_seed = lambda seed: _generator(None).manual_seed(seed)
    module.manual_seed_all = lambda seed: [_generator(index).manual_seed(seed) for index in range(2)]
    module.get_rng_state = lambda device=None: _generator(device).get_state()
    module.set_rng_state = lambda state, device=None: _generator(device).set_state(state)
    module.empty_cache = lambda: None
    for name in ("memory_allocated", "max_memory_allocated", "memory_reserved"):
        setattr(module, name, getattr(torch.accelerator, name))
    module.mem_get_info = torch.accelerator.get_memory_info
    module.get_device_properties = lambda device=None: SimpleNamespace(
        name="Pretend", total_memory=torch.accelerator.get_memory_info(device)[1]
    )
    return module


def _generator(device: Any) -> Any:
    """The default generator of a device: a number, a name, a torch.device, or None for the present one."""
    number = device if isinstance(device, int) or device is None else torch.device(device).index
    return torch.ops.pretend.generator(-1 if number is None else number)
