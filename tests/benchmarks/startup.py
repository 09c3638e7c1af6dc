"""How long a person waits: for --help, the log of 1,000 edits, the first picture, and an engine on atlas by stages."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.making import make_stack
from tests.benchmarks.measuring import Row, Stamp, Times, clock
from tests.tui.terminal import Terminal
from workbench import events as ev
from workbench.models.kept import VARIABLE

WAITS = {"help": 0.25, "log": 0.5, "paint": 0.5}
"""Seconds that a command may take."""
EDITS = 1_000


def rows(quick: bool) -> Iterator[Row]:
    """Medians of 20 runs with warm files, with the shortest one beside them; of 3, and a smaller stack, if `quick`."""
    repeats, edits = (3, 50) if quick else (20, EDITS)
    with tempfile.TemporaryDirectory() as place:
        make_stack(Path(place, "stack"), edits)
        kept = {**os.environ, "PYTHONPYCACHEPREFIX": f"{place}/bytecode", VARIABLE: f"{place}/cache"}
        kept["PYTHONDONTWRITEBYTECODE"] = ""  # not there, to Python
        nowhere = {**kept, VARIABLE: os.devnull}
        log = ["log", f"{place}/stack"]
        yield _command("workbench --help", ["--help"], kept, repeats, WAITS["help"])
        yield _command(f"workbench log, {edits} edits that changed", log, nowhere, repeats, WAITS["log"])
        yield _command(f"workbench log, {edits} edits again", log, kept, repeats, WAITS["log"])
        yield _first_paint(Path(place), kept, repeats)
        yield from _engine(Path(place, "engine"), kept, 1 if quick else 5)


def _command(what: str, words: list[str], env: dict[str, str], repeats: int, wait: float) -> Row:
    run = [sys.executable, "-m", "workbench", *words]
    times = Times()
    for _ in range(repeats + 1):
        clock(lambda: subprocess.run(run, env=env, check=True, capture_output=True), times)
    warm = Times(times.walls[1:], times.cpus[1:])
    return warm.row(what, f"shortest {min(warm.walls):.3f} s, at most {wait} s wanted")


def _first_paint(place: Path, env: dict[str, str], repeats: int) -> Row:
    """From the start of the program in a terminal to the first whole picture, while its engine starts beside it.

    What the terminal takes to draw it is not in it.
    """
    times = Times()
    for _ in range(repeats + 1):
        start = Stamp.now()
        with Terminal(["--device", "cpu"], place, (140, 40), ignore=0, patience=60, **env) as terminal:
            terminal.until_written(b"New edit", b"Palette")
            times.add(start, Stamp.now())
    warm = Times(times.walls[1:])
    note = f"shortest {min(warm.walls):.3f} s, at most {WAITS['paint']} s wanted"
    return Row("workbench to first paint", warm.wall, note=note)


def _engine(place: Path, env: dict[str, str], repeats: int) -> Iterator[Row]:
    """From the start of the child process to each thing that it says; the first run warms the files and is left out."""
    found: dict[str, Times] = {}
    for number in range(repeats + 1):
        for what, start, end in _said(place / str(number), env):
            if number:
                found.setdefault(what, Times()).add(start, end)
    for what, times in found.items():
        yield Row(f"engine on atlas, to {what}", times.wall, note="counted from the start of its process")


def _said(stack: Path, env: dict[str, str]) -> Iterator[tuple[str, Stamp, Stamp]]:
    command = [sys.executable, "-m", "workbench.engine.server", "--stack", str(stack), "--log", f"{stack}.log"]
    start = Stamp.now()
    with subprocess.Popen(
        [*command, "--device", "cpu"],
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as child:
        told = (ev.from_line(line) for line in child.stdout or ())
        for event in itertools.takewhile(lambda event: not isinstance(event, ev.JobDone), told):
            if isinstance(event, (ev.ModelLoading, ev.ModelReady, ev.StackDelta)):
                what = event.stage.split(" ")[0] if isinstance(event, ev.ModelLoading) else type(event).__name__
                yield what, start, Stamp.now()
        if child.stdin:
            child.stdin.close()
