"""Ctrl+C: at first a request to stop where nothing is half done, then the end of the process."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import ClassVar

from workbench.errors import Interrupted
from workbench.event_base import Event

CODE = 130
_SHOW_CURSOR = "\x1b[?25h\n"
_SAID = "\nStopping; nothing stays half done. Ctrl+C again quits at once.\n"


class Interrupt:
    """What Ctrl+C does now. Ordinarily it raises KeyboardInterrupt; within `gently` the first one only asks."""

    current: ClassVar[Interrupt | None] = None

    def __init__(self) -> None:
        self.pressed = False
        """Ctrl+C came at least once."""
        self._gentle = False

    def __call__(self) -> bool:
        """True when the person asked to stop: what an engine's `cancelled` wants."""
        return self.pressed

    @classmethod
    @contextmanager
    def installed(cls) -> Iterator[Interrupt]:
        """Handles SIGINT within; outside the main thread, where signals cannot be handled, does nothing."""
        interrupt, before = cls(), None
        if threading.current_thread() is threading.main_thread():
            before = signal.signal(signal.SIGINT, interrupt.handle)
        cls.current = interrupt
        try:
            yield interrupt
        finally:
            cls.current = None
            if before is not None:
                signal.signal(signal.SIGINT, before)

    @contextmanager
    def gently(self) -> Iterator[Interrupt]:
        """Within, the first Ctrl+C only sets `pressed`; the second ends the process at once."""
        self._gentle = True
        try:
            yield self
        finally:
            self._gentle = False

    def handle(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002  the signal's own shape
        """The signal handler."""
        again, self.pressed = self.pressed, True
        if not self._gentle:
            raise KeyboardInterrupt
        if again:
            _write(_SHOW_CURSOR)
            os._exit(CODE)
        _write(_SAID)


def interruptible(begin: Callable[[Callable[[], bool]], Iterable[Event]]) -> Generator[Event, None, None]:
    """The events of a job that Ctrl+C stops gently.

    Args:
        begin: gets what the job shall ask whether to stop, and starts it.

    Raises:
        Interrupted: the job has stopped, because Ctrl+C was pressed.
    """
    with (Interrupt.current or Interrupt()).gently() as interrupt:
        yield from begin(interrupt)
        if interrupt.pressed:
            raise Interrupted("Stopped; nothing is half done.")


def _write(text: str) -> None:
    """Past Python's buffers, which may be locked by what was interrupted; only where a person looks."""
    if sys.stderr is not None and sys.stderr.isatty():
        os.write(2, text.encode())
