"""The event of an edit of many requests: how all of them came out, where not every probe is told one by one.

It is part of the wire as those in `workbench.events` are, and is read from there. Free of torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from workbench.event_base import Event


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
