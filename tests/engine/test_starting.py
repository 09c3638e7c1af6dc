"""The start of an engine's own process: threads that suit the model, and no search for garbage in what stays."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from workbench.engine.starting import CHOSEN, threads_for


@pytest.mark.parametrize(
    ("parameters", "cores", "threads"),
    [
        (0, 8, 1),
        (5_800_000, 2, 1),
        (124_000_000, 8, 2),
        (1_500_000_000, 8, 8),
        (1_500_000_000, 64, 30),
        (8_000_000_000, 1, 1),
    ],
)
def test_a_model_has_a_thread_for_every_fifty_million_weights(parameters: int, cores: int, threads: int) -> None:
    assert threads_for(parameters, cores) == threads


OPENED = """
engine = None
while engine is None:
    try:
        next(events)
    except StopIteration as end:
        engine = end.value
engine.close()
"""
START = f"""
import gc, sys
from pathlib import Path
import workbench.engine.starting as starting
assert "torch" not in sys.modules
events = starting.start_engine(sys.argv[1], device="cpu", stack=Path(sys.argv[2]))
next(events)
frozen, searching = gc.get_freeze_count(), gc.isenabled()
import torch
torch.set_num_threads(3)
{OPENED}
print(torch.get_num_threads(), frozen > 100_000, searching)
"""


@pytest.mark.parametrize(("chosen", "threads"), [(None, 1), ("3", 3)])
def test_a_process_takes_no_more_threads_than_its_model_needs_unless_told(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: str | None, threads: int
) -> None:
    for name in CHOSEN:
        monkeypatch.delenv(name, raising=False)
    if chosen:
        monkeypatch.setenv(CHOSEN[0], chosen)
    command = [sys.executable, "-c", START, str(small), str(tmp_path / "stack")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(threads), "True", "True"]
    assert done.stderr == ""


LATE = f"""
import atexit, os, sys
from pathlib import Path
from types import ModuleType
atexit.register(os.write, 2, b"leaked")  # called after all that begins later, as libraries list what is left
import workbench.engine.starting as starting
events = starting.start_engine(sys.argv[1], device="cpu", stack=Path(sys.argv[2]))
{OPENED}
sys.modules["triton"] = ModuleType("triton")
print("the last word", file=sys.stderr)
"""


def test_nothing_is_listed_as_leaked_when_a_process_with_triton_ends(small: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", LATE, str(small), str(tmp_path / "stack")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == "the last word\n"
