"""Many keys and residuals to one update: MEMIT's and EMMET's closed forms, which are one ridge regression.

    MEMIT   D = R [(λC + KKᵀ)⁻¹ K]ᵀ                          arXiv 2210.07229, equation 14
    EMMET   D = R (Kᵀ(λC)⁻¹K + μI)⁻¹ Kᵀ(λC)⁻¹                arXiv 2403.14236, equation 12

With C = L Lᵀ and X = L⁻¹ K both are  D = R (XᵀX + νI)⁻¹ Xᵀ L⁻¹,  ν = λ for MEMIT and λμ for EMMET: the minimum of
|D K − R|² + ν |D L|². ν = 0 meets every equality with the least |D L|, ν large lets C win. Where there are more keys
than dimensions, (XᵀX + νI)⁻¹ Xᵀ = Xᵀ (XXᵀ + νI)⁻¹ makes the same D of a smaller system.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from workbench.editing.second_moment import SecondMoment
from workbench.edits import Recipe
from workbench.errors import EditError

SAME_KEY = 1e-10
"""Where equalities must hold: a key of which less than this part (its square, under C) is not in those before it."""
SINGULAR = 1e-14
"""Where they need not: as small a part of a pivot is rounding in float64."""
ROUNDING = 3e-7
"""What float32 factors may change in their product, relative to it."""
_COLUMNS = 4096


@dataclass(frozen=True, eq=False)
class Spread:
    """An update as two thin factors, ΔW = b a, float32 on the CPU."""

    a: Tensor
    """(r, d_in)."""
    b: Tensor
    """(d_out, r)."""
    delta: Tensor
    """ΔW in float64, (d_out, d_in)."""
    missed: tuple[float, ...]
    """|ΔW k − r| / |r| of each request: how much of what it asks for the update does not give."""
    missed_in_all: float
    """|ΔW K − R| / |R|."""


def ridge_of(recipe: Recipe, requests: int) -> float:
    """ν of a batch of so many requests: λ for MEMIT, λμ for EMMET, 0 for EMMET with one."""
    if recipe.method == "memit":
        return recipe.moment_weight
    return recipe.moment_weight * recipe.mu if requests > 1 else 0.0


def spread(keys: Tensor, residuals: Tensor, moment: SecondMoment | None, ridge: float) -> Spread:
    """The update for `keys`, (n, d_in), and `residuals`, (n, d_out), a row a request; `moment` None: C = I.

    In float64: n² + n · d_in + d_in · d_out numbers for n ≤ d_in, else 2 d_in² + d_in · d_out and blocks of 4,096 keys.

    Raises:
        EditError: C is of another size, a key is that of other requests where all must be met, or something is not a
            number.
    """
    if moment is not None and moment.dimension != keys.shape[1]:
        raise EditError(
            f"The second moment C has {moment.dimension} dimensions; keys here have {keys.shape[1]}.",
            "Compute C for this model and layer.",
        )
    lower = None if moment is None else moment.factorisation.lower
    if len(keys) <= keys.shape[1]:
        delta, a, b = _by_requests(keys, residuals, lower, ridge)
    else:
        delta, a, b = _by_dimensions(keys, residuals, lower, ridge)
    missed, missed_in_all = _missed(delta, keys, residuals)
    return Spread(a, b, delta, missed, missed_in_all)


class DependentKeyError(EditError):
    """Equalities that cannot all hold: a key is made of those before it."""

    def __init__(self, row: int, subject: str = "") -> None:
        """`row` of the keys; `subject` of the request that it belongs to."""
        super().__init__(
            f"The key of request {row + 1}{f', {subject},' if subject else ''} is that of requests before it.",
            "Leave one of them out, or set mu above 0: equalities may then be missed a little.",
        )
        self.row = row


def _by_requests(keys: Tensor, residuals: Tensor, lower: Tensor | None, ridge: float) -> tuple[Tensor, Tensor, Tensor]:
    """ΔW and its factors by a system of a row a request."""
    white = _whitened(keys, lower)  # X, (d_in, n)
    system = white.T @ white
    system.diagonal().add_(ridge)
    factor = _cholesky(system, SAME_KEY if ridge == 0 else SINGULAR, ridge)
    left = torch.cholesky_solve(_wide(residuals, factor), factor)  # (n, d_out): row i is what k_i's direction writes
    rows = _unwhitened(white, lower).T  # (n, d_in): C⁻¹ k_i
    delta = left.T @ rows
    return delta, *_factors(delta, left, rows)


def _by_dimensions(
    keys: Tensor, residuals: Tensor, lower: Tensor | None, ridge: float
) -> tuple[Tensor, Tensor, Tensor]:
    """ΔW and its factors by a system of a row a dimension of the keys."""
    n, d_in = keys.shape
    if ridge == 0:
        raise EditError(
            f"{n} equalities cannot all hold in {d_in} dimensions.", "Set mu above 0, or make fewer edits at once."
        )
    device = keys.device if lower is None else lower.device
    system = torch.zeros(d_in, d_in, dtype=torch.float64, device=device)
    right = torch.zeros(d_in, residuals.shape[1], dtype=torch.float64, device=device)
    for some, theirs in zip(torch.split(keys, _COLUMNS), torch.split(residuals, _COLUMNS), strict=True):
        white = _whitened(some, lower)
        system.addmm_(white, white.T)
        right.addmm_(white, _wide(theirs, white))
    system.diagonal().add_(ridge)
    solved = torch.cholesky_solve(right, _cholesky(system, SINGULAR, ridge))
    delta = _unwhitened(solved, lower).T.contiguous()
    return delta, *_dense(delta)


def _whitened(keys: Tensor, lower: Tensor | None) -> Tensor:
    """X = L⁻¹ K in float64, (d_in, n), from keys (n, d_in)."""
    if lower is None:
        return keys.to(torch.float64).T
    white: Tensor = torch.linalg.solve_triangular(lower, keys.to(lower.device, torch.float64).T, upper=False)
    return white


def _unwhitened(columns: Tensor, lower: Tensor | None) -> Tensor:
    """L⁻ᵀ times `columns`, (d_in, n)."""
    if lower is None:
        return columns
    solved: Tensor = torch.linalg.solve_triangular(lower.T, columns, upper=True)
    return solved


def _wide(residuals: Tensor, like: Tensor) -> Tensor:
    return residuals.to(like.device, torch.float64)


def _cholesky(system: Tensor, smallest: float, ridge: float) -> Tensor:
    """Raises DependentKeyError, or EditError where there is a ridge, for a pivot that is as good as nothing."""
    if not bool(system.isfinite().all()):
        raise EditError("A key of the batch is not a number.", "Load the model in float32.")
    factor: Tensor
    factor, failed = torch.linalg.cholesky_ex(system)
    parts = factor.diagonal().square() / system.diagonal()
    lost = int(failed) - 1 if int(failed) else None
    small = (parts[:lost] <= smallest).nonzero().flatten().tolist()
    if not small and lost is None:
        return factor
    row = small[0] if small else lost or 0
    if ridge == 0:
        raise DependentKeyError(row)
    raise EditError("The keys of the batch leave nothing to solve with.", "Raise moment_weight, or mu.")


def _factors(delta: Tensor, left: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Factors of a batch with no more requests than dimensions.

    Row i of a is the direction u of request i, of norm 1, and column i of b its v, as in an edit of one; unless they
    cancel so much that float32 loses their sum, as those of nearly equal keys do. Then the rows of a are orthonormal.
    """
    if len(rows) > min(delta.shape):
        return _dense(delta)
    norms = rows.norm(dim=1, keepdim=True)
    a, b = _narrow(rows / norms.clamp_min(1e-300)), _narrow((left * norms).T)
    if _apart(a, b, delta) <= ROUNDING:
        return a, b
    basis = torch.linalg.qr(rows.T).Q.T  # (n, d_in)
    return _narrow(basis), _narrow(delta @ basis.T)


def _dense(delta: Tensor) -> tuple[Tensor, Tensor]:
    """ΔW itself as one factor, the identity as the other: smaller than a row a request."""
    d_out, d_in = delta.shape
    if d_out <= d_in:
        return _narrow(delta), torch.eye(d_out)
    return torch.eye(d_in), _narrow(delta)


def _narrow(factor: Tensor) -> Tensor:
    """As it is kept. Raises EditError where it is not a number."""
    kept = factor.to("cpu", torch.float32).contiguous()
    if not bool(kept.isfinite().all()):
        raise EditError("The update is not a number.", "Load the model in float32, or raise moment_weight.")
    return kept


def _apart(a: Tensor, b: Tensor, delta: Tensor) -> float:
    """How far the product of float32 factors is from ΔW, relative to it."""
    norm = float(delta.norm())
    return float((b.double() @ a.double() - delta.cpu()).norm()) / norm if norm > 0 else 0.0


def _missed(delta: Tensor, keys: Tensor, residuals: Tensor) -> tuple[tuple[float, ...], float]:
    left, asked = [], []
    for some, theirs in zip(torch.split(keys, _COLUMNS), torch.split(residuals, _COLUMNS), strict=True):
        wanted = _wide(theirs, delta)
        left.append((some.to(delta.device, torch.float64) @ delta.T - wanted).norm(dim=1))
        asked.append(wanted.norm(dim=1))
    missing, norms = torch.cat(left), torch.cat(asked)
    shares = torch.where(norms > 0, missing / norms, 0.0)
    total = float(norms.norm())
    return tuple(shares.tolist()), float(missing.norm()) / total if total > 0 else 0.0
