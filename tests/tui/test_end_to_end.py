"""The real program in a real terminal, on the model that ships: what a person does on a first day."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from workbench.recording import read_recording

if os.name != "posix":
    pytest.skip("needs a pseudo-terminal", allow_module_level=True)

from tests.tui.terminal import Terminal

MANY = "\n".join(f"line {number} of what was pasted by mistake" for number in range(200))


def test_an_edit_is_written_made_undone_and_replays_to_the_last_bit(tmp_path: Path) -> None:
    with Terminal(["--device", "cpu", "--record", "run.jsonl"], tmp_path) as terminal:
        _write_an_edit(terminal)
        _make_it_with_unsteady_hands(terminal)
        terminal.press("f4")
        terminal.until_said("[F4 History]", "Rome", "● applied")
        terminal.press("u")
        terminal.until_said("↶ undone")
        terminal.press("r")
        terminal.until(lambda text: "1 applied" in text and "○ idle" in text)
        terminal.press("ctrl+q")
        assert terminal.wait() == 0
        assert terminal.is_sane()
        assert terminal.engines() == []
    _is_on_the_disk(tmp_path)
    assert json.loads((tmp_path / "edits/atlas/queue.json").read_text())["items"] == []
    kinds = {type(moment.what).__name__ for moment in read_recording(tmp_path / "run.jsonl").moments}
    assert kinds >= {"ModelReady", "StackChanged", "OptimStep", "EditCommitted", "Sent"}


def _write_an_edit(terminal: Terminal) -> None:
    terminal.until_said("New edit")
    terminal.press(*"France", "tab", *"The capital of {} is", "tab", *"Rome", "enter")
    terminal.until_said("1 item", "queued")


def _make_it_with_unsteady_hands(terminal: Terminal) -> None:
    """The edit is made while the window changes its size, a key is held down, and 200 lines are pasted."""
    terminal.press("ctrl+r")
    for number in range(20):
        terminal.resize(80 + 7 * (number % 9), 20 + number)
        terminal.press("f3" if number % 2 else "f2")
    terminal.press("f2", *["down"] * 60, "ctrl+n")
    terminal.paste(MANY)
    terminal.resize(120, 36)
    terminal.until(lambda text: "1 applied" in text and "○ idle" in text)
    terminal.press("escape")


def _is_on_the_disk(folder: Path) -> None:
    (edit,) = folder.glob("edits/atlas/0001-*.safetensors")
    assert edit.stat().st_size > 1_000
    replay = [sys.executable, "-m", "workbench", "replay", "edits/atlas", "--verify", "--device", "cpu"]
    done = subprocess.run(replay, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "bit-identical" in done.stdout + done.stderr
