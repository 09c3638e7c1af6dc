"""A run of the screen as a file: what the engine said and what was asked of it, each with its time, a line each.

In it are all events (prompts, edits, what the model answered, folders and file names, the end of the engine's log where
it died) and of what was asked only the verbs. No environment, no keys, no weights. At LIMIT bytes it ends.

A recording may come from a stranger: every value in it is of its event's own type, or the file is refused.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, get_args

from workbench import events as ev
from workbench.engine.protocol import Command, Verb
from workbench.errors import UsageError
from workbench.stack.files import storage
from workbench.stack_wire import Listener, Teller

FORMAT = 1
LIMIT = 64 * 1024 * 1024
"""Bytes of a recording at most: hours of editing. A reader takes no more either."""
FIRST = "workbench recording"


@dataclass(frozen=True)
class Sent:
    """A command began."""

    verb: str
    job: str


@dataclass(frozen=True)
class Stopped:
    """The engine's process ended by itself."""

    reason: str


@dataclass(frozen=True)
class Moment:
    """One thing that happened."""

    at: float
    """Seconds since the recording began."""
    what: ev.Event | Sent | Stopped


@dataclass(frozen=True)
class Recording:
    """A recording as it was read."""

    model: str
    stack: str
    begun: str
    """UTC, ISO 8601."""
    moments: tuple[Moment, ...]
    cut: str = ""
    """Why it ends before the run did, as a sentence; empty: it does not."""


class Recorder:
    """Writes a recording, each line at once.

    Args:
        path: a file that is not there yet.
        model: as it was named.
        stack: the stack's folder.

    Raises:
        UsageError: the file is there already.
        StorageError: it cannot be made.
    """

    def __init__(self, path: Path, model: str, stack: str) -> None:
        self.problem = ""
        """Why no more is written, as a sentence; empty: all is well."""
        self._path = path
        self._file = _new_file(path)
        self._start = time.monotonic()
        self._stack = Teller()
        self._size = 0
        begun = datetime.now(UTC).isoformat(timespec="seconds")
        head = {"type": FIRST, "format": FORMAT, "begun": begun}
        self._write(json.dumps({**head, "model": model, "stack": stack}))

    def event(self, event: ev.Event) -> None:
        """The engine said `event`."""
        for part in self._stack.tell(event) if isinstance(event, ev.StackChanged) else (event,):
            self._line("event", ev.to_line(replace(part, job=event.job, seq=event.seq, t=event.t)))

    def sent(self, command: Command) -> None:
        """`command` was sent; its arguments are not written."""
        self._line("sent", json.dumps([command.do, command.job]))

    def stopped(self, reason: str) -> None:
        """The engine ended by itself."""
        self._line("stopped", json.dumps(reason))

    def close(self) -> None:
        """Ends the recording."""
        self._line("end", "true")
        self._file.close()

    def _line(self, kind: str, value: str) -> None:
        if not self.problem:
            self._write(f'{{"at": {time.monotonic() - self._start:.3f}, "{kind}": {value}}}')

    def _write(self, line: str) -> None:
        data = line.encode("utf-8", "backslashreplace") + b"\n"
        self._size += len(data)
        if self._size > LIMIT:
            self.problem = f"The recording is full: {self._path.name} has {LIMIT >> 20} MiB. The rest is not recorded."
            return
        try:
            self._file.write(data)
            self._file.flush()
        except OSError as error:
            self.problem = f"The recording ends here: {self._path.name} cannot be written ({error.strerror})."


def _new_file(path: Path) -> IO[bytes]:
    if path.exists():
        raise UsageError(f"'{path}' is there already.", "Name a new file for the recording.")
    with storage("make", path):
        return path.open("xb")


def read_recording(path: Path) -> Recording:
    """The recording in the file at `path`. A last line that was cut off is left out.

    Raises:
        UsageError: it is not a recording, or not one that this version reads.
        StorageError: it cannot be read.
    """
    with storage("read", path):
        if not path.is_file():
            raise UsageError(f"There is no file '{path}'.", "workbench --record FILE makes one.")
        if path.stat().st_size > LIMIT + ev.MAX_LINE:
            raise _not_one(path, "it is too large")
        first, *lines = path.read_bytes().split(b"\n")
    head = _head(path, first)
    whole, rest = lines[:-1], lines[-1] if lines else b""
    moments = tuple(_moments(path, whole))
    ended = any(b'"end": true' in line[-40:] for line in whole[-1:])
    cut = "" if ended and not rest else "The recording ends before the run did."
    return Recording(head["model"], head["stack"], head["begun"], moments, cut)


def _head(path: Path, line: bytes) -> dict[str, str]:
    head = _document(path, 1, line[: ev.MAX_LINE])
    if head.get("type") != FIRST or not all(isinstance(head.get(name), str) for name in ("model", "stack", "begun")):
        raise _not_one(path, "its first line is not a recording's")
    if head.get("format") != FORMAT:
        raise UsageError(f"{path.name} is a recording of another version.", "Update workbench.")
    return head


def _moments(path: Path, lines: list[bytes]) -> Iterator[Moment]:
    listener, last = Listener(), 0.0
    for number, line in enumerate(lines, start=2):
        document = _document(path, number, line)
        at = document.get("at")
        if isinstance(at, bool) or not isinstance(at, (int, float)) or not last <= at < 1e9:
            raise _not_one(path, f"line {number} has no time")
        last = float(at)
        try:
            what = _what(document, listener)
        except (ValueError, RecursionError) as error:
            raise _not_one(path, f"line {number}: {error}") from error
        if what is not None:
            yield Moment(last, what)


def _what(document: dict[str, Any], listener: Listener) -> ev.Event | Sent | Stopped | None:
    """What a line says; None for what this version does not know. Raises ValueError."""
    if "event" in document:
        event = ev.from_document(document["event"])
        return None if event is None else listener.hear(event)
    match document:
        case {"sent": [str(verb), str(job)]}:
            return Sent(verb, job) if verb in get_args(Verb) else None
        case {"stopped": str(reason)}:
            return Stopped(reason)
        case {"sent": _} | {"stopped": _}:
            raise ValueError("it makes no sense")
        case _:
            return None


def _document(path: Path, number: int, line: bytes) -> dict[str, Any]:
    if len(line) > ev.MAX_LINE:
        raise _not_one(path, f"line {number} is too long")
    try:
        document = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _not_one(path, f"line {number} is not JSON") from error
    if not isinstance(document, dict):
        raise _not_one(path, f"line {number} is not an object")
    return document


def _not_one(path: Path, why: str) -> UsageError:
    return UsageError(f"{path.name} is not a recording: {why}.", "workbench --record FILE makes one.")
