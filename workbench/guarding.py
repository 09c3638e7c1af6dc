"""The events of a guard: what is looked at after an edit besides its own probes, what passed its limit, what is asked.

They are part of the wire as those in `workbench.events` are, and are read from there. Free of torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from workbench.event_base import Event


@dataclass(frozen=True, kw_only=True)
class GuardTripped(Event):
    """A measure passed its limit; the edit is in the model and not yet on disk."""

    measure: str
    """As in `workbench.guards.MEASURES`."""
    value: float | None
    """None: infinite or not a number, which is beyond any limit."""
    limit: float


@dataclass(frozen=True, kw_only=True)
class GuardAsked(Event):
    """The engine waits to be told what becomes of the edit: keep, discard, or continue."""

    measures: tuple[str, ...]
    """Those that passed their limits, each told as GuardTripped before."""


@dataclass(frozen=True, kw_only=True)
class EarlierProbed(Event):
    """How the earlier edits of the stack hold once a new one is in the model: all of them, or an even sample."""

    earlier: int
    """Edits before this one that could be asked."""
    earlier_asked: int
    earlier_held: int
    """Of those asked: edits whose target still wins."""
    neighbours_asked: int
    neighbours_held: int
    """Of the asked edits' neighbours: prompts that still keep their answer."""
    lost: tuple[int, ...] = ()
    """Numbers, on the line, of the edits that no longer hold."""


@dataclass(frozen=True, kw_only=True)
class MemoryUsed(Event):
    """Memory while an edit is made, in bytes."""

    used: int
    """By tensors on a GPU; by the whole process on a CPU."""
    peak: int
    """The most since the model was loaded."""
    total: int | None = None
    """What the device, or the machine, has."""
