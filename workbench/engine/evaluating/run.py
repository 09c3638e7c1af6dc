"""An evaluation in one process: the model is loaded, the plan agreed on, and this worker's cases are done."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

from workbench.editing.cancel import Cancelled, check
from workbench.edits import Recipe
from workbench.engine.engine import Engine
from workbench.engine.evaluating.plan import Wanted, check_wanted, plan_of
from workbench.engine.evaluating.record import CheckpointLine
from workbench.engine.evaluating.results import STACK, Results, check_free, check_mode
from workbench.engine.evaluating.scorer import Scorer
from workbench.engine.evaluating.sequential import edit_in_sequence
from workbench.engine.evaluating.single import edit_alone, units_of
from workbench.engine.starting import start_engine
from workbench.engine.stats.ranks import Ranks, device_for
from workbench.errors import StackBusy, UsageError
from workbench.events import EvalStarted, Event, StackChanged
from workbench.stack.files import make_folder
from workbench.stack.lock import WriterLock

PAUSE = 0.5
"""Seconds between two looks at what other processes have done, at least."""
IDLE = 10
"""How many times longer than such a look takes it is until the next."""
ALONE = Ranks()


def run(
    wanted: Wanted, cancelled: Callable[[], bool], ranks: Ranks = ALONE, *, waiting: bool = False
) -> Generator[Event, None, bool]:
    """Does this worker's share of the cases; returns whether it came to its end.

    Worker r of n does edit r, r + n, ... of the plan; with several, each writes a part file of its own. With `waiting`
    the first one waits for the others, and then puts the parts together.

    Raises:
        UsageError: what is asked for makes no sense together, or the folder holds something else.
        EditError: there is no second moment.
        ModelError, DeviceError, StackError, StorageError: of the model, the device, the folder and the disk.
    """
    with contextlib.ExitStack() as held:
        engine = yield from _opened(wanted, ranks, held)
        core = engine.core
        recipe = core.recipe(wanted.changes)
        check_wanted(wanted, recipe)
        results = Results.of(wanted.out, plan_of(core, wanted, recipe), ranks.rank, ranks.size)
        held.enter_context(_locked(wanted.out, ranks))
        yield _started(engine, wanted, recipe, results, ranks)
        try:
            yield from _work(engine, wanted, recipe, results, ranks, cancelled)
            if ranks.size == 1 or (waiting and ranks.leads):
                _put_together(wanted, results, cancelled, waiting=waiting)
        except Cancelled:
            return False
    return True


def _opened(wanted: Wanted, ranks: Ranks, held: contextlib.ExitStack) -> Generator[Event, None, Engine]:
    """The engine, on a stack that is kept only where edits are made one after the other."""
    if wanted.mode == "sequential":
        if ranks.size > 1:
            raise UsageError(
                "Edits that build on each other are made by one worker.", "Use --mode single, or one worker."
            )
        folder = wanted.out / STACK
        check_free(wanted.out)
        check_mode(wanted.out, wanted.mode)
    else:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="workbench-eval-")))
    starting = start_engine(
        wanted.model,
        device=device_for(ranks, wanted.device),
        dtype=wanted.dtype,
        options=wanted.options,
        stack=folder,
        write=True,
    )
    engine = yield from _without_stack(starting) if wanted.mode == "single" else starting
    held.callback(engine.close)
    return engine


def _without_stack(starting: Generator[Event, None, Engine]) -> Generator[Event, None, Engine]:
    """Passes on what is said while a model is loaded, but nothing of a stack that nobody sees."""
    while True:
        try:
            event = next(starting)
        except StopIteration as stop:
            engine: Engine = stop.value
            return engine
        if not isinstance(event, StackChanged):
            yield event


@contextlib.contextmanager
def _locked(out: Path, ranks: Ranks) -> Iterator[None]:
    """Raises StackBusy if another process does the same share of the same plan."""
    make_folder(out)
    try:
        lock = WriterLock(out, "lock" if ranks.size == 1 else f"lock.{ranks.rank}")
    except StackBusy as error:
        raise StackBusy(f"Another process is doing this evaluation in {out}.", "Wait until it is done.") from error
    try:
        yield
    finally:
        lock.release()


def _started(engine: Engine, wanted: Wanted, recipe: Recipe, results: Results, ranks: Ranks) -> EvalStarted:
    return EvalStarted(
        dataset=wanted.dataset.name,
        model=engine.core.loaded.name,
        mode=wanted.mode,
        recipe=recipe.to_json(),
        cases=len(wanted.cases),
        done=sum(case.number in results.cases for case in wanted.cases),
        out=str(wanted.out),
        workers=ranks.size,
    )


def _work(
    engine: Engine,
    wanted: Wanted,
    recipe: Recipe,
    results: Results,
    ranks: Ranks,
    cancelled: Callable[[], bool],
) -> Generator[Event, None, None]:
    scorer = Scorer(engine.core, wanted, recipe, cancelled)
    if ranks.leads and 0 not in results.checkpoints:
        results.add_checkpoint(CheckpointLine(0, {}, engine.core.perplexity_base(), 0.0))
    if wanted.mode == "sequential":
        yield from edit_in_sequence(engine, wanted, scorer, results, cancelled)
        return
    units = units_of(wanted.cases, wanted.batch)
    mine = [unit for place, unit in enumerate(units) if ranks.mine(place)]
    yield from edit_alone(engine.core, mine, recipe, scorer, results, len(wanted.cases), cancelled)


def _put_together(wanted: Wanted, results: Results, cancelled: Callable[[], bool], *, waiting: bool) -> None:
    """Puts the lines of all workers into one file, in order, once they are all there."""
    order = [case.number for case in wanted.cases]
    results.reread()
    while waiting and not all(number in results.cases for number in order):
        check(cancelled)
        looking = time.monotonic()
        results.reread()
        time.sleep(max(PAUSE, IDLE * (time.monotonic() - looking)))
    if all(number in results.cases for number in order):
        results.seal(order)
