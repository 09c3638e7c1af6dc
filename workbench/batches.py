"""The events of many requests at a time: that updates begin to be made together, how an edit of many came out.

They are part of the wire as those in `workbench.events` are, and are read from there. Free of torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from workbench.event_base import Event


@dataclass(frozen=True, kw_only=True)
class TogetherStarted(Event):
    """The updates of several edits begin to be made on one state; each edit has its own EditStarted afterwards."""

    request: dict[str, Any]
    """The first of them, as EditRequest.to_json."""
    recipe: dict[str, Any]
    module: str
    requests: int
    """How many edits there will be."""
    index: int = 1
    of: int = 1
    """The first is edit `index` of `of` that were asked for."""


@dataclass(frozen=True, kw_only=True)
class BatchProbed(Event):
    """The probes of an edit's requests, counted."""

    requests: int
    """Those in the edit; each one's efficacy was asked."""
    sampled: int
    """Those whose paraphrases and neighbours were asked too."""
    seed: int
    """Of the sample."""
    efficacy: tuple[int, int]
    """(held, asked)."""
    paraphrases: tuple[int, int] | None = None
    neighbours: tuple[int, int] | None = None
    es: float | None = None
    """Share of the requests that hold."""
    ps: float | None = None
    """Mean over requests of the share of their paraphrases that hold."""
    ns: float | None = None
    s: float = 0.0
    """Harmonic mean of those that are there."""
    left_out: int = 0
    """Requests that were asked for and could not be made: they are in no count, and not in the edit."""
