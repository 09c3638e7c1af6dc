"""How the command line opens the screen: the engine's process is started first, and loads while the screen is made."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.models.options import PLAIN, LoadOptions
from workbench.tui.client import EngineClient, ProcessClient, engine_arguments, engine_options
from workbench.tui.far import far_arguments
from workbench.tui.home import HERE, Home

if TYPE_CHECKING:
    from workbench.recording import Recorder


@dataclass(frozen=True)
class Wanted:
    """What the screen is to be opened on."""

    model: str | None
    """None: the stack's own; only for an engine elsewhere."""
    stack: Path
    device: str | None = None
    dtype: str | None = None
    options: LoadOptions = PLAIN
    engine: str = ""
    """The command that reaches an engine on another machine; empty: one is started on this one."""
    record: Path | None = None
    """File for a recording."""

    @property
    def home(self) -> Home:
        """Where the stack lies."""
        return Home("elsewhere", self.engine) if self.engine else HERE

    def arguments(self, folder: Path, log: Path) -> list[str]:
        """The command line of an engine on the stack in `folder`. Raises UsageError."""
        if self.engine:
            return far_arguments(self.engine, engine_options(self.model, folder, self.device, self.dtype, self.options))
        return engine_arguments(self.model or "atlas", folder, log, self.device, self.dtype, self.options)


def run(wanted: Wanted) -> int:
    """Opens the workbench; returns the exit code.

    What the engine prints beside its events goes to a log of its own. It is deleted when the screen is left, unless
    the engine had stopped by itself.

    Raises:
        UsageError: the engine's command makes no sense, or the recording's file is there already.
        StorageError: the recording cannot be made.
    """
    wanted.arguments(wanted.stack, Path())  # says what is wrong with it before anything is made
    recorder = _recorder(wanted)
    logs = Path(tempfile.mkdtemp(prefix="workbench-"))
    log = logs / "engine.log"

    def make_client(folder: Path) -> ProcessClient:
        return ProcessClient(wanted.arguments(folder, log), log)

    try:
        code, stopped = asyncio.run(_run(wanted, make_client, recorder))
    finally:
        if recorder is not None:
            recorder.close()
    if code == 0 and not stopped:
        shutil.rmtree(logs, ignore_errors=True)
    return code


def _recorder(wanted: Wanted) -> Recorder | None:
    if wanted.record is None:
        return None
    from workbench.recording import Recorder

    return Recorder(wanted.record, wanted.model or "", str(wanted.stack))


def _recorded(client: EngineClient, recorder: Recorder) -> EngineClient:
    from workbench.tui.recorded import RecordedClient

    return RecordedClient(client, recorder)


async def _run(
    wanted: Wanted, make_client: Callable[[Path], ProcessClient], recorder: Recorder | None
) -> tuple[int, bool]:
    """The exit code, and whether the engine had stopped by itself."""
    first = make_client(wanted.stack)
    await first.begin()
    ahead = [first]

    def next_client(folder: Path) -> EngineClient:
        client = ahead.pop() if ahead and folder == wanted.stack else make_client(folder)
        return _recorded(client, recorder) if recorder else client

    try:
        from workbench.tui.app import WorkbenchApp  # Textual's import takes as long as a good part of torch's
        from workbench.tui.leaving import until_left

        app = WorkbenchApp(wanted.stack, next_client, wanted.home, ahead=True)
        code = await until_left(app)
    finally:
        await first.stop()
    return code, app.state.engine == "stopped"
