"""Ctrl+C: ends what waits at once, asks what works to stop, and the second time ends everything."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from workbench import events as ev
from workbench.cli.interrupt import Interrupt, interruptible
from workbench.errors import Interrupted


def test_ctrl_c_ends_what_waits() -> None:
    with Interrupt.installed() as interrupt:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert interrupt.pressed


def test_ctrl_c_asks_what_works_to_stop_and_all_its_events_still_come() -> None:
    def work(cancelled: Callable[[], bool]) -> Iterator[ev.Event]:
        yield ev.Log(message="working")
        while not cancelled():
            signal.raise_signal(signal.SIGINT)
        yield ev.EditCancelled(position=0)

    with Interrupt.installed():
        events = interruptible(work)
        assert [type(next(events)) for _ in range(2)] == [ev.Log, ev.EditCancelled]
        with pytest.raises(Interrupted):
            next(events)


def test_work_that_nobody_stops_ends_by_itself() -> None:
    with Interrupt.installed():
        assert len(list(interruptible(lambda _: iter([ev.Log(message="a"), ev.Log(message="b")])))) == 2


def test_the_former_handler_is_back_afterwards() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interrupt.installed():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before


def test_the_second_ctrl_c_ends_the_process_at_once() -> None:
    code = """
import signal
from workbench.cli.interrupt import Interrupt
with Interrupt.installed() as interrupt, interrupt.gently():
    signal.raise_signal(signal.SIGINT)
    print("asked", flush=True)
    signal.raise_signal(signal.SIGINT)
    print("never", flush=True)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "asked\n", "")
