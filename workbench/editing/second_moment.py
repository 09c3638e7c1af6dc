"""C, the second moment of keys, factorised once and then only solved with; it is never inverted.

Source: ROME, arXiv 2202.05262, equation 2: the update's direction is C⁻¹ k.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from workbench.errors import EditError

CONDITION_LIMIT = 1.0 / torch.finfo(torch.float32).eps
"""Beyond this condition number the smallest directions of a float32 matrix are rounding (8.4e6)."""
SAMPLES_PER_DIMENSION = 2
"""Fewer keys than this times d_in are too few to say anything about the smallest directions."""
FEW_SAMPLES_RIDGE = 0.01
"""Ridge for too few samples, as a part of the mean of C's diagonal."""
GIVES_BACK = 1e-9
"""What a factor may lose of C, relative to it, where it was computed elsewhere."""
_POWER_STEPS = 30
_ROWS = 512


@dataclass(frozen=True, eq=False)
class Factorisation:
    """C + ridge · I = L Lᵀ in float64."""

    lower: Tensor
    """L, (d_in, d_in)."""
    ridge: float
    """What was added to the diagonal, in C's units; 0: nothing."""
    condition: float
    """Estimate of the condition number of C itself, from below; infinite if C is not positive definite."""
    reason: str
    """Why there is a ridge, in words; empty if there is none."""


@dataclass(frozen=True, eq=False)
class SecondMoment:
    """E[k kᵀ] of the keys of one down-projection over ordinary text, uncentred.

    Raises:
        EditError: on construction, if C is not a square matrix of finite numbers or `samples` is not positive; on
            first use, if it is not symmetric positive (semi-)definite.
    """

    C: Tensor
    """(d_in, d_in), float32."""
    samples: int
    """Keys that it is the mean of."""
    fingerprint: str
    """Names this matrix in the edit file."""
    device: torch.device | None = None
    """Where it is to be factorised; None: where C is."""

    def __post_init__(self) -> None:
        if self.C.dim() != 2 or self.C.shape[0] != self.C.shape[1] or not bool(self.C.isfinite().all()):
            raise EditError("The second moment C is not a square matrix of numbers.", "Compute it again.")
        if self.samples < 1:
            raise EditError("The second moment C is the mean of no keys.", "Compute it again.")

    @property
    def dimension(self) -> int:
        """d_in."""
        return int(self.C.shape[0])

    @property
    def ridge(self) -> float:
        """What was added to C's diagonal, in C's units; 0 for a well-conditioned C with enough samples."""
        return self.factorisation.ridge

    @cached_property
    def factorisation(self) -> Factorisation:
        """The Cholesky factor, computed on first use. Raises EditError as the class says.

        It is on `device`, unless that has no room for it or does not give C back: then where C is.
        """
        if self.device is not None and self.device != self.C.device:
            with suppress(EditError, RuntimeError):
                found = factorise(self.C.to(self.device), self.samples)
                if _gives_back(found, self.C):
                    return found
        return factorise(self.C, self.samples)

    def solve(self, k: Tensor) -> Tensor:
        """(C + ridge · I)⁻¹ k for `k`, (d_in,): float64, where C was factorised."""
        lower = self.factorisation.lower
        return _solve(lower, k.to(lower.device, torch.float64).unsqueeze(1)).squeeze(1)


def factorise(matrix: Tensor, samples: int) -> Factorisation:
    """Cholesky of a second moment, (d, d), with a ridge where it needs one; takes the memory of one float64 copy.

    Raises:
        EditError: the matrix is not symmetric, or no ridge can help.
    """
    if not _symmetric(matrix):
        raise EditError("The second moment C is not symmetric.", "Compute it again.")
    wide = matrix.to(torch.float64, copy=True)
    largest = _largest(wide)
    lower = _cholesky(wide)
    condition = float("inf") if lower is None else largest * _inverse_largest(lower)
    ridge, reason = _ridge(float(matrix.diagonal().double().mean()), len(matrix), samples, largest, condition)
    if ridge > 0:
        wide.copy_(matrix).diagonal().add_(ridge)
        lower = _cholesky(wide)
    if lower is None:
        raise EditError("The second moment C is not positive definite.", "Compute it again over more text.")
    return Factorisation(lower, ridge, condition, reason)


def _symmetric(matrix: Tensor) -> bool:
    """Whether a square matrix is its transpose, up to rounding; some rows at a time."""
    limit = 1e-6 * max(float(matrix.max()), -float(matrix.min()))
    rows, columns = torch.split(matrix, _ROWS), torch.split(matrix.T, _ROWS)
    return all(torch.allclose(row, column, rtol=1e-4, atol=limit) for row, column in zip(rows, columns, strict=True))


def _ridge(diagonal: float, size: int, samples: int, largest: float, condition: float) -> tuple[float, str]:
    """How much to add to the diagonal, whose mean is `diagonal`, and why."""
    ridge, reasons = 0.0, []
    if samples < SAMPLES_PER_DIMENSION * size:
        ridge = FEW_SAMPLES_RIDGE * diagonal
        reasons.append(f"it is the mean of only {samples} keys for {size} dimensions")
    if condition > CONDITION_LIMIT:
        ridge = max(ridge, 2 * largest / CONDITION_LIMIT)
        reasons.append(f"its condition number is {condition:.1e}")
    return ridge, " and ".join(reasons)


def _cholesky(wide: Tensor) -> Tensor | None:
    """L in the place of `wide`, symmetric, which it overwrites; None if that is not positive definite."""
    lower = wide.T  # as LAPACK wants it: no copy is made
    failed = torch.empty((), dtype=torch.int32, device=wide.device)
    torch.linalg.cholesky_ex(lower, out=(lower, failed))
    return None if int(failed) or not bool(lower.sum().isfinite()) else lower


def _solve(lower: Tensor, columns: Tensor) -> Tensor:
    """(L Lᵀ)⁻¹ times `columns`, (d, n); `cholesky_solve` would copy L, which takes longer than solving."""
    half = torch.linalg.solve_triangular(lower, columns, upper=False)
    solved: Tensor = torch.linalg.solve_triangular(lower.T, half, upper=True)
    return solved


def _gives_back(found: Factorisation, matrix: Tensor) -> bool:
    """Whether L Lᵀ x is (C + ridge · I) x, up to rounding, for C in `matrix`; some rows at a time."""
    column = _start(len(matrix), found.lower)
    got, there = (found.lower @ (found.lower.T @ column)).to(matrix.device), column.to(matrix.device)
    wanted = torch.cat([rows.double() @ there for rows in torch.split(matrix, _ROWS)]) + found.ridge * there
    return float((got - wanted).norm()) <= GIVES_BACK * float(wanted.norm())


def _start(size: int, like: Tensor) -> Tensor:
    """A fixed column with a part in every direction that matters; no randomness, so that estimates repeat."""
    return torch.linspace(1.0, 2.0, size, dtype=like.dtype, device=like.device).cos().unsqueeze(1)


def _largest(wide: Tensor) -> float:
    """Largest eigenvalue of a symmetric positive matrix, by power iteration."""
    vector, norm = _start(len(wide), wide), 0.0
    for _ in range(_POWER_STEPS):
        vector = wide @ (vector / vector.norm().clamp_min(1e-300))
        norm = float(vector.norm())
    return norm


def _inverse_largest(lower: Tensor) -> float:
    """Largest eigenvalue of (L Lᵀ)⁻¹, by power iteration on solves."""
    vector, norm = _start(len(lower), lower), 0.0
    for _ in range(_POWER_STEPS):
        vector = _solve(lower, vector / vector.norm().clamp_min(1e-300))
        norm = float(vector.norm())
    return norm
