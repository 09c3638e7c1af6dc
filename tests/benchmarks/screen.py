"""From a key press to the frame that shows it, while the engine edits in its own process: 50 ms is the most.

And how often the Live place is drawn meanwhile: 10 to 15 times a second, whatever the engine's steps take.

The frame is rendered to the characters that a terminal would get; what the terminal takes is not in it.
"""

from __future__ import annotations

import asyncio
import gc
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from textual import events
from textual._compositor import CompositorUpdate
from textual.screen import Screen

from tests.benchmarks.measuring import Row
from tests.tui.conftest import Desk
from tests.tui.scripted_engine import ScriptedEngine
from tests.tui.story import run_events, step
from workbench.atlas.benchmark import benchmark_requests
from workbench.models import user
from workbench.tui import app, garbage
from workbench.tui.app import WorkbenchApp
from workbench.tui.client import EngineClient, ProcessClient, engine_arguments

PRESSES = {"focus": ("tab", "shift+tab"), "screen": ("f3", "f2")}
"""Keys by what they change, pressed in turn."""
PLAIN, SETTLED = "garbage searched for as Python does", "as the screen does"
PATIENCE = 5.0
"""Seconds after which a key press counts as lost."""
STEP_RATES = (2, 20, 200)
"""Steps of an engine in a second."""


class Watched(WorkbenchApp):
    """The workbench, which notes when what it shows is first drawn after a key press changed it."""

    CSS_PATH = str(Path(app.__file__).with_name("app.tcss"))  # Textual looks beside the class that is run
    pressed: tuple[float, object] | None = None
    latency: float | None = None
    frames = 0

    def shown(self) -> object:
        """What a key press here changes."""
        return self.current_mode, self.focused

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        super()._display(screen, renderable)
        if isinstance(renderable, CompositorUpdate):
            renderable.render_segments(self.console)
            self.frames += 1
            if self.pressed and self.shown() != self.pressed[1]:
                self.latency, self.pressed = time.perf_counter() - self.pressed[0], None


def rows(quick: bool) -> Iterator[Row]:
    """With the engine on atlas; if `quick` with a scripted one, and few keys."""
    with tempfile.TemporaryDirectory() as place, _nobodys(Path(place)):
        found, drawing = asyncio.run(_watched(Path(place), quick=quick))
        drawn = [asyncio.run(_at_rate(Path(place, str(rate)), rate, 0.5 if quick else 10.0)) for rate in STEP_RATES]
    yield drawing
    yield from drawn
    worst: dict[str, float] = {}
    for (what, manner), latencies in found.items():
        ordered = sorted(latencies)
        note = f"of {len(ordered)} key presses during an edit, {manner}"
        high = ordered[math.ceil(0.99 * len(ordered)) - 1]
        ratio = worst.setdefault(what, high) / high
        yield Row(f"{what} changed: median", value=1e3 * statistics.median(ordered), unit="ms", note=note)
        plain = manner == PLAIN
        against = "" if plain else PLAIN
        yield Row(
            f"{what} changed: 99th percentile",
            value=1e3 * high,
            unit="ms",
            ratio=None if plain else ratio,
            against=against,
            note=note,
        )
        yield Row(f"{what} changed: slowest", value=1e3 * ordered[-1], unit="ms", note=note)


@contextmanager
def _nobodys(place: Path) -> Iterator[None]:
    """Neither keys nor guard are anybody's own."""
    before = os.environ.get(user.VARIABLE)
    os.environ[user.VARIABLE] = str(place / "config")
    try:
        yield
    finally:
        if before is None:
            del os.environ[user.VARIABLE]
        else:
            os.environ[user.VARIABLE] = before


@contextmanager
def _searching(manner: str) -> Iterator[None]:
    """Garbage is searched for in that manner."""
    thresholds = gc.get_threshold()
    if manner == SETTLED:
        garbage.settle()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)


Latencies = dict[tuple[str, str], list[float]]
"""Seconds from each press to its frame, by what was changed and how garbage was searched for meanwhile."""


async def _watched(place: Path, *, quick: bool) -> tuple[Latencies, Row]:
    """What key presses took, and how often Live was drawn."""
    bench = Watched(place / "stack", _scripted if quick else _on_atlas(place), ahead=True)
    async with bench.run_test(size=(140, 40)) as pilot:
        desk = Desk(bench, pilot, [])
        await desk.until(lambda: bench.state.engine == "idle", seconds=300)
        await asyncio.sleep(garbage.SETTLED)
        for request in benchmark_requests(2 if quick else 150):
            await desk.add(request.subject, request.prompt, request.target_new)
        await pilot.press("ctrl+r")
        await desk.until(lambda: bench.state.run is not None)
        await pilot.press("escape")
        found = {}
        for what, keys in PRESSES.items():
            for manner in (PLAIN, SETTLED):
                with _searching(manner):
                    found[what, manner] = [await _press(bench, keys[i % 2]) for i in range(6 if quick else 200)]
        await pilot.press("f3")
        drawing = await _drawing(bench, 0.5 if quick else 10.0)
        if bench.state.run is None:
            raise RuntimeError("the edits were done before the keys were pressed: more of them are needed")
    return found, drawing


async def _drawing(bench: Watched, seconds: float) -> Row:
    """How often the place is drawn that is shown, and what of a core that takes."""
    frames, start, cpu = bench.frames, time.perf_counter(), time.process_time()
    await asyncio.sleep(seconds)
    took, share = time.perf_counter() - start, (time.process_time() - cpu)
    note = f"in {took:.1f} s; the screen's own work is {share / took:.0%} of a core"
    return Row("Live is drawn", value=(bench.frames - frames) / took, unit="times a second", note=note)


async def _at_rate(folder: Path, rate: int, seconds: float) -> Row:
    """How often Live is drawn while steps come at `rate`, of an engine that only says them."""
    bench = Watched(folder, ScriptedEngine)
    async with bench.run_test(size=(140, 40)) as pilot:
        desk = Desk(bench, pilot, [])
        await desk.until(lambda: bench.state.engine == "idle", seconds=60)
        await pilot.press("f3")
        with _searching(SETTLED):
            saying = asyncio.create_task(_steps(bench, rate))
            drawing = await _drawing(bench, seconds)
            saying.cancel()
    return replace(drawing, what=f"{drawing.what} at {rate} steps a second")


async def _steps(bench: Watched, rate: int) -> None:
    """Steps at an even rate, 20 an edit, several at once where the event loop was late; never ends."""
    start, said = time.perf_counter(), 0
    while True:
        while said < (time.perf_counter() - start) * rate:
            for event in run_events(0) if said % 20 == 0 else ():
                bench.session.heed(event)
            said += 1
            bench.session.heed(step((said - 1) % 20 + 1))
        await asyncio.sleep(1 / rate)


async def _press(bench: Watched, key: str) -> float:
    start = time.perf_counter()
    bench.latency, bench.pressed = None, (start, bench.shown())
    bench.post_message(events.Key(key, None))
    while bench.latency is None:
        if time.perf_counter() - start > PATIENCE:
            raise RuntimeError(f"nothing was drawn after {key}")
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.05)
    return bench.latency


def _scripted(folder: Path) -> EngineClient:
    return ScriptedEngine(folder, pause_at=5)


def _on_atlas(place: Path) -> Callable[[Path], EngineClient]:
    log = place / "engine.log"
    return lambda folder: ProcessClient(engine_arguments("atlas", folder, log, None, None), log)


if __name__ == "__main__":
    import sys

    from tests.benchmarks.__main__ import main

    sys.exit(main(["screen", *sys.argv[1:]]))
