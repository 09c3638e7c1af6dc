"""The engine as the screen knows it: a child process that takes commands and says events, one JSON object a line.

The child never shares the terminal: its stdout is the wire, what else it prints goes to a log file, and it has a
session of its own, so that ctrl+c in the terminal does not reach it. When its stdin closes it ends, so it never
outlives the screen.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from workbench import events as ev
from workbench.engine import protocol
from workbench.errors import StorageError
from workbench.models.options import PLAIN, LoadOptions
from workbench.stack_wire import Listener, Missed
from workbench.text import shortened, visible

OnEvent = Callable[[ev.Event], None]
OnStopped = Callable[[str], None]

PATIENCE = 3.0
"""Seconds an engine has to end by itself, and again after SIGTERM."""
LOG_TAIL = 20
"""Lines of the engine's log that are told when it ends by itself."""
BROKEN = "what it says is not as it should be, maybe it is of another version"
BURST = 32_768
"""Bytes of lines read before the screen gets its turn."""


class EngineClient(Protocol):
    """One engine, from start to stop. Callbacks come on the event loop that called `start`."""

    async def start(self, on_event: OnEvent, on_stopped: OnStopped) -> None:
        """Starts the engine; `on_stopped` is called once, with the reason, if it ends without being asked to."""
        ...

    def send(self, command: protocol.Command) -> None:
        """Hands `command` over; never blocks. Nothing happens if the engine is gone."""
        ...

    async def stop(self) -> None:
        """Ends the engine and waits for it."""
        ...


def engine_arguments(
    model: str, stack: Path, log: Path, device: str | None, dtype: str | None, options: LoadOptions = PLAIN
) -> list[str]:
    """The command line of an engine on this machine."""
    wanted = engine_options(model, stack, device, dtype, options)
    return [sys.executable, "-m", "workbench.engine.server", *wanted, "--nice", "--log", str(log)]


def engine_options(
    model: str | None, stack: Path, device: str | None, dtype: str | None, options: LoadOptions = PLAIN
) -> list[str]:
    """What is asked of an engine, wherever it runs; without a model it takes the stack's."""
    named = (("--model", model), ("--stack", str(stack)), ("--device", device), ("--dtype", dtype))
    given = [word for option, value in named if value is not None for word in (option, value)]
    return [*given, *options.to_arguments()]


class ProcessClient:
    """An engine in a child process.

    Args:
        arguments: the child's command line.
        log: file for what the child prints beside the wire.
    """

    def __init__(self, arguments: Sequence[str], log: Path) -> None:
        self._arguments = list(arguments)
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._asked_to_stop = False
        self._stack = Listener()
        self._last_word = ""
        """Why the engine said that it ends itself."""

    async def begin(self) -> None:
        """Starts the child ahead of `start`, which then only listens. One that cannot be started is told of there."""
        with contextlib.suppress(OSError, StorageError):  # `start` tries again
            self._process = await self._spawn()

    async def start(self, on_event: OnEvent, on_stopped: OnStopped) -> None:
        """See EngineClient. A child that cannot be started is told through `on_stopped` as well."""
        self._asked_to_stop = False
        try:
            self._process = self._process or await self._spawn()
        except (OSError, StorageError) as error:
            on_stopped(f"it could not be started: {error}")
            return
        self._reader = asyncio.create_task(self._read(self._process, on_event, on_stopped))

    async def _spawn(self) -> asyncio.subprocess.Process:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *self._arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                limit=ev.MAX_LINE,
                start_new_session=True,
            )

    async def _read(self, process: asyncio.subprocess.Process, on_event: OnEvent, on_stopped: OnStopped) -> None:
        try:
            if process.stdout is not None:
                await self._read_lines(process.stdout, on_event)
        except ev.WrongEventError as error:
            self._last_word = f"{BROKEN}: {visible(str(error))}"
            await _end(process)
        code = await process.wait()
        if self._asked_to_stop:
            return
        tail = await asyncio.to_thread(_tail, self._log)
        for line in tail:
            on_event(ev.Log(message=f"engine: {line}"))
        if tail:
            on_event(ev.Log(message=f"All of the engine's log is in {self._log}"))
        on_stopped(self._last_word or _why(code, tail))

    async def _read_lines(self, stream: asyncio.StreamReader, on_event: OnEvent) -> None:
        read = 0
        while True:
            try:
                line = await stream.readline()
            except ValueError:
                on_event(ev.Log(message=f"A line from the engine longer than {ev.MAX_LINE} bytes was dropped."))
                continue
            if not line:
                return
            self._take(_event(line), on_event)
            read += len(line)
            if read > BURST:
                read = 0
                await asyncio.sleep(0)

    def _take(self, event: ev.Event, on_event: OnEvent) -> None:
        """Hands `event` on, the stack when all of it is here."""
        try:
            heard = self._stack.hear(event)
        except Missed as missed:
            on_event(ev.Log(message=f"The stack is asked for anew: {missed}."))
            self.send(protocol.Command("refresh", "refresh"))
            return
        if isinstance(heard, ev.EngineEnding):
            self._last_word = visible(heard.reason)
        if heard is not None:
            on_event(heard)

    def send(self, command: protocol.Command) -> None:
        """See EngineClient."""
        process = self._process
        if process is None or process.stdin is None or process.stdin.is_closing():
            return
        process.stdin.write(protocol.to_line(command).encode("utf-8", "backslashreplace") + b"\n")

    async def stop(self) -> None:
        """Asks, then insists, then kills the child and whatever it started."""
        process, self._asked_to_stop = self._process, True
        if process is None:
            return
        if process.returncode is None:
            await _end(process)
        if self._reader is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await self._reader
        self._process = None


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.stdin is not None:
        process.stdin.write(protocol.to_line(protocol.Command("quit", "")).encode() + b"\n")
        process.stdin.close()
    for number in (signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM)):
        try:
            await asyncio.wait_for(process.wait(), PATIENCE)
        except TimeoutError:
            _signal_group(process.pid, number)
        else:
            return
    await process.wait()


def _signal_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(pid, number)
        else:
            os.kill(pid, number)


def _event(line: bytes) -> ev.Event:
    """The event on `line`; a line that cannot be read, or not yet known here, is a line for the log.

    Raises WrongEventError: it is an event, and a broken one.
    """
    try:
        event = ev.from_line(line)
    except ev.WrongEventError:
        raise
    except (ValueError, RecursionError) as error:
        return ev.Log(message=f"Not an event ({error}): {_excerpt(line)}")
    return event if event is not None else ev.Log(message=f"Unknown event: {_excerpt(line)}")


def _excerpt(line: bytes) -> str:
    return shortened(line[:400].decode("utf-8", "replace").strip(), 200)


def _why(code: int, tail: Sequence[str]) -> str:
    """Why a child that ended with `code` did so, in words, with the last thing it wrote."""
    if code < 0:
        try:
            how = f"killed by {signal.Signals(-code).name}"
        except ValueError:
            how = f"killed by signal {-code}"
        if -code == 9:
            how += ", perhaps out of memory"
    else:
        how = f"it ended with exit code {code}" if code else "it ended by itself"
    return f"{how}: {shortened(tail[-1], 160)}" if tail else how


def _tail(path: Path) -> list[str]:
    """The last lines of the log that hold something, made fit to be shown."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 16_384))
            text = file.read().decode("utf-8", "replace")
    except OSError as error:
        return [f"its log cannot be read: {error.strerror}"]
    return [visible(line.strip()) for line in text.splitlines() if line.strip()][-LOG_TAIL:]
