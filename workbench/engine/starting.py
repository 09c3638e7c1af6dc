"""What a process that runs an engine does once, at its start: it imports without pauses and takes the threads it needs.

Only for a process of its own: both are settings of the whole process. Free of torch until it is asked for.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from workbench.events import Event, ModelReady

if TYPE_CHECKING:
    from workbench.engine.engine import Engine

PARAMETERS_A_THREAD = 50_000_000
"""Weights below which a thread more costs more in waiting than it computes."""
CHOSEN = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Variables by which a person chooses the number of threads."""


def start_engine(model: str, **options: Any) -> Generator[Event, None, Engine]:
    """As `open_engine`, with what a process of its own does besides; its first event comes once torch is imported.

    Raises:
        WorkbenchError: as `open_engine`.
    """
    atexit.register(_end_quietly)
    with _no_collection():
        from workbench.engine.engine import open_engine
    with closing(open_engine(model, **options)) as loading:
        while True:
            try:
                event = next(loading)
            except StopIteration as end:
                engine: Engine = end.value
                return engine
            if isinstance(event, ModelReady):
                settle_threads(event.parameters)
            yield event


@contextmanager
def _no_collection() -> Iterator[None]:
    """No search for garbage inside: what is made there stays for good, and is never searched later either."""
    searching = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if searching:
            gc.enable()


def _end_quietly() -> None:
    """Lets triton say nothing at the very end, when a person has all there is to read.

    What is never searched is not taken apart either, which is a second less to wait; nanobind, by which triton is bound
    since torch 2.15 at the latest, lists all of it on stderr as leaked.
    """
    if "triton" not in sys.modules or sys.stderr is None:
        return
    sys.stderr.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def threads_for(parameters: int, cores: int) -> int:
    """How many threads one operation of a model with so many parameters should run on, of `cores`.

    One for every PARAMETERS_A_THREAD, and at least one. Threads of one operation wait for the slowest of them: where
    the parts are small, and another process takes a core, all wait far longer than they compute.
    """
    return max(1, min(cores, parameters // PARAMETERS_A_THREAD))


def settle_threads(parameters: int) -> None:
    """Gives this process the threads that suit a model with so many parameters, never more than torch has chosen.

    A number that a person chose by OMP_NUM_THREADS or MKL_NUM_THREADS stays.
    """
    import torch

    if not any(os.environ.get(name) for name in CHOSEN):
        torch.set_num_threads(threads_for(parameters, torch.get_num_threads()))
