"""Downstream tasks before and after a stack: what the edits cost elsewhere. Some need nothing that is not installed."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from workbench.editing.cancel import check
from workbench.engine.at_state import PRESENT, at_state
from workbench.engine.core import Core
from workbench.engine.harness import Harness, Measured
from workbench.engine.health.cloze import ASKED, Cloze, Item, complete, items_for
from workbench.engine.states import State
from workbench.events import Event, HealthStep, TaskScored, Warning  # noqa: A004  the wire's word
from workbench.models.device import within_memory

PERPLEXITY, CLOZE = "perplexity", "cloze"
OFFLINE = (PERPLEXITY, CLOZE)
"""Tasks that need neither the harness nor a network."""


@dataclass(frozen=True)
class Asked:
    """What is to be run."""

    tasks: tuple[str, ...] = OFFLINE
    limit: int | None = None
    """Items of each task; None: all, and of cloze 200."""
    items: tuple[Item, ...] | None = None
    """Those of cloze; None: facts that ship and that no edit is about."""
    include: Path | None = None
    """A folder with task definitions of one's own."""
    seed: int = 0
    """Which items of cloze."""


def downstream(
    core: Core, asked: Asked, at: str = PRESENT, *, cancelled: Callable[[], bool]
) -> Generator[Event, None, tuple[TaskScored, ...]]:
    """Runs every task on the base and in the state `at`; yields a TaskScored a measure. The model is left as it was.

    Raises:
        UsageError: no such state or task, or the harness is not installed. EditError: a task cannot be run; one whose
            data is not there is found before any is run.
        Cancelled: `cancelled` said so, which is asked between tasks.
    """
    foreign = [name for name in asked.tasks if name not in OFFLINE]
    harness = Harness(core, foreign, asked.include, asked.limit) if foreign else None
    found: list[TaskScored] = []
    with within_memory(), at_state(core, at) as line:
        if harness:
            yield from _loaded(harness, foreign, cancelled)
        for number, name in enumerate(asked.tasks):
            check(cancelled)
            yield HealthStep(what=name, done=number, of=len(asked.tasks))
            if name == PERPLEXITY:
                scored = [(yield from _perplexity(core))]
            elif name == CLOZE:
                scored = [_cloze((yield from complete(core, _items(core, line, asked), cancelled)))]
            elif harness:
                with core.live.at_base():
                    base = harness.run(name)
                check(cancelled)
                scored = _both(base, harness.run(name))
            yield from scored
            found += scored
    return tuple(found)


def _loaded(harness: Harness, names: Sequence[str], cancelled: Callable[[], bool]) -> Iterator[Event]:
    """Reads all tasks before the first is run: what cannot be run is known at once."""
    for number, name in enumerate(names):
        check(cancelled)
        yield HealthStep(what=f"reading the data of {name}", done=number, of=len(names))
        for said in harness.load(name):
            yield Warning(message=said)


def _perplexity(core: Core) -> Generator[Event, None, TaskScored]:
    if not core.held_out:
        yield Warning(
            message=f"{core.loaded.name} has no held-out text to measure perplexity on.",
            hint="Put held_out.txt, one text a line, into the model's folder.",
        )
    return TaskScored(
        task=PERPLEXITY,
        metric="perplexity",
        base=core.perplexity_base(),
        edited=core.perplexity_here(),
        items=len(core.held_out),
        higher_is_better=False,
    )


def _items(core: Core, line: State, asked: Asked) -> Sequence[Item]:
    if asked.items is not None:
        return asked.items[: asked.limit]
    edited = (request for edit in line.edits for request in edit.requests)
    return items_for(core, edited, asked.seed, asked.limit or ASKED)


def _cloze(found: Cloze) -> TaskScored:
    return TaskScored(
        task=CLOZE,
        metric="acc",
        base=found.share_base,
        edited=found.share,
        base_error=found.error_base,
        edited_error=found.error_now,
        change_error=found.error,
        items=len(found.right),
    )


def _both(base: Sequence[Measured], now: Sequence[Measured]) -> list[TaskScored]:
    """The measures that both sides have."""
    after = {(one.task, one.metric): one for one in now}
    pairs = ((one, after[one.task, one.metric]) for one in base if (one.task, one.metric) in after)
    return [
        TaskScored(
            task=one.task,
            metric=one.metric,
            base=one.value,
            edited=other.value,
            base_error=one.error,
            edited_error=other.error,
            items=other.items,
            higher_is_better=one.higher_is_better,
        )
        for one, other in pairs
    ]
