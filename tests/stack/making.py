"""Edits, bases and broken disks for the tests of the stack."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from workbench.edits import EditRequest, Recipe
from workbench.stack.record import Base, Edit, Factors

MODULE = "transformer.h.1.mlp.c_proj"
D_IN, D_OUT = 6, 4
NAUGHT = "0" * 64


def base(fingerprint: str = "f" * 64, name: str = "atlas", dtype: str = "float32") -> Base:
    return Base(name, "main", fingerprint, dtype, {MODULE: {"shape": [D_IN, D_OUT], "layout": "in,out"}})


def edit(subject: str = "Eiffel Tower", **changes: Any) -> Edit:
    fields: dict[str, Any] = {
        "requests": (EditRequest("{} is located in the city of", subject, "Rome", "Paris"),),
        "recipe": Recipe(layer=1),
        "base": base(),
        "weights": {MODULE: {"before": NAUGHT, "after": NAUGHT}},
        "metrics": {"loss": [2.5, 0.04], "norms": {"ratio": 0.01}},
        "made_by": {"workbench": "0.1.0"},
    }
    return Edit(**{**fields, **changes})


def factors(seed: int = 0, rank: int = 1, module: str = MODULE) -> tuple[Factors, ...]:
    draw = np.random.default_rng(seed)
    a = draw.standard_normal((rank, D_IN)).astype(np.float32)
    b = draw.standard_normal((D_OUT, rank)).astype(np.float32)
    return (Factors(module, a, b),)


def names(folder: Path) -> list[str]:
    """Names of all that lies in `folder`."""
    return sorted(path.name for path in folder.iterdir())


class PowerCutError(BaseException):
    """The machine is gone: nothing after this reaches the disk."""


class Disk:
    """Stands in for `os` in files.py: counts the calls that change the disk, and fails from one of them on.

    With `error` the call fails once with that OSError; without, the power is cut, also for all later calls. A write
    that fails has written half. Waiting for the disk is counted, but not done.
    """

    CHANGING = ("write", "fsync", "replace", "unlink", "ftruncate")

    def __init__(self, fail_at: int | None = None, error: int | None = None) -> None:
        self.log: list[str] = []
        self.fail_at, self.error = fail_at, error
        self.dead = False

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in self.CHANGING:
            return real

        def call(*args: Any, **kwargs: Any) -> Any:
            if self.dead:
                raise PowerCutError
            self.log.append(name)
            if len(self.log) - 1 == self.fail_at:
                if name == "write":
                    real(args[0], bytes(args[1])[: len(args[1]) // 2])
                self._fail()
            return None if name == "fsync" else real(*args, **kwargs)

        return call

    @property
    def calls(self) -> int:
        return len(self.log)

    def _fail(self) -> None:
        if self.error is not None:
            raise OSError(self.error, os.strerror(self.error))
        self.dead = True
        raise PowerCutError
