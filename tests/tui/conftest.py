"""The workbench with a scripted engine, and what a person at the terminal would read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual.pilot import Pilot
from textual.screen import Screen

from tests.tui.scripted_engine import ScriptedEngine
from workbench.tui import notices
from workbench.tui.app import WorkbenchApp


@dataclass
class Desk:
    """A person in front of the workbench."""

    app: WorkbenchApp
    pilot: Pilot[None]
    engines: list[ScriptedEngine]

    @property
    def engine(self) -> ScriptedEngine:
        return self.engines[-1]

    def lines(self) -> list[str]:
        return screen_lines(self.app.screen)

    def text(self) -> str:
        return "\n".join(self.lines())

    async def type(self, *fields: str) -> None:
        """Types into the focused field and those after it."""
        for number, text in enumerate(fields):
            if number:
                await self.pilot.press("tab")
            self.app.post_message(events.Paste(text))
            await self.pilot.pause()

    async def add(self, subject: str, prompt: str, target: str) -> None:
        await self.pilot.press("ctrl+n")
        await self.type(subject, prompt, target)
        await self.pilot.press("enter")
        await self.pilot.pause()

    async def until(self, met: Callable[[], bool], seconds: float = 20.0) -> None:
        """Waits for something to become true, and then until it is drawn."""
        for _ in range(int(seconds / 0.02)):
            if met():
                await self.pilot.pause(0.1)
                return
            await self.pilot.pause(0.02)
        raise AssertionError(f"waited {seconds} s in vain; the screen says:\n{self.text()}")

    async def until_said(self, text: str) -> None:
        await self.until(lambda: text in self.text())

    def said(self) -> str:
        """All that was told beside the screen."""
        return " ".join(notice.message for notice in self.app._notifications)

    def subjects(self) -> list[str]:
        return [item.draft.subject for item in self.app.queue]


def screen_lines(screen: Screen[Any]) -> list[str]:
    return ["".join(segment.text for segment in strip) for strip in screen._compositor.render_strips()]


@pytest.fixture(autouse=True)
def unicode_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the tests run, the screen is drawn as on a terminal of today."""
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.fixture(autouse=True)
def slow_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said stands long enough for a machine that has much to do."""
    monkeypatch.setattr(notices, "BLINK", 5.0)


OpenDesk = Callable[..., AbstractAsyncContextManager[Desk]]


@pytest.fixture
def open_desk(tmp_path: Path) -> OpenDesk:
    """Opens the workbench on the stack `name` in a temporary folder; other keywords go to the scripted engine.

    With `notices`, what is said beside the screen is drawn, too.
    """

    @asynccontextmanager
    async def opened(
        size: tuple[int, int] = (80, 24), name: str = "stack", *, notices: bool = False, **script: Any
    ) -> AsyncIterator[Desk]:
        engines: list[ScriptedEngine] = []

        def make(folder: Path) -> ScriptedEngine:
            engines.append(ScriptedEngine(folder, **script))
            return engines[-1]

        app = WorkbenchApp(tmp_path / name, make)
        async with app.run_test(size=size, notifications=notices) as pilot:
            desk = Desk(app, pilot, engines)
            await desk.until(lambda: bool(engines) and not app.session.changed)
            yield desk

    return opened
