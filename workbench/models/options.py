"""How a model is loaded, besides its device and dtype. Free of torch, so that command lines can carry it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class LoadOptions:
    """What a person may ask of loading; nothing of it is remembered for the next time."""

    device_map: str | Mapping[str, str | int] = ""
    """"auto": blocks are spread over all GPUs, and what does not fit there stays in host memory or on disk. A table of
    module paths to devices does it by hand. Empty: all of the model is on one device."""
    keep_fp32: bool = False
    """Edited modules are held and used in float32, whatever the dtype of the model."""
    allow_pickle: bool = False
    """Weights may be `.bin` files; only tensors are read from them."""
    trust_remote_code: bool = False
    """Code that comes with the model is run."""
    rehash: bool = False
    """Every weight file is hashed, also where the fingerprint of the same file is known from an earlier run."""

    def to_arguments(self) -> list[str]:
        """The options of a command line that say the same; a map that is a table has none."""
        named = ["--device-map", self.device_map] if isinstance(self.device_map, str) and self.device_map else []
        flags = [name for name in FLAGS if getattr(self, name)]
        return named + [f"--{name.replace('_', '-')}" for name in flags]


FLAGS = ("keep_fp32", "allow_pickle", "trust_remote_code")
"""Those that are on or off, as command lines have them."""
PLAIN = LoadOptions()
"""Nothing special."""
