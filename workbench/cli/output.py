"""Where a command's words go: data to stdout, what is said to people to stderr, and the progress between them."""

from __future__ import annotations

import sys
from collections.abc import Generator
from types import TracebackType
from typing import Self, TypeVar

from workbench import events as ev
from workbench.cli.progress import Progress, progress_for
from workbench.engine.stamp import Stamp
from workbench.errors import Interrupted, WorkbenchError
from workbench.text import escaped, visible

T = TypeVar("T")


class Output:
    """One command's output; with `json`, events take the place of lines, and JobDone is the last of them."""

    def __init__(self, json: bool, progress: Progress | None = None) -> None:
        self.json = json
        self._progress = progress or progress_for(json)
        self._stamp = Stamp()
        self._warned: set[str] = set()
        self._lines: dict[str, str] = {}
        """The branch that each stack was on when it was last told of, by its folder."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._progress.close()
        if isinstance(error, KeyboardInterrupt):
            error = Interrupted("Stopped.")
        if isinstance(error, WorkbenchError):
            self.done(error.exit_code, error.message, error.hint)

    def line(self, text: str) -> None:
        """A line of data; nothing with --json. Control characters in it are shown."""
        if not self.json:
            self._write(visible(text))

    def document(self, line: str) -> None:
        """A line of JSON; nothing without --json. What a terminal would obey or hide is escaped, as JSON says it."""
        if self.json:
            self._write(escaped(line))

    def loading(self, model: str) -> None:
        """Shows that `model` is being loaded before its first event: torch alone takes seconds to import."""
        self._progress.show(ev.ModelLoading(stage=f"loading {model}"))

    def event(self, event: ev.Event, job: str) -> None:
        """An event of `job`: a JSON line, and a step of the progress; a warning is said in any case, once."""
        event = self._stamp(event, job)
        self.document(ev.to_line(event))
        if isinstance(event, ev.Warning) and event.message not in self._warned:
            self._warned.add(event.message)
            self.tell(f"warning: {event.message} {event.hint}".rstrip())
        if isinstance(event, ev.StackChanged):
            self._tell_branch(event)
        self._progress.show(event)

    def _tell_branch(self, stack: ev.StackChanged) -> None:
        """Says that the edits of this command have become a branch, as after an undo."""
        before = self._lines.get(stack.folder, stack.branch)
        self._lines[stack.folder] = stack.branch
        if before != stack.branch:
            self.tell(f"note: this is a branch of its own, {stack.branch}; {before} keeps the line as it was")

    def follow(self, events: Generator[ev.Event, None, T], job: str) -> T:
        """Passes all events of `job` on; returns what the generator returns."""
        while True:
            try:
                self.event(next(events), job)
            except StopIteration as end:
                result: T = end.value
                return result

    def tell(self, text: str) -> None:
        """A line for people."""
        with self._progress.aside():
            sys.stderr.write(visible(text) + "\n")
            sys.stderr.flush()

    def done(self, code: int, message: str = "", hint: str = "") -> int:
        """The last event of the command, with --json; returns `code`."""
        done = ev.JobDone(ok=code == 0, message=message, hint=hint, exit_code=code)
        self.document(ev.to_line(self._stamp(done, "")))
        return code

    def _write(self, text: str) -> None:
        with self._progress.aside():
            sys.stdout.write(text + "\n")
            sys.stdout.flush()
