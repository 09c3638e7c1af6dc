"""Work in pieces, a piece to a core. Each thread works alone, so nobody waits for the slowest at every operation.

torch's own threads share one operation and meet at its end; with thousands of short operations, and other programs on
the machine, they mostly wait. torch lets go of Python's lock while it computes, and so does a hash.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from typing import TypeVar

import torch

S = TypeVar("S")
T = TypeVar("T")

FEW = 2**22
"""Numbers to write, below which threads are not worth their start: about a millisecond."""


def cores_for(writes: int, device: torch.device) -> int:
    """How many cores to use for so many numbers to write: those that torch may use here, if it is enough work."""
    return torch.get_num_threads() if device.type == "cpu" and writes >= FEW else 1


def on_cores(do: Callable[[S], T], pieces: Sequence[S], cores: int) -> Iterator[T]:
    """The result of `do` for each of `pieces`, in order, made on `cores` threads; 1: in this one, when asked for.

    What has not begun when the iterator is closed, or when a piece fails, is not done; when it ends, nothing runs.
    """
    if cores == 1:
        yield from map(do, pieces)
        return
    with _threads_of_their_own(cores) as pool:
        yield from pool.map(do, pieces)


@contextmanager
def _threads_of_their_own(count: int) -> Iterator[ThreadPoolExecutor]:
    """A pool whose threads share no operation of torch with others; the number of the other threads stays."""
    threads = torch.get_num_threads()
    begun = Barrier(count + 1)

    def alone() -> None:
        torch.get_num_threads()  # a thread takes the number over when it first asks; from here on it has its own
        torch.set_num_threads(1)  # of this thread, and of threads that have not asked: put back below
        begun.wait()

    with ThreadPoolExecutor(count) as pool:
        for _ in range(count):
            pool.submit(alone)
        begun.wait()
        torch.set_num_threads(threads)
        yield pool
