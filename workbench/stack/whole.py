"""An update that is kept as itself, beside an identity, added in one go: the bits of one product after the other.

Of the products outer(b_i, a_i) of such an update, one changes an element of the sum; the others add a zero to it. That
leaves every number as it is, but for the sign of a zero: -0 stays -0 only if every zero added to it is -0 too, which is
so where all numbers of the update that lie across are negative. Two additions say the same: the update, and a zero.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from workbench.stack.record import Factors, Layout

CHUNK = 2**23
"""Numbers of an update that are moved to the device at a time: 64 MiB in float64."""

_Matrix = npt.NDArray[np.float32]


def whole_of(factors: Factors) -> _Matrix | None:
    """ΔW, (d_out, d_in), of an update one of whose factors is the identity; None of any other, and of rank one."""
    if factors.a.shape[0] > 1 and _is_identity(factors.b):
        return factors.a
    return factors.b if factors.a.shape[0] > 1 and _is_identity(factors.a) else None


def add_whole(total: Tensor, factors: Factors, delta: _Matrix, layout: Layout) -> None:
    """Adds `delta`, which is `whole_of` those factors, to `total`, in place, as if product by product.

    Args:
        total: float64, (d_in, d_out) if `layout` is "in,out", else (d_out, d_in).
        factors: the update.
        delta: (d_out, d_in).
        layout: how `total` lies.
    """
    upright = total.T if layout == "in,out" else total  # (d_out, d_in)
    across = 0 if delta is factors.a else 1  # along which the products of one element lie
    zeros = np.where(np.signbit(delta).all(across, keepdims=True), -0.0, 0.0)  # (1, d_in) or (d_out, 1)
    every = max(1, CHUNK // delta.shape[1])
    for start in range(0, delta.shape[0], every):
        rows = slice(start, start + every)
        upright[rows] += torch.from_numpy(delta[rows]).to(total.device).double()
        upright[rows] += torch.from_numpy(zeros if across == 0 else zeros[rows]).to(total.device)


def _is_identity(matrix: _Matrix) -> bool:
    rows, columns = matrix.shape
    return rows == columns and matrix[0, 0] == 1 and np.array_equal(matrix, np.eye(rows, dtype=np.float32))
