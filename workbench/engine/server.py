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
import traceback
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from workbench.engine import protocol
from workbench.engine.deciding import Decisions
from workbench.engine.dispatch import dispatch
from workbench.engine.failing import is_of_the_device, reason_of
from workbench.engine.priority import stand_back
from workbench.engine.protocol import Command
from workbench.engine.stamp import Stamp
from workbench.engine.starting import start_engine
from workbench.errors import DeviceError, UsageError, WorkbenchError
from workbench.events import EngineEnding, Event, GuardAsked, JobDone, Log, ModelLoading, StackChanged, to_line
from workbench.guards import Decision
from workbench.models.options import FLAGS, PLAIN, LoadOptions
from workbench.stack.index import read_index
from workbench.stack_wire import Teller

if TYPE_CHECKING:
    from workbench.engine.engine import Engine

LOADING = "load"
"""The job of everything said before the first command."""
_ANOTHER_VERSION = "It may be older than the screen: install the same version of the workbench on both sides."
GRACE = 5.0
"""Seconds that a step in progress has to end when the screen is gone; then the process ends under it."""


class Server:
    """Runs commands one after the other on the main thread; a second thread reads them and takes cancellations."""

    def __init__(self, commands: BinaryIO, events: BinaryIO) -> None:
        self._commands, self._events = commands, events
        # A signal handler puts something in while `get` waits: only a SimpleQueue may be entered twice.
        self._todo: queue.SimpleQueue[Command | None] = queue.SimpleQueue()
        self._cancelled: set[str] = set()
        self._paused: set[str] = set()
        self._decisions = Decisions()
        self._closing = False
        self._stamp = Stamp()
        self._stack = Teller()
        self._speaking = threading.Lock()

    def run(self, loading: Generator[Event, None, Engine]) -> int:
        """Loads, then serves until stdin ends, `quit` or `close`; returns the exit code.

        Whatever nobody expected ends the process, with its reason as the last event: a screen can start another one,
        which materialises what is on disk. Memory that ran out is an error of the job like any other.
        """
        threading.Thread(target=self._read, daemon=True).start()
        try:
            return self._run(loading)
        except BrokenPipeError:
            return 0
        except Exception as error:  # noqa: BLE001  the one place where an engine ends
            traceback.print_exc()
            self._say(EngineEnding(reason=reason_of(error)), "")
            return DeviceError.exit_code if is_of_the_device(error) else 1

    def _run(self, loading: Generator[Event, None, Engine]) -> int:
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
        from workbench.models.device import within_memory

        def stopped() -> bool:
            return self._closing or command.job in self._cancelled

        def decide(_: object) -> Decision:
            return self._decisions.wait(command.job, stopped)

        failure: WorkbenchError | None = None
        if command.do == "refresh":
            self._stack.forget()
        try:
            with within_memory():
                for event in dispatch(engine, command, stopped, decide, lambda: command.job in self._paused):
                    self._say(event, command.job)
        except WorkbenchError as error:
            failure = error
        self._cancelled.discard(command.job)
        self._paused.discard(command.job)
        self._done(command.job, failure)

    def _read(self) -> None:
        for line in self._commands:
            try:
                command = protocol.from_line(line)
                if command.do == "decide":
                    self._decisions.give(str(command.args.get("of", "")), str(command.args.get("answer", "")))
            except protocol.UnknownVerbError as error:
                self._done(error.job, UsageError(f"This engine does not know it: {error}.", _ANOTHER_VERSION))
                continue
            except ValueError as error:
                self._say(Log(message=f"not understood: {error}"), "")
                continue
            if command.do == "quit":
                break
            if command.do in ("cancel", "pause"):
                (self._cancelled if command.do == "cancel" else self._paused).add(str(command.args.get("of", "")))
            elif command.do != "decide":
                self._todo.put(command)
        self.close()
        after = threading.Timer(GRACE, os._exit, (0,))
        after.daemon = True
        after.start()

    def _done(self, job: str, error: WorkbenchError | None) -> None:
        if error is None:
            self._say(JobDone(ok=True), job)
        else:
            self._say(JobDone(ok=False, message=error.message, hint=error.hint, exit_code=error.exit_code), job)

    def _say(self, event: Event, job: str) -> None:
        if isinstance(event, GuardAsked):
            self._decisions.forget()
        with self._speaking:
            for part in self._stack.tell(event) if isinstance(event, StackChanged) else (event,):
                line = to_line(self._stamp(part, job))
                self._events.write(line.encode("utf-8", "backslashreplace") + b"\n")  # JSON reads \udcff as it was
                self._events.flush()


def drain(events: Generator[Event, None, Engine], say: Callable[[Event], None]) -> Engine:
    """Gives every event to `say` and returns what the generator returns."""
    while True:
        try:
            say(next(events))
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]  # StopIteration.value is untyped


def load(
    model: str | None, device: str, dtype: str, stack: Path | None, options: LoadOptions = PLAIN
) -> Generator[Event, None, Engine]:
    """As `open_engine`, but speaks before torch is imported, which takes seconds on a cold disk.

    Without a name it loads the model that the stack is made on.
    """
    yield ModelLoading(stage="starting torch")
    return (
        yield from start_engine(
            model or model_of(stack), device=device, dtype=dtype, options=options, stack=stack, fall_back=True
        )
    )


def own_descriptors(log: Path | None) -> tuple[BinaryIO, BinaryIO]:
    """Moves stdin and stdout aside for the protocol; descriptors 0, 1 and 2 become null and the log.

    Without a log, what is printed goes to stderr: over ssh, to the machine that the screen is on.
    """
    commands, events = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    sink = os.dup(2) if log is None else _open_log(log)
    for source, target in ((null, 0), (sink, 1), (sink, 2)):
        os.dup2(source, target)
    os.close(null)
    os.close(sink)
    return os.fdopen(commands, "rb"), os.fdopen(events, "wb")


def _open_log(log: Path) -> int:
    log.parent.mkdir(parents=True, exist_ok=True)
    return os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="workbench-engine",
        description="The workbench's engine: takes commands on stdin, says events on stdout, one JSON object a line. "
        "A screen starts it; over ssh with workbench --engine 'ssh HOST workbench-engine'.",
    )
    parser.add_argument("--model", help="a folder or a Hub name [default: the stack's, else atlas]")
    parser.add_argument("--stack", type=Path, help="the stack's folder [default: edits/<model>]")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps [default: auto]")
    parser.add_argument("--dtype", default="auto", help="auto, float32, bfloat16, float16 [default: as stored]")
    parser.add_argument("--device-map", default="", help="auto: spread the model over all devices")
    for flag in FLAGS:
        parser.add_argument(f"--{flag.replace('_', '-')}", action="store_true")
    parser.add_argument("--nice", action="store_true", help="let the screen, on this machine, go first")
    parser.add_argument("--log", type=Path, help="file for what is printed beside the events [default: stderr]")
    return parser


def model_of(stack: Path | None) -> str:
    """The model that the stack is made on, if there is one that can be read; else atlas."""
    index = read_index(stack)[0] if stack is not None and stack.is_dir() else None
    return index.base.name if index is not None and index.base is not None else "atlas"


def main(arguments: list[str] | None = None) -> int:
    """The script `workbench-engine`, also as `python -m workbench.engine.server`."""
    options = _parser().parse_args(arguments)
    loading = LoadOptions(options.device_map, **{flag: getattr(options, flag) for flag in FLAGS})
    server = Server(*own_descriptors(options.log))
    if options.nice:
        stand_back()
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
