"""What the making of every edit has in common: the way to its commit, and what is measured before it.

The update is inserted, probed and only then saved, so that the file holds what was measured. Until the save has
succeeded any exit (failure, cancel, a guard's answer, a closed generator) puts the former weights back.
"""

from __future__ import annotations

import dataclasses
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator
from typing import Any, TypeVar

from workbench.editing.cancel import Cancelled
from workbench.edits import EditRequest
from workbench.engine.core import Core
from workbench.engine.earlier import probe_earlier
from workbench.engine.guarding import Discarded, Watch, pass_guard, values_of
from workbench.engine.memory import memory_used
from workbench.events import (
    EditCancelled,
    EditCommitted,
    Event,
    GuardTripped,
    KeyReady,
    ProbeResult,
    Warning,  # noqa: A004  the wire's word
)
from workbench.guards import Decision
from workbench.models.device import within_memory
from workbench.probing.generation import continuation
from workbench.stack.record import Edit

T = TypeVar("T")

SAMPLE_TOKENS = 24
"""Length of the sample continuation shown after an edit."""


class Measuring(ABC):
    """One edit being made on the state that the model shows, and what was measured on the way."""

    def __init__(self, core: Core, cancelled: Callable[[], bool]) -> None:
        self.core, self.cancelled = core, cancelled
        self.steps: list[Any] = []
        """The steps of the optimisation, as events."""
        self.key: KeyReady | None = None
        self.waited = 0.0
        """Seconds that a guard's question was open."""

    @abstractmethod
    def commit(self, watch: Watch | None = None) -> Generator[Event, None, Edit]:
        """All stages; returns the committed edit. Raises Discarded if that is what becomes of it."""

    def stand(self, edit: Edit, watch: Watch | None) -> Generator[Event, None, Edit]:
        """Asks how the earlier edits hold and passes the guard; gives `edit` with what came of both."""
        core, metrics = self.core, dict(edit.metrics)
        earlier = probe_earlier(core, edit.requests)
        if earlier is not None:
            yield earlier
            metrics["earlier"] = as_table(earlier)
        yield from memory_now(core)
        values = values_of(core, edit, self.key.key_norm if self.key else None, earlier)
        tripped = yield from pass_guard(self._timed(watch), values, self.cancelled)
        if tripped:
            metrics["guard"] = [as_table(one) for one in tripped]
        return dataclasses.replace(edit, metrics=metrics)

    def _timed(self, watch: Watch | None) -> Watch | None:
        """`watch`, of which it is known how long the answer takes."""
        if watch is None or watch.decide is None:
            return watch
        ask = watch.decide

        def decide(tripped: tuple[GuardTripped, ...]) -> Decision:
            asked = time.monotonic()
            try:
                return ask(tripped)
            finally:
                self.waited += time.monotonic() - asked

        return Watch(watch.guard, decide)

    def sample(self, request: EditRequest) -> Generator[Event, None, ProbeResult]:
        """How the request's prompt goes on now."""
        loaded = self.core.loaded
        pieces = continuation(loaded.model, loaded.tokenizer, request.text, max_new=SAMPLE_TOKENS, chat=request.chat)
        sample = ProbeResult(kind="generation", prompt=request.text, answer="".join(pieces), side="stack")
        yield sample
        return sample

    def read_perplexity(self, before: float | None) -> Generator[Event, None, dict[str, float | None]]:
        """The perplexity now, beside that `before`, for the file."""
        after = self.core.perplexity_here()
        if after is not None:
            yield ProbeResult(kind="perplexity", prompt="held-out text", value=after, before=before, side="stack")
            yield from broken_model(after)
        return {"before": before, "after": after, "base": self.core.perplexity_base()}


def committed(
    core: Core, making: Measuring, module: str, watch: Watch | None, started: float
) -> Generator[Event, None, bool]:
    """Runs `making` to its end, and says which it was; returns whether the edit was committed.

    `module`: whose sha256 is told; `started`: when the edit began, as time.monotonic. Raises what `making` raises.
    """
    try:
        with within_memory():
            edit = yield from or_restore(core, making.commit(watch))
    except Cancelled as stopped:
        reason = stopped.message if isinstance(stopped, Discarded) else ""
        yield EditCancelled(position=core.stack.position, step=len(making.steps), reason=reason)
        return False
    path = core.stack.path_of(edit)
    yield EditCommitted(
        edit=edit.id,
        file=str(path),
        position=core.stack.position,
        weight_sha256=edit.weights[module]["after"],
        bytes=path.stat().st_size,
        seconds=time.monotonic() - started - making.waited,
    )
    yield core.changed()
    return True


def or_restore(core: Core, making: Generator[Event, None, T]) -> Generator[Event, None, T]:
    """Runs `making`; if it does not return, the weights are as before."""
    before = core.live.shown
    done = False
    try:
        made = yield from making
        done = True
        return made
    finally:
        if not done and core.live.shown is not before:
            core.live.show(before)


def broken_model(perplexity: float) -> Iterator[Warning]:
    """Says so if nothing is left of the model."""
    if not math.isfinite(perplexity):
        yield Warning(
            message="The model no longer predicts held-out text at all: its perplexity is infinite.",
            hint="Undo the edit, and use a smaller clamp_factor or r-rome.",
        )


def memory_now(core: Core) -> Iterator[Event]:
    """How much memory is in use, where that can be told."""
    used = memory_used(core.loaded.device)
    if used is not None:
        yield used


def as_table(event: Event, *without: str) -> dict[str, Any]:
    """An event as a plain table, without its stamp and the fields named."""
    left_out = {"job", "seq", "t", *without}
    return {key: value for key, value in dataclasses.asdict(event).items() if key not in left_out}
