"""Adds many outer products to a matrix in one pass over it: a tile stays in the cache while every product is added.

Every element sees the products one after the other, in order, each rounded once to float64: the same operations as
adding one whole outer product after the other, so the same bits, whatever the size of the tiles and whoever adds them.
That is also why no matrix product is used: it would sum the products of an element in an order of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from workbench.stack.cores import cores_for, on_cores
from workbench.stack.record import Factors, Layout
from workbench.stack.whole import add_whole, whole_of

CPU_TILE = 2**18
"""Elements of a tile: 2 MiB in float64, a core's second-level cache or its share of the third. A quarter of it spends
half of the time between the products, for each is one call."""
CUDA_TILE = 2**21
"""Elements of a tile on an accelerator: 16 MiB in float64, within the second-level cache of a data-centre GPU."""
CHUNK = 2**23
"""Numbers of factors that are stacked, and moved to the device, at a time: 64 MiB in float64."""

_Rows = npt.NDArray[np.float32]


def add_outers(total: Tensor, factors: Sequence[Factors], layout: Layout) -> None:
    """Adds outer(b_i, a_i) to `total`, in place, for each rank i of each of `factors` in turn.

    An update kept as itself, beside an identity, is added in one go, which gives the same bits.

    On an exception, an interruption included, `total` holds some products and not others.

    Args:
        total: float64, (d_in, d_out) if `layout` is "in,out", else (d_out, d_in).
        factors: of this one module, in stack order.
        layout: how `total` lies.
    """
    waiting: list[Factors] = []
    for one in factors:
        delta = whole_of(one)
        if delta is None:
            waiting.append(one)
            continue
        _add_products(total, waiting, layout)
        add_whole(total, one, delta, layout)
        waiting = []
    _add_products(total, waiting, layout)


def _add_products(total: Tensor, factors: Sequence[Factors], layout: Layout) -> None:
    """One product after the other, tile by tile."""
    cores = cores_for(total.numel() * sum(one.a.shape[0] for one in factors), total.device)
    rows, columns = tile_shape(total, cores)
    corners = [(top, left) for top in range(0, total.shape[0], rows) for left in range(0, total.shape[1], columns)]
    for a, b in _stacked(factors, total.device):
        first, second = (a, b) if layout == "in,out" else (b, a)

        def add(corner: tuple[int, int], first: Tensor = first, second: Tensor = second) -> None:
            down, along = (slice(start, start + side) for start, side in zip(corner, (rows, columns), strict=True))
            _add_to_tile(total[down, along], first[:, down], second[:, along])

        for _ in on_cores(add, corners, cores):
            pass


def tile_shape(total: Tensor, cores: int = 1) -> tuple[int, int]:
    """Rows and columns of the tiles of `total`: whole rows, unless one row alone is too long; some for each core."""
    room = CPU_TILE if total.device.type == "cpu" else CUDA_TILE
    if cores > 1:
        room = min(room, -(-total.numel() // (4 * cores)))
    return max(1, room // max(1, total.shape[1])), max(1, min(room, total.shape[1]))


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
