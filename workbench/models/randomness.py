"""Global random states that are afterwards as they were before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch


@contextmanager
def random_states_kept(devices: Iterable[torch.device]) -> Iterator[None]:
    """The CPU's and those of `devices`, whatever is seeded or drawn inside."""
    with ExitStack() as after, torch.random.fork_rng([]):
        for device in {*devices}:
            if device.type in ("cpu", "meta"):
                continue
            module: Any = torch.get_device_module(device)
            which = () if device.type == "mps" else (device,)  # which is one device, and takes no name
            after.callback(module.set_rng_state, module.get_rng_state(*which), *which)
        yield
