"""How the command line opens the screen."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from workbench.models.options import PLAIN, LoadOptions
from workbench.tui.app import WorkbenchApp
from workbench.tui.client import EngineClient, ProcessClient, engine_arguments


def run(
    model: str, stack: Path, device: str | None = None, dtype: str | None = None, options: LoadOptions = PLAIN
) -> int:
    """Opens the workbench on `model` and the stack in folder `stack`; returns the exit code.

    What the engine prints beside its events goes to a log of its own. It is deleted when the screen is left, unless
    the engine had stopped by itself.
    """
    logs = Path(tempfile.mkdtemp(prefix="workbench-"))

    def make_client(folder: Path) -> EngineClient:
        log = logs / "engine.log"
        return ProcessClient(engine_arguments(model, folder, log, device, dtype, options), log)

    app = WorkbenchApp(stack, make_client)
    app.run()
    if app.return_code == 0 and app.state.engine != "stopped":
        shutil.rmtree(logs, ignore_errors=True)
    return app.return_code or 0
