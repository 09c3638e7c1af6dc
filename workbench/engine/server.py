"""The engine as a child process: commands in, events out, one JSON object a line.

The protocol has the process's own stdin and stdout to itself: both descriptors are moved aside first, and whatever a
library prints goes to the log instead. When stdin ends, so does the engine: it never outlives its screen.
"""

from __future__ import annotations

import argparse
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from workbench.engine import protocol
from workbench.engine.dispatch import dispatch
from workbench.engine.protocol import Command
from workbench.engine.stamp import Stamp
from workbench.engine.starting import start_engine
from workbench.errors import WorkbenchError
from workbench.events import Event, JobDone, Log, ModelLoading, to_line
from workbench.models.options import FLAGS, PLAIN, LoadOptions

if TYPE_CHECKING:
    from workbench.engine.engine import Engine

LOADING = "load"
"""The job of everything said before the first command."""


class Server:
    """Runs commands one after the other on the main thread; a second thread reads them and takes cancellations."""

    def __init__(self, commands: BinaryIO, events: BinaryIO) -> None:
        self._commands, self._events = commands, events
        # A signal handler puts something in while `get` waits: only a SimpleQueue may be entered twice.
        self._todo: queue.SimpleQueue[Command | None] = queue.SimpleQueue()
        self._cancelled: set[str] = set()
        self._closing = False
        self._stamp = Stamp()
        self._speaking = threading.Lock()

    def run(self, loading: Generator[Event, None, Engine]) -> int:
        """Loads, then serves until stdin ends, `quit` or `close`; returns the exit code."""
        threading.Thread(target=self._read, daemon=True).start()
        try:
            engine = drain(loading, lambda event: self._say(event, LOADING))
        except WorkbenchError as error:
            self._done(LOADING, error)
            return error.exit_code
        try:
            self._done(LOADING, None)
            while (command := self._todo.get()) is not None and not self._closing:
                self._serve(engine, command)
        finally:
            engine.close()
        return 0

    def close(self) -> None:
        """Cancels the job in progress and ends `run`."""
        self._closing = True
        self._todo.put(None)

    def _serve(self, engine: Engine, command: Command) -> None:
        failure: WorkbenchError | None = None
        try:
            for event in dispatch(engine, command, lambda: self._closing or command.job in self._cancelled):
                self._say(event, command.job)
        except WorkbenchError as error:
            failure = error
        self._cancelled.discard(command.job)
        self._done(command.job, failure)

    def _read(self) -> None:
        for line in self._commands:
            try:
                command = protocol.from_line(line)
            except ValueError as error:
                self._say(Log(message=f"not understood: {error}"), "")
                continue
            if command.do == "quit":
                break
            if command.do == "cancel":
                self._cancelled.add(str(command.args.get("of", "")))
            else:
                self._todo.put(command)
        self.close()

    def _done(self, job: str, error: WorkbenchError | None) -> None:
        if error is None:
            self._say(JobDone(ok=True), job)
        else:
            self._say(JobDone(ok=False, message=error.message, hint=error.hint, exit_code=error.exit_code), job)

    def _say(self, event: Event, job: str) -> None:
        with self._speaking:
            self._events.write(to_line(self._stamp(event, job)).encode() + b"\n")
            self._events.flush()


def drain(events: Generator[Event, None, Engine], say: Callable[[Event], None]) -> Engine:
    """Gives every event to `say` and returns what the generator returns."""
    while True:
        try:
            say(next(events))
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]  # StopIteration.value is untyped


def load(
    model: str, device: str, dtype: str, stack: Path, options: LoadOptions = PLAIN
) -> Generator[Event, None, Engine]:
    """As `open_engine`, but speaks before torch is imported, which takes seconds on a cold disk."""
    yield ModelLoading(stage="starting torch")
    return (
        yield from start_engine(
            model, device=device, dtype=dtype, options=options, stack=stack, fall_back=True
        )
    )


def own_descriptors(log: Path) -> tuple[BinaryIO, BinaryIO]:
    """Moves stdin and stdout aside for the protocol; descriptors 0, 1 and 2 become null and the log."""
    log.parent.mkdir(parents=True, exist_ok=True)
    commands, events = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    sink = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for source, target in ((null, 0), (sink, 1), (sink, 2)):
        os.dup2(source, target)
    os.close(null)
    os.close(sink)
    return os.fdopen(commands, "rb"), os.fdopen(events, "wb")


def main(arguments: list[str] | None = None) -> int:
    """`python -m workbench.engine.server --model M --stack FOLDER --log FILE`."""
    parser = argparse.ArgumentParser(description="The workbench's engine; speaks JSON lines on stdin and stdout.")
    parser.add_argument("--model", default="atlas")
    parser.add_argument("--stack", type=Path, required=True)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--device-map", default="")
    for flag in FLAGS:
        parser.add_argument(f"--{flag.replace('_', '-')}", action="store_true")
    parser.add_argument("--log", type=Path, required=True)
    options = parser.parse_args(arguments)
    loading = LoadOptions(options.device_map, **{flag: getattr(options, flag) for flag in FLAGS})
    server = Server(*own_descriptors(options.log))
    for name in ("SIGTERM", "SIGHUP"):
        if number := getattr(signal, name, None):
            signal.signal(number, lambda *_: server.close())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return server.run(load(options.model, options.device, options.dtype, options.stack, loading))
    except BrokenPipeError:
        return 0


if __name__ == "__main__":
    sys.exit(main())
