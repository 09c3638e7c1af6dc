"""What all events carry. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Event:
    """What all events carry."""

    job: str = ""
    """The command this event belongs to; empty: none in particular."""
    seq: int = 0
    """Counts up by one over all of an engine's events."""
    t: float = 0.0
    """Seconds since the Unix epoch."""
