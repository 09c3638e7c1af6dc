"""Making edits for a command: one after the other, several side by side, or many requests as one edit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from workbench import events as ev
from workbench.cli.guard import HINT as GUARD_HINT
from workbench.cli.guard import Watcher
from workbench.cli.interrupt import interruptible
from workbench.cli.lines import committed_line
from workbench.cli.options import Common
from workbench.cli.output import Output
from workbench.cli.session import engine_session
from workbench.cli.where import stack_folder
from workbench.edits import BATCHED, EditRequest, Recipe
from workbench.errors import RequestError, UsageError
from workbench.stack.limits import MAX_REQUESTS
from workbench.text import and_more

if TYPE_CHECKING:
    from workbench.engine.engine import Engine


@dataclass(frozen=True)
class Grouping:
    """How many requests are worked on at a time."""

    together: int = 1
    """Edits that are optimised side by side."""
    batch: int | None = None
    """Requests of one edit, with a method that makes one of many; None: all, as far as one edit holds them."""

    def check(self, recipe: Recipe) -> None:
        """Raises UsageError if `recipe` does not work on requests in this way."""
        batched = f"--method {' or '.join(BATCHED)}"
        if recipe.batched and self.together > 1:
            raise UsageError(
                f"--together is for methods that make an edit of each request, and {recipe.method} makes one of many.",
                "Say with --batch how many requests go into one edit.",
            )
        if self.batch and not recipe.batched:
            raise UsageError(
                f"--batch is for methods that make one edit of many requests, and {recipe.method} makes one of each.",
                f"Use {batched}; or --together, to optimise edits side by side.",
            )

    def groups(self, wanted: Sequence[EditRequest], recipe: Recipe) -> list[Sequence[EditRequest]]:
        """`wanted` as they are worked on."""
        size = min(self.batch or MAX_REQUESTS, MAX_REQUESTS) if recipe.batched else self.together
        return [wanted[start : start + size] for start in range(0, len(wanted), size)]


def make(
    wanted: list[EditRequest],
    changes: dict[str, Any],
    common: Common,
    grouping: Grouping = Grouping(),
    watcher: Watcher | None = None,
) -> int:
    """Makes edits of `wanted` in the stack that `common` names; returns the exit code.

    Raises:
        UsageError: the method does not work on requests as `grouping` says.
    """
    watcher = watcher or Watcher.of({"guard": None, "no_guard": False, "guard_answer": None})
    with Output(common.json) as output, engine_session(common, stack_folder(common), output, write=True) as engine:
        for problem in watcher.problems:
            output.tell(f"warning: {problem}")
        recipe = engine.core.recipe(changes)
        grouping.check(recipe)
        groups = grouping.groups(wanted, recipe)
        kind = Batches if recipe.batched else Singles
        work = kind(engine, output, changes, watcher, of=len(groups) if recipe.batched else len(wanted))
        for group in groups:
            work.make(group)
        return work.finish()


@dataclass
class Work(ABC):
    """Edits asked for together: makes them in order and remembers how they went."""

    engine: Engine
    output: Output
    changes: dict[str, Any]
    watcher: Watcher
    of: int
    """Edits that are to be made."""
    index: int = 0
    """Edits begun, or passed over."""
    made: int = 0
    failed: list[int] = field(default_factory=list)
    """Exit codes of what could not be made."""
    missed: int = 0
    """Requests that were made and whose target does not come out on top."""

    @abstractmethod
    def make(self, requests: Sequence[EditRequest]) -> None:
        """Works on one group of requests.

        Raises:
            WorkbenchError: it is no use going on. Interrupted: after Ctrl+C.
        """

    def finish(self) -> int:
        """Says how it went; returns the exit code."""
        said = self.said()
        self.output.tell(f"{said}.")
        return self.output.done(max(self.failed, default=1 if self.missed else 0), said)

    def said(self) -> str:
        """How it went, in words."""
        return f"{self.made} of {self.of} edits made"

    def events(
        self, work: Callable[[dict[str, Any]], Iterator[ev.Event]], index: int
    ) -> closing[Generator[ev.Event, None, None]]:
        """The events of `work`, which is given what every job of the engine takes; to be closed.

        A request that this model cannot take ends them as a failed edit does.
        """

        def run(cancelled: Callable[[], bool]) -> Iterator[ev.Event]:
            watching = {"guard": self.watcher.guard, "decide": self.watcher.decider(self.output)}
            try:
                yield from work({"index": index, "of": self.of, "cancelled": cancelled, **watching})
            except RequestError as error:
                yield ev.EditFailed(message=error.message, hint=error.hint, exit_code=error.exit_code)

        return closing(interruptible(run))

    def judge(self, name: str, requests: int, request: EditRequest, seen: list[ev.Event]) -> None:
        """Says what became of one edit, called `name`: `seen` are its events."""
        made = any(isinstance(event, ev.EditCommitted) for event in seen)
        for event in seen:
            match event:
                case ev.EditCommitted():
                    self.made += 1
                    self.output.line(committed_line(event, request.to_json(), seen))
                case ev.EditFailed():
                    self.failed.append(event.exit_code)
                    self.output.tell(f"{name}: not made. {event.message} {event.hint}")
                case ev.EditCancelled(reason=reason) if reason:
                    self.failed.append(1)
                    self.output.tell(f"{name}: not made. {GUARD_HINT}")
                case ev.Preflight(severity="warning" | "danger"):
                    about = name if requests == 1 else event.prompt or name
                    self.output.tell(f"{about}: {event.message} {event.hint}".rstrip())
                case _ if made:
                    self.measured(name, requests, event)

    @abstractmethod
    def measured(self, name: str, requests: int, event: ev.Event) -> None:
        """Takes what a probe of an edit that was made said."""


class Singles(Work):
    """An edit a request."""

    def make(self, requests: Sequence[EditRequest]) -> None:
        """Makes one edit, or several side by side."""
        first, started = self.index + 1, 0
        seen: list[ev.Event] = []
        self.index += len(requests)
        try:
            with self.events(lambda how: self._work(requests, how), first) as events:
                for event in events:
                    if isinstance(event, ev.EditStarted):
                        self._judge(requests[max(started - 1, 0)], seen)
                        seen, started = [], started + 1
                    seen.append(event)
                    self.output.event(event, f"edit-{first + max(started - 1, 0)}")
        finally:
            self._judge(requests[max(started - 1, 0)], seen)

    def _work(self, requests: Sequence[EditRequest], how: dict[str, Any]) -> Iterator[ev.Event]:
        if len(requests) > 1:
            return self.engine.apply_together(requests, self.changes, **how)
        return self.engine.apply(requests[0], self.changes, **how)

    def _judge(self, request: EditRequest, seen: list[ev.Event]) -> None:
        self.judge(f"{request.subject} → {request.target_new}", 1, request, seen)

    def measured(self, name: str, requests: int, event: ev.Event) -> None:
        """Counts a target that is not on top."""
        del requests
        if isinstance(event, ev.ProbeResult) and event.kind == "efficacy" and not event.passed:
            self.missed += 1
            self.output.tell(f"{name}: made, but the target is not on top.")


@dataclass
class Batches(Work):
    """An edit of many requests."""

    asked: int = 0
    held: int = 0
    """Requests that are in edits that were made."""

    def make(self, requests: Sequence[EditRequest]) -> None:
        """Makes one edit of all of them."""
        self.index += 1
        self.asked += len(requests)
        seen: list[ev.Event] = []
        try:
            with self.events(lambda how: self.engine.apply_batch(requests, self.changes, **how), self.index) as events:
                for event in events:
                    seen.append(event)
                    self.output.event(event, f"edit-{self.index}")
        finally:
            first = requests[0]
            name = f"{first.subject} → {first.target_new}{and_more(len(requests))}"
            self.judge(name, len(requests), first, seen)

    def said(self) -> str:
        """How many requests are in the edits."""
        return f"{super().said()}, with {self.held} of {self.asked} requests"

    def measured(self, name: str, requests: int, event: ev.Event) -> None:
        """Counts the requests that are not in the edit, and the targets that are not on top."""
        if not isinstance(event, ev.BatchProbed):
            return
        held, asked = event.efficacy
        self.held += event.requests
        if event.requests < requests:
            self.failed.append(1)
        if held < asked:
            self.missed += asked - held
            self.output.tell(f"{name}: made, but {asked - held} of {asked} targets are not on top.")
