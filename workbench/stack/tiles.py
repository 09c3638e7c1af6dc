"""Adds many outer products to a matrix in one pass over it: a tile stays in the cache while every product is added.

Every element sees the products one after the other, in order, each rounded once to float64: the same operations as
adding one whole outer product after the other, so the same bits, whatever the size of the tiles and whoever adds them.
That is also why no matrix product is used: it would sum the products of an element in an order of its own.

On a CPU each core takes a tile at a time and waits for nobody, where threads that share a product wait at the end of
every one; torch lets go of Python's lock while it adds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from workbench.stack.record import Factors, Layout

CPU_TILE = 2**18
"""Elements of a tile: 2 MiB in float64, a core's second-level cache or its share of the third. A quarter of it spends
half of the time between the products, for each is one call."""
CUDA_TILE = 2**21
"""Elements of a tile on an accelerator: 16 MiB in float64, within the second-level cache of a data-centre GPU."""
CHUNK = 2**23
"""Numbers of factors that are stacked, and moved to the device, at a time: 64 MiB in float64."""
FEW = 2**24
"""Additions, a few milliseconds, below which threads of one's own are not worth their start."""

_Rows = npt.NDArray[np.float32]
_Add = Callable[[Tensor, Tensor, Tensor], None]


def add_outers(total: Tensor, factors: Sequence[Factors], layout: Layout) -> None:
    """Adds outer(b_i, a_i) to `total`, in place, for each rank i of each of `factors` in turn.

    On an exception, an interruption included, `total` holds some products and not others.

    Args:
        total: float64, (d_in, d_out) if `layout` is "in,out", else (d_out, d_in).
        factors: of this one module, in stack order.
        layout: how `total` lies.
    """
    workers = _workers(total, factors)
    rows, columns = tile_shape(total, workers)
    for a, b in _stacked(factors, total.device):
        first, second = (a, b) if layout == "in,out" else (b, a)
        with _each_tile(workers) as add:
            for top in range(0, total.shape[0], rows):
                for left in range(0, total.shape[1], columns):
                    tile = total[top : top + rows, left : left + columns]
                    add(tile, first[:, top : top + rows], second[:, left : left + columns])


def tile_shape(total: Tensor, workers: int = 1) -> tuple[int, int]:
    """Rows and columns of the tiles of `total`: whole rows, unless one row alone is too long; some for each worker."""
    room = CPU_TILE if total.device.type == "cpu" else CUDA_TILE
    if workers > 1:
        room = min(room, -(-total.numel() // (4 * workers)))
    return max(1, room // max(1, total.shape[1])), max(1, min(room, total.shape[1]))


def _workers(total: Tensor, factors: Sequence[Factors]) -> int:
    """Threads that take a tile each: those that torch may use here, where there is enough to do."""
    ranks = sum(one.a.shape[0] for one in factors)
    return torch.get_num_threads() if total.device.type == "cpu" and total.numel() * ranks >= FEW else 1


@contextmanager
def _each_tile(workers: int) -> Iterator[_Add]:
    """What to call with each tile and its factors; all tiles are done when the block ends."""
    if workers == 1:
        yield _add_to_tile
        return
    threads = torch.get_num_threads()
    begun = Barrier(workers + 1)

    def alone() -> None:
        torch.set_num_threads(1)  # of this thread, and what threads to come begin with
        begun.wait()

    with ThreadPoolExecutor(workers) as pool:
        try:
            for _ in range(workers):
                pool.submit(alone)
            begun.wait()
        finally:
            torch.set_num_threads(threads)
        yield from _in_pool(pool)


def _in_pool(pool: ThreadPoolExecutor) -> Iterator[_Add]:
    tiles: list[Future[None]] = []
    try:
        yield lambda *given: tiles.append(pool.submit(_add_to_tile, *given))
        for done in tiles:
            done.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _add_to_tile(tile: Tensor, first: Tensor, second: Tensor) -> None:
    """Adds outer(first[i], second[i]) for each i in turn; first (n, rows), second (n, columns)."""
    for upright, level in zip(first.unsqueeze(2).unbind(), second.unsqueeze(1).unbind(), strict=True):
        tile.addcmul_(upright, level)  # (rows, 1) times (1, columns)


def _stacked(factors: Sequence[Factors], device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """The ranks of all factors, in order, as float64 matrices (n, d_in) and (n, d_out) on `device`, n bounded."""
    sides = sum(factors[0].a.shape[1:] + factors[0].b.shape[:1]) if factors else 1
    for group in _groups(factors, max(1, CHUNK // sides)):
        a = np.concatenate([rows for rows, _ in group])
        b = np.concatenate([rows for _, rows in group])
        yield torch.from_numpy(a).to(device).double(), torch.from_numpy(b).to(device).double()


def _groups(factors: Sequence[Factors], most: int) -> Iterator[list[tuple[_Rows, _Rows]]]:
    """Lists of (a, b) with `most` ranks in all, the last one with what is left; a (r, d_in), b (r, d_out)."""
    group: list[tuple[_Rows, _Rows]] = []
    room = most
    for one in factors:
        at = 0
        while at < one.a.shape[0]:
            upto = min(at + room, one.a.shape[0])
            group.append((one.a[at:upto], one.b[:, at:upto].T))
            room -= upto - at
            at = upto
            if room == 0:
                yield group
                group, room = [], most
    if group:
        yield group
