"""The answers to guards' questions: from the thread that reads commands to the one that waits for them. No torch."""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import cast

from workbench.guards import DECISIONS, Decision

_LOOK = 0.1
"""Seconds between two looks at whether anybody is still there to answer."""


class Decisions:
    """What a screen said becomes of an edit. A screen that is gone, or has stopped the job, has said discard."""

    def __init__(self) -> None:
        self._given: queue.SimpleQueue[tuple[str, Decision]] = queue.SimpleQueue()

    def forget(self) -> None:
        """What was said before a question is asked is no answer to it."""
        while not self._given.empty():
            self._given.get()

    def give(self, job: str, answer: str) -> None:
        """Takes an answer. Raises ValueError if it is none."""
        if answer not in DECISIONS:
            raise ValueError(f"'{answer}' is none of {', '.join(DECISIONS)}")
        self._given.put((job, cast("Decision", answer)))

    def wait(self, job: str, stopped: Callable[[], bool]) -> Decision:
        """The answer for `job`, whenever it comes; discard as soon as `stopped`."""
        while not stopped():
            try:
                of, answer = self._given.get(timeout=_LOOK)
            except queue.Empty:
                continue
            if of == job:
                return answer
        return "discard"
