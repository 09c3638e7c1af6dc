"""Work in a thread of its own, followed from a generator: loading and hashing overlap, and both say how far."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from types import TracebackType
from typing import Generic, Self, TypeVar

from workbench.events import Event, ModelLoading

T = TypeVar("T")
Tell = Callable[[int, int], None]
"""Takes what is done and of how much; raises Stopped where nobody waits for it any more."""

PERIOD = 0.1
"""Seconds between two words about the same work."""


class Stopped(BaseException):
    """Nobody waits for this work any more. No Exception, so that no library takes it for a failure of its own."""


class Task(Generic[T]):
    """Runs `work` at once; leaving the block stops it at its next word."""

    def __init__(self, work: Callable[[Tell], T]) -> None:
        self._work = work
        self._progress = 0.0
        self._stopped = False
        self._result: list[T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stopped = True
        self._thread.join()

    def follow(self, stage: str) -> Generator[Event, None, T]:
        """Waits for the end, and says on the way how far it is; returns what the work returned, or raises its error."""
        said = -1.0
        while self._thread.is_alive():
            if self._progress > said:
                said = self._progress
                yield ModelLoading(stage=stage, fraction=said)
            self._thread.join(PERIOD)
        if self._error is not None:
            raise self._error
        return self._result[0]

    def _run(self) -> None:
        try:
            self._result.append(self._work(self._tell))
        except BaseException as error:  # noqa: BLE001  raised again by whoever follows
            self._error = error

    def _tell(self, done: int, of: int) -> None:
        if self._stopped:
            raise Stopped
        self._progress = min(1.0, done / of) if of else 1.0
