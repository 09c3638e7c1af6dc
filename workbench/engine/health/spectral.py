"""The largest singular value of a change that is known by its factors, without ever making it where it is of low rank.

Source: subspace iteration with a Rayleigh-Ritz step (Halko, Martinsson, Tropp, arXiv 0909.4061, section 4.4).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from workbench.stack.record import Factors

if TYPE_CHECKING:
    import numpy.typing as npt

    Matrix = npt.NDArray[np.float32]
    Columns = npt.NDArray[np.float64]

COLUMNS = 8
"""Directions that are followed at once: values as close as that many neighbours do not slow it down."""
ROUNDS = 300
TOLERANCE = 1e-9
"""It ends when the value has grown by less than this part of itself."""


def spectral_norm(factors: Sequence[Factors]) -> float:
    """|Σ B A|₂ of updates of one module, float64 up to float32's rounding; 0 without any; infinite if not finite.

    Factors of a total rank beyond the matrix's shorter side are summed to a matrix first: it is smaller than they are.
    """
    if not factors:
        return 0.0
    a = np.concatenate([one.a for one in factors])  # (r, d_in)
    b = np.concatenate([one.b for one in factors], axis=1)  # (d_out, r)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("inf")
    size = _to_about_one(a) + _to_about_one(b)
    if len(a) > min(a.shape[1], len(b)):
        return math.ldexp(largest_singular_value(b @ a), size)
    return math.ldexp(_largest(a.shape[1], lambda x: b @ (a @ x), lambda y: a.T @ (b.T @ y)), size)


def largest_singular_value(matrix: Matrix) -> float:
    """The same of a matrix as it stands, (d_out, d_in)."""
    return _largest(matrix.shape[1], lambda x: matrix @ x, lambda y: matrix.T @ y)


def _to_about_one(factor: Matrix) -> int:
    """Takes a power of two out of `factor`, in place, so that no product of float32 overflows; returns it."""
    size = math.frexp(float(max(factor.max(), -factor.min())))[1]
    np.ldexp(factor, -size, out=factor)
    return size


def _largest(width: int, times: Callable[[Matrix], Matrix], transposed: Callable[[Matrix], Matrix]) -> float:
    """Of the map `times`, from `width` dimensions, and its transpose; both take float32 columns."""
    columns = _start(width)
    value = 0.0
    for _ in range(ROUNDS):
        image = times(columns.astype(np.float32)).astype(np.float64)  # (d_out, columns)
        grown = float(np.linalg.svd(image, compute_uv=False)[0])
        if grown <= value * (1 + TOLERANCE):
            return max(grown, value)
        value = grown
        columns, _ = np.linalg.qr(transposed(image.astype(np.float32)).astype(np.float64))
    return value


def _start(width: int) -> Columns:
    """Orthonormal columns, (width, columns), the same ones every time."""
    drawn = np.random.default_rng(0).standard_normal((width, min(COLUMNS, width)))
    columns, _ = np.linalg.qr(drawn)
    return columns
