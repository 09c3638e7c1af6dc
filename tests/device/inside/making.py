"""Engines on a device, and what came out of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import numpy as np

from tests.engine.making import drain
from workbench import events as ev
from workbench.engine.engine import Engine, open_engine
from workbench.models.options import PLAIN, LoadOptions

CLOSE = 2e-5
"""How far an update made on a device may be from the CPU's: what attention by another kernel rounds otherwise."""
E = TypeVar("E", bound=ev.Event)


def open_at(
    model: Path, stack: Path, device: str, dtype: str = "auto", options: LoadOptions = PLAIN, *, write: bool = True
) -> Engine:
    """An engine whose model is on `device`."""
    return drain(open_engine(str(model), device=device, dtype=dtype, options=options, stack=stack, write=write))[1]


def only(events: Iterable[ev.Event], kind: type[E]) -> list[E]:
    """The events of one kind."""
    return [event for event in events if isinstance(event, kind)]


def said(events: Iterable[ev.Event]) -> list[str]:
    """Warnings, but for those that the recipe asks for."""
    return [event.message for event in only(events, ev.Warning) if not event.message.startswith("C = I")]


def verified(engine: Engine) -> set[str]:
    """What verifying the stack says of its edits."""
    return {event.outcome for event in only(drain(engine.verify())[0], ev.Verified)}


def apart(one: Engine, other: Engine) -> float:
    """Largest relative difference of the factors of the edits on both lines."""
    found = []
    for mine, theirs in zip(one.stack.line, other.stack.line, strict=True):
        for a, b in zip(one.stack.factors(mine), other.stack.factors(theirs), strict=True):
            found += [np.linalg.norm(x - y) / np.linalg.norm(y) for x, y in ((a.a, b.a), (a.b, b.b))]
    return float(max(found))


def on_both(model: Path, folder: Path, device: str) -> tuple[Engine, Engine]:
    """Engines on the CPU and on `device`, with an empty stack each."""
    return open_at(model, folder / "here", "cpu"), open_at(model, folder / "there", device)
