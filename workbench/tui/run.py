"""How the command line opens the screen: the engine's process is started first, and loads while the screen is made."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from workbench.models.options import PLAIN, LoadOptions
from workbench.tui.client import EngineClient, ProcessClient, engine_arguments


def run(
    model: str, stack: Path, device: str | None = None, dtype: str | None = None, options: LoadOptions = PLAIN
) -> int:
    """Opens the workbench on `model` and the stack in folder `stack`; returns the exit code.

    What the engine prints beside its events goes to a log of its own. It is deleted when the screen is left, unless
    the engine had stopped by itself.
    """
    logs = Path(tempfile.mkdtemp(prefix="workbench-"))

    def make_client(folder: Path) -> ProcessClient:
        log = logs / "engine.log"
        return ProcessClient(engine_arguments(model, folder, log, device, dtype, options), log)

    code, stopped = asyncio.run(_run(stack, make_client))
    if code == 0 and not stopped:
        shutil.rmtree(logs, ignore_errors=True)
    return code


async def _run(stack: Path, make_client: Callable[[Path], ProcessClient]) -> tuple[int, bool]:
    """The exit code, and whether the engine had stopped by itself."""
    first = make_client(stack)
    await first.begin()
    ahead = [first]

    def next_client(folder: Path) -> EngineClient:
        return ahead.pop() if ahead and folder == stack else make_client(folder)

    try:
        from workbench.tui.app import WorkbenchApp  # Textual's import takes as long as a good part of torch's

        app = WorkbenchApp(stack, next_client)
        await app.run_async()
    finally:
        await first.stop()
    return app.return_code or 0, app.state.engine == "stopped"
