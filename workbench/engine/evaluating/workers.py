"""Several processes that share the edits of one evaluation, each with a model of its own, on a GPU of its own if any.

They are started here, or are the ranks of torchrun or accelerate launch. Every worker writes its own part of the
results, so that what one has done is there however another ends.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import FrameType

from workbench.engine.evaluating.plan import Wanted
from workbench.engine.evaluating.results import PLAN, Results
from workbench.engine.evaluating.run import run
from workbench.engine.stats.ranks import Ranks, asked_for
from workbench.errors import EditError, UsageError, WorkbenchError
from workbench.events import (
    CaseScored,
    EvalStarted,
    Event,
    JobDone,
    ModelLoading,
    Warning,  # noqa: A004  the wire's word
    from_line,
    to_line,
)

PATIENCE = 0.2
"""Seconds between two looks at whether to stop."""
LAST_WORDS = 60.0
"""Seconds for which a worker that was asked to stop is waited for."""
GO_ON = "What is done is kept; the same command goes on."


def evaluate(wanted: Wanted, workers: int, cancelled: Callable[[], bool]) -> Generator[Event, None, bool]:
    """Evaluates `wanted` here, with so many processes, or as the rank of a launcher that this process is.

    Returns whether it came to its end; what is done is on the disk in any case.

    Raises:
        UsageError: several workers, where edits build on each other or a launcher has started some already.
        EditError: a worker ended without a word.
        WorkbenchError: as `run`, here or in a worker.
    """
    ranks = asked_for()
    if ranks.size > 1 and workers > 1:
        raise UsageError("A launcher has started several workers already.", "Leave out --workers.")
    if workers == 1:
        return (yield from run(wanted, cancelled, ranks, waiting=ranks.size > 1))
    if wanted.mode == "sequential":
        raise UsageError("Edits that build on each other are made by one worker.", "Leave out --workers.")
    told = _Told(workers, _done(wanted))
    with _started(wanted, workers) as running:
        yield from _follow(running, told, cancelled)
    return _put_together(wanted)


def _done(wanted: Wanted) -> int:
    """How many cases an earlier run has done."""
    if not (wanted.out / PLAN).is_file():
        return 0
    done = Results.at(wanted.out).cases
    return sum(case.number in done for case in wanted.cases)


def _put_together(wanted: Wanted) -> bool:
    """Makes one file of all parts, if every case is there."""
    order = [case.number for case in wanted.cases]
    results = Results.at(wanted.out)
    done = all(number in results.cases for number in order)
    if done:
        results.seal(order)
    return done


@dataclass
class _Worker:
    """One process, and what it says."""

    rank: int
    process: SpawnProcess
    said: Connection

    def stop(self) -> None:
        """Asks it to stop where nothing is half done."""
        with suppress(OSError):
            self.process.terminate()


@contextmanager
def _started(wanted: Wanted, workers: int) -> Iterator[list[_Worker]]:
    """The workers, running; at the end of the block they have ended."""
    context = multiprocessing.get_context("spawn")
    running: list[_Worker] = []
    try:
        for rank in range(workers):
            here, there = context.Pipe(duplex=False)
            process = context.Process(target=_work, args=(wanted, Ranks(rank, workers), there, os.getpid()))
            with _deaf():
                process.start()
            there.close()
            running.append(_Worker(rank, process, here))
        yield running
    finally:
        for worker in running:
            worker.stop()
        until = time.monotonic() + LAST_WORDS
        for worker in running:
            worker.process.join(max(until - time.monotonic(), 0.1))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.said.close()


@contextmanager
def _deaf() -> Iterator[None]:
    """A process started inside hears Ctrl+C only once it says so; until then it would end with a traceback."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _follow(running: list[_Worker], told: _Told, cancelled: Callable[[], bool]) -> Generator[Event, None, None]:
    """What the workers say, until all have ended. Raises what one of them ended with."""
    going = [*running]
    stopping = False
    while going:
        if cancelled() and not stopping:
            stopping = True
            for worker in running:
                worker.stop()
        ready = wait([worker.said for worker in going], PATIENCE)
        for worker in [worker for worker in going if worker.said in ready]:
            event = _heard(worker)
            if isinstance(event, JobDone):
                going.remove(worker)
                if not event.ok:
                    raise _as_said(event)
            else:
                yield from told(worker.rank, event)


class _Told:
    """What of the workers' words goes on: each case once, and the loading of one of them."""

    def __init__(self, workers: int, done: int) -> None:
        self._workers, self._before, self._done = workers, done, done

    def __call__(self, rank: int, event: Event) -> Iterator[Event]:
        match event:
            case EvalStarted() if rank == 0:
                yield replace(event, workers=self._workers, done=self._before)
            case CaseScored():
                self._done += 1
                yield replace(event, done=self._done)
                words = f"case {self._done} of {event.of}, {self._workers} workers"
                yield ModelLoading(stage=words, fraction=self._done / event.of)
            case ModelLoading() if rank == 0 and self._done == self._before:
                yield event
            case Warning():
                yield event
            case _:
                pass


def _heard(worker: _Worker) -> Event:
    """The next event of a worker. Raises EditError if it has ended without a word."""
    try:
        event = from_line(worker.said.recv_bytes())
    except (EOFError, OSError) as error:
        worker.process.join(1.0)
        code = worker.process.exitcode
        how = "was killed" if code is not None and code < 0 else f"ended with code {code}"
        raise EditError(f"Worker {worker.rank} {how} in the middle of its work.", GO_ON) from error
    return event or Event()


def _as_said(done: JobDone) -> WorkbenchError:
    """The error of a worker, as its own class where that is known by its exit code."""
    error = WorkbenchError(done.message, done.hint)
    error.exit_code = done.exit_code
    return error


def _work(wanted: Wanted, ranks: Ranks, say: Connection, parent: int) -> None:
    """A worker's whole life. It stops when it is asked to, and when whoever started it is gone."""
    stopping: list[int] = []

    def stop(signum: int, _: FrameType | None) -> None:
        stopping.append(signum)

    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, stop)
    done = JobDone(ok=True)
    with suppress(BrokenPipeError):
        try:
            for event in run(wanted, lambda: bool(stopping) or os.getppid() != parent, ranks):
                say.send_bytes(to_line(event).encode())
        except WorkbenchError as error:
            done = JobDone(ok=False, message=error.message, hint=error.hint, exit_code=error.exit_code)
        say.send_bytes(to_line(done).encode())
