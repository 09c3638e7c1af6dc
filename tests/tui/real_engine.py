"""The screen with the real engine in a process of its own."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from tests.tui.conftest import Desk
from workbench.tui.app import WorkbenchApp
from workbench.tui.client import ProcessClient
from workbench.tui.run import Wanted


@asynccontextmanager
async def real_desk(wanted: Wanted, log: Path) -> AsyncIterator[tuple[Desk, Callable[[], None]]]:
    """A person in front of it once it is idle, and what kills its engine."""
    clients: list[ProcessClient] = []

    def make(folder: Path) -> ProcessClient:
        clients.append(ProcessClient(wanted.arguments(folder, log), log))
        return clients[-1]

    def kill() -> None:
        process = clients[-1]._process
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)

    app = WorkbenchApp(wanted.stack, make, wanted.home)
    async with app.run_test(size=(120, 40)) as pilot:
        desk = Desk(app, pilot, [])
        await desk.until(lambda: app.state.engine == "idle", 60)
        yield desk, kill


def position(desk: Desk) -> int:
    """How many edits are applied; -1 while that is not known."""
    stack = desk.app.state.stack
    return stack.position if stack else -1
