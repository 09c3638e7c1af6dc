"""Sums that outlive a kill: written now and then, whole or not at all, and believed only if every byte is as written.

A checkpoint lies beside the second moments that are kept, under a name made of all that decides the result: weights,
modules, text, cut, dtype, device, versions. Another run never finds it.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from workbench.models.second_moment import bytes_of, encode_tensors
from workbench.stack import files

FOLDER = "unfinished"
EVERY = 30.0
"""Seconds between two checkpoints unless told otherwise."""
SHARE = 20.0
"""A checkpoint is not written before this many times the last one's time has passed: it costs a twentieth at most."""


@dataclass
class Progress:
    """How far one process is."""

    batches: list[str] = field(default_factory=list)
    """sha256 of every batch that it has summed, in order."""
    tokens: int = 0


class Checkpoint:
    """The file of one process of one run."""

    def __init__(self, folder: Path, settings: Mapping[str, Any], rank: int, every: float) -> None:
        text = json.dumps(settings, sort_keys=True)
        self.settings = hashlib.sha256(text.encode()).hexdigest()
        self.path = folder / FOLDER / f"{self.settings[:24]}-{rank}.safetensors"
        self._every, self._cost, self._last = every, 0.0, time.monotonic()

    @property
    def due(self) -> bool:
        """Whether it is time to write again."""
        return time.monotonic() - self._last >= max(self._every, SHARE * self._cost)

    def write(self, progress: Progress, sums: Mapping[str, Tensor]) -> None:
        """Puts down how far it is. Raises StorageError."""
        start = time.monotonic()
        tensors = {name: total.cpu().contiguous() for name, total in sums.items()}
        about = {"settings": self.settings, "batches": progress.batches, "tokens": progress.tokens}
        metadata = {"workbench": json.dumps(about), "sha256": _digest(about, tensors)}
        files.make_folder(self.path.parent)
        files.write_parts(self.path, encode_tensors(tensors, metadata))
        self._last = time.monotonic()
        self._cost = self._last - start

    def read(self, sums: Mapping[str, Tensor]) -> Progress | None:
        """How far it was, with `sums` filled; None where there is no checkpoint that can be believed."""
        if not self.path.is_file():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                metadata = file.metadata() or {}
                about = json.loads(metadata["workbench"])
                tensors = {name: file.get_tensor(name) for name in sums}
            progress = Progress([str(one) for one in about["batches"]], int(about["tokens"]))
            ours = about["settings"] == self.settings and metadata["sha256"] == _digest(about, tensors)
        except (SafetensorError, OSError, ValueError, KeyError, TypeError, RecursionError, OverflowError):
            return None
        if not ours or any(tensors[name].shape != total.shape for name, total in sums.items()):
            return None
        for name, total in sums.items():
            total.copy_(tensors[name])
        return progress

    def remove(self) -> None:
        """Takes it away: the run is over. Raises StorageError."""
        files.remove(self.path)


def _digest(about: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(about).encode())
    for name in sorted(tensors):
        digest.update(bytes_of(tensors[name]))
    return digest.hexdigest()


def batch_digest(ids: Tensor) -> str:
    """sha256 of a batch of ids, (rows, tokens)."""
    shape = json.dumps(list(ids.shape)).encode()
    return hashlib.sha256(shape + ids.to(torch.int64).contiguous().numpy().tobytes()).hexdigest()
