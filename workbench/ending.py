"""The last word of an engine that cannot go on. Part of the wire, and read from `workbench.events`."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.event_base import Event


@dataclass(frozen=True, kw_only=True)
class EngineEnding(Event):
    """The engine ends itself: what it holds in memory is not to be trusted. What is on disk is whole."""

    reason: str
    """Why, as the part of a sentence that stands in brackets after "Engine stopped"."""
