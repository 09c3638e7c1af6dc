"""The ways out of the screen that nobody chose: SIGTERM, SIGHUP, a terminal that is closed. Each leaves it sane."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import threading
from collections.abc import Callable
from types import FrameType

from workbench.tui import garbage
from workbench.tui.typed_ahead import TypedAheadApp

SIGNALS = ("SIGTERM", "SIGHUP")
HANG_UP = 1
"""SIGHUP, also where it is not known by name."""
LONGEST = 15.0
"""Seconds that leaving may take: twice what an engine is given to end."""


async def until_left(app: TypedAheadApp) -> int:
    """Runs `app`; returns its exit code, 128 and the signal's number if a signal ended it."""
    loop, leaving = asyncio.get_running_loop(), _Leaving()

    def on_signal(number: int, _: FrameType | None) -> None:
        leaving.begin(number)
        with contextlib.suppress(RuntimeError):  # the loop has ended already
            loop.call_soon_threadsafe(app.exit, None, 128 + number)

    def on_hang_up() -> None:
        on_signal(HANG_UP, None)

    if os.isatty(0):
        threading.Thread(target=_watch, args=(on_hang_up,), daemon=True, name="terminal").start()
    before = {number: signal.signal(number, on_signal) for number in _numbers()}
    tending = asyncio.create_task(garbage.tend(lambda: app.untouched))
    try:
        await app.run_async()
    finally:
        tending.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)
    return leaving.code or app.return_code or 0


class _Leaving:
    """What a signal begins, and sees through if the screen cannot."""

    def __init__(self) -> None:
        self.code = 0

    def begin(self, number: int) -> None:
        """The first signal decides the exit code; after a hang-up there is no terminal to write to any more."""
        if number == HANG_UP:
            _let_go_of_the_terminal()
        if not self.code:
            self.code = 128 + number
            last = threading.Timer(LONGEST, os._exit, (self.code,))
            last.daemon = True
            last.start()


def _watch(on_hang_up: Callable[[], None]) -> None:
    """Waits until the terminal is gone: it may go without a signal, as under nohup."""
    poll = getattr(select, "poll", None)
    if poll is None:
        return
    terminal = poll()
    terminal.register(0, 0)
    if any(happened & select.POLLHUP for _, happened in terminal.poll()):
        on_hang_up()


def _numbers() -> list[signal.Signals]:
    """Of the signals that this system has, those that a person has not asked to be ignored."""
    found = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
    return [number for number in found if signal.getsignal(number) is not signal.SIG_IGN]


def _let_go_of_the_terminal() -> None:
    """Descriptors 0, 1 and 2 become nothing: what a terminal that is gone answers would end the way out."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)
