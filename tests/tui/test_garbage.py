"""When garbage is searched for: what is old only while nobody touches anything."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import weakref
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.tui.conftest import OpenDesk
from workbench.tui import garbage


class Knot:
    """Garbage that only a search can find."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def own_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is found but by the search that is asked for, and nothing of it stays."""
    thresholds = gc.get_threshold()
    monkeypatch.setattr(garbage, "THRESHOLDS", (10_000_000, 1_000, 1_000))
    monkeypatch.setattr(garbage, "SETTLED", 0.0)
    monkeypatch.setattr(garbage, "LOOK", 0.001)
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)
    gc.enable()


@contextlib.asynccontextmanager
async def tended(untouched: float) -> AsyncIterator[weakref.ref[Knot]]:
    """A knot that nobody holds, made once the screen stands, and many looks at it."""
    tending = asyncio.create_task(garbage.tend(lambda: untouched))
    await asyncio.sleep(0.01)
    knot = weakref.ref(Knot())
    await asyncio.sleep(0.1)
    yield knot
    tending.cancel()


async def test_what_is_old_is_searched_while_it_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "DUE", 0)
    async with tended(untouched=garbage.QUIET) as knot:
        assert knot() is None


async def test_it_is_not_while_keys_are_pressed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "DUE", 0)
    async with tended(untouched=garbage.QUIET - 1) as knot:
        assert knot() is not None


async def test_nor_before_it_is_due() -> None:
    gc.collect()
    async with tended(untouched=1_000.0) as knot:
        assert knot() is not None


async def test_a_key_and_a_click_end_the_quiet(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        for touch in (desk.pilot.press("tab"), desk.pilot.click("#queue")):
            desk.app._touched -= 100.0
            await touch
            assert desk.app.untouched < 50.0
