"""Takes the queue's edits to the engine and sees from the events what became of each. No widgets.

One job is in flight at most: of one edit; of one edit of many requests; or of several edits that are made together, and
then take their turns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Any

from workbench import events as ev
from workbench.engine.protocol import Verb
from workbench.errors import RequestError, UsageError
from workbench.recipes import BATCHED
from workbench.tui.queue import Queue, QueueItem
from workbench.tui.state import State

Apply = Callable[[Verb, dict[str, Any]], str]
"""Sends a verb of applying with its arguments; returns the job's id, or "" if the engine does not take it."""

MOST_TOGETHER = 32
"""Edits that are made together: as many share nearly all there is to share, and more would see an older state."""


class Runner:
    """At most one job is in flight. `armed`: the next one follows when it has ended."""

    def __init__(self, queue: Queue, apply: Apply) -> None:
        self.queue = queue
        self.armed = False
        self.made = 0
        """Edits made since the run began."""
        self.failed = 0
        self._apply = apply
        self._keys: tuple[str, ...] = ()
        """The items of the edit in flight,"""
        self._later: tuple[str, ...] = ()
        """and those of the same job whose turn comes after it."""
        self._job = ""
        self._together = False
        """The run makes edits together where it can."""
        self._several = False
        """The job in flight is of several edits."""
        self._batch: dict[str, Any] | None = None
        """The settings of the one edit that shall be made of all that is ready."""
        self._of = 0
        """How many requests are in the edit of many."""

    @property
    def in_flight(self) -> str:
        """The job of the edit that is being made; empty: none."""
        return self._job

    @property
    def several(self) -> bool:
        """What is in flight is a job of several edits."""
        return bool(self._job) and self._several

    def arm(self, *, together: bool = False) -> None:
        """The run begins, or goes on as it was."""
        if not self._job:
            self.made = self.failed = 0
            self._together = together
        self.armed = True

    def arm_batch(self, settings: dict[str, Any]) -> None:
        """One edit shall be made of all that is ready, with these settings; then the run ends."""
        self._batch = settings
        self.arm()

    def disarm(self) -> None:
        """The run ends after the edit in flight."""
        self.armed, self._batch = False, None

    def pump(self, state: State) -> str:
        """Starts the next edit if one can be started now.

        Returns:
            What is to be said, once, when the run has come to its end; else "".
        """
        if not self.armed or self._job or state.engine != "idle":
            return ""
        ready = self.queue.ready()
        if not ready:
            self.disarm()
            return self._summary()
        alike = _alike(ready, state) if self._together else ready[:1]
        if self._batch is not None:
            self._start_batch(ready, self._batch, state)
        elif len(alike) > 1:
            self._start_together(alike, len(ready), state)
        else:
            self._start(ready[0], len(ready), state)
        return ""

    def _start(self, item: QueueItem, ready: int, state: State) -> None:
        try:
            request, recipe = item.draft.request().to_json(), item.draft.overrides()
        except (RequestError, UsageError) as error:
            self.queue.fail(item.key, reason=error.message)
            return
        index = self.made + self.failed + 1
        args = {"request": request, "recipe": recipe, "index": index, "of": index + ready - 1}
        self._begin((item,), self._apply("apply", args), state)

    def _start_together(self, items: Sequence[QueueItem], ready: int, state: State) -> None:
        requests, recipe = [item.draft.request().to_json() for item in items], items[0].draft.overrides()
        index = self.made + self.failed + 1
        args = {"requests": requests, "recipe": recipe, "index": index, "of": index + ready - 1}
        self._begin(items, self._apply("apply_together", args), state)
        self._keys, self._later, self._several = (), self._keys, True

    def _start_batch(self, items: Sequence[QueueItem], settings: dict[str, Any], state: State) -> None:
        self._batch, self._of = None, len(items)
        requests = [item.draft.request().to_json() for item in items]
        self._begin(items, self._apply("apply_batch", {"requests": requests, "recipe": settings}), state)
        self.armed = False

    def _begin(self, items: Sequence[QueueItem], job: str, state: State) -> None:
        if not job:
            self.armed = False
            return
        tip = newest_applied(state)
        self._keys, self._job, self._several = tuple(item.key for item in items), job, False
        self.queue.start(*self._keys, tip=tip.id if tip else "")

    def heed(self, event: ev.Event) -> None:
        """Follows the edit in flight; an event of another job changes nothing."""
        if not self._job or event.job != self._job:
            return
        match event:
            case ev.BatchProbed():
                self._of = event.requests
            case ev.EditStarted() if self._several:
                self._keys, self._later = self._later[:1], self._later[1:]
            case ev.EditCommitted():
                self.queue.made_of(*self._keys, count=self._of if len(self._keys) > 1 else 1)
                self.queue.stand_on(event.edit, *self._later)
                self._keys, self.made = (), self.made + 1
            case ev.EditFailed():
                self._fail(event.message, event.hint)
            case ev.EditCancelled():
                self._put_back(event.reason)
            case ev.JobDone():
                self._finish(event)

    def _finish(self, event: ev.JobDone) -> None:
        if event.exit_code == 130:
            self._put_back()
        elif self._keys:
            self._fail(event.message or "The engine ended the job without an edit.", event.hint)
        elif not event.ok and self._later:
            self.queue.fail(*self._later, reason=f"{event.message} {event.hint}".strip())
            self._later, self.failed = (), self.failed + len(self._later)
        self.queue.put_back(*self._later)
        self._later, self._job = (), ""

    def _fail(self, message: str, hint: str) -> None:
        self.queue.fail(*self._keys, reason=f"{message} {hint}".strip())
        self._keys, self.failed = (), self.failed + 1

    def _put_back(self, reason: str = "") -> None:
        self.queue.put_back(*self._keys, reason=f"discarded by the guard: {reason}" if reason else "")
        self._keys = ()
        self.disarm()

    def lost(self) -> None:
        """The engine is gone. When the stack is open again, `Queue.settle` sees whether the edit was made."""
        self.queue.interrupt()
        self._keys, self._later, self._job = (), (), ""
        self.disarm()

    def _summary(self) -> str:
        if not (self.made or self.failed):
            waiting = len(self.queue)
            return "Nothing to run: the queue is empty." if not waiting else "Nothing to run: no edit is ready."
        failed = f", {self.failed} failed" if self.failed else ""
        return f"Queue done: {self.made} made{failed}."


def rounds(ready: Sequence[QueueItem], state: State) -> tuple[int, ...]:
    """How many edits would be made together at a time; 1: one by itself."""
    sizes: list[int] = []
    while (done := sum(sizes)) < len(ready):
        sizes.append(len(_alike(ready[done : done + MOST_TOGETHER], state)))
    return tuple(sizes)


def _alike(ready: Sequence[QueueItem], state: State) -> Sequence[QueueItem]:
    """The first of them, as many as can be made together: set alike, by a method that makes an edit of each."""
    profile = state.model.recipe.get("method") if state.model else None
    if ready[0].draft.overrides().get("method", profile) in BATCHED:
        return ready[:1]
    first = _set(ready[0])
    return tuple(takewhile(lambda item: _set(item) == first, ready[:MOST_TOGETHER]))


def _set(item: QueueItem) -> tuple[str, bool]:
    return item.draft.recipe_settings, item.draft.chat


def applied_edits(state: State) -> tuple[ev.EditRow, ...]:
    """The edits up to the stack's position, the newest last."""
    stack = state.stack
    return () if stack is None or stack.position > len(stack.edits) else stack.edits[: max(stack.position, 0)]


def newest_applied(state: State) -> ev.EditRow | None:
    """The edit at the stack's position; None at the base."""
    applied = applied_edits(state)
    return applied[-1] if applied else None
