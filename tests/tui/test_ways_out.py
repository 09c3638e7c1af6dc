"""However the program ends, the terminal is as it was and no engine is left."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

if os.name != "posix":
    pytest.skip("needs a pseudo-terminal", allow_module_level=True)

from tests.tui.terminal import Terminal

ENGINE = f"{sys.executable} {Path(__file__).with_name('fake_engine.py')}"


def opened(place: Path, *options: str, ignore: int = 0, **env: str) -> Terminal:
    """The program with an engine elsewhere, in a folder and with a user's folder of its own."""
    (place / "work").mkdir(exist_ok=True)
    env["WORKBENCH_CONFIG"] = str(place / "config")
    return Terminal(["--engine", ENGINE, *options], place / "work", (100, 30), ignore=ignore, patience=15, **env)


@pytest.fixture
def editing(tmp_path: Path) -> Iterator[Terminal]:
    """The program with an edit of a minute in progress."""
    with opened(tmp_path, FAKE_SECONDS="60") as terminal:
        terminal.until_said("○ idle")
        terminal.press(*"France", "tab", *"The capital of {} is", "tab", *"Rome", "enter")
        terminal.until_said("1 item", "queued")
        terminal.press("ctrl+r")
        terminal.until_said("RUNNING")
        assert len(terminal.engines()) == 1
        yield terminal


def gone(terminal: Terminal, seconds: float = 20.0) -> bool:
    """Whether no engine is left after so long at most."""
    end = time.monotonic() + seconds
    while terminal.engines() and time.monotonic() < end:
        time.sleep(0.05)
    return not terminal.engines()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_with_a_sane_terminal_and_the_signals_code(editing: Terminal, number: signal.Signals) -> None:
    os.kill(editing.process.pid, number)
    assert editing.wait() == 128 + number
    assert number == signal.SIGHUP or editing.is_sane()
    assert gone(editing)


def test_a_closed_terminal_ends_the_program_and_its_engine(editing: Terminal) -> None:
    editing.close()
    assert editing.process.wait(timeout=30) == 128 + signal.SIGHUP
    assert gone(editing)


def test_a_program_that_is_killed_leaves_no_engine(editing: Terminal) -> None:
    os.kill(editing.process.pid, signal.SIGKILL)
    assert editing.wait() == -signal.SIGKILL
    assert gone(editing)


def test_a_terminal_that_goes_without_a_word_ends_the_program_too(tmp_path: Path) -> None:
    with opened(tmp_path, ignore=signal.SIGHUP) as terminal:
        terminal.until_said("○ idle")
        terminal.close()
        assert terminal.process.wait(timeout=30) != 0
        assert gone(terminal)


def test_the_queue_is_kept_by_the_engine_and_its_stack_not_in_the_folder(editing: Terminal, tmp_path: Path) -> None:
    editing.press("ctrl+q")
    editing.until_said("Stop now")
    editing.press("n")
    assert editing.wait() == 0
    assert editing.is_sane()
    assert list((tmp_path / "work").iterdir()) == []
    with opened(tmp_path) as again:
        again.until_said("○ idle", "France", "queued")
        again.press("ctrl+q")
        assert again.wait() == 0
    with opened(tmp_path, "--stack", "edits/other") as other:
        other.until_said("○ idle", "No edits wait")


def test_an_edit_in_flight_goes_back_when_the_engine_is_killed_and_a_key_starts_another(editing: Terminal) -> None:
    (engine,) = editing.engines()
    os.kill(engine, signal.SIGKILL)
    editing.until_said("✗ STOPPED", "killed by SIGKILL", "safe on disk", "queued")
    editing.press("ctrl+r")
    editing.until_said("○ idle", "France", "queued")
    assert len(editing.engines()) == 1
