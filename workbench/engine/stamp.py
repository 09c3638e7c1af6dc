"""Stamps events with job, sequence number and time."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace

from workbench.events import Event


class Stamp:
    """One counter for all events of one engine."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def __call__(self, event: Event, job: str) -> Event:
        """`event` as part of `job`, now."""
        return replace(event, job=job, seq=next(self._numbers), t=time.time())
