"""Where a key lies among ordinary ones, as C measures it. Tensors in, numbers out.

The Mahalanobis distance of a key is m = sqrt(kᵀ C⁻¹ k). Over the text that C is from, E[m²] = tr(C⁻¹ C) = d_in exactly
(a ridge makes it a little less). What an update with this key does to ordinary outputs is, in the mean of squares,
|v* − W k|² / m² (from ΔW = (v* − W k) uᵀ / (k · u) with u ∝ C⁻¹ k): a key near the ordinary ones disturbs more, and one
far beyond them lies where C has seen little, so that u is made of C's smallest and least certain directions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from workbench.editing.second_moment import SecondMoment

LOW, HIGH = 0.01, 0.99
"""Quantiles of ordinary keys beyond which a key is out of the ordinary."""
FAR = 3.0
"""Where no ordinary keys are at hand, this times sqrt(d_in) is far: at most one key of C's text in nine is (Markov)."""


@dataclass(frozen=True)
class KeyRange:
    """Mahalanobis distances of ordinary keys."""

    low: float
    """One in a hundred is below it."""
    high: float
    """One in a hundred is above it."""
    largest: float
    keys: int
    """How many were measured; 0: none were at hand, and the limits are those that C alone implies."""


def mahalanobis(keys: Tensor, moment: SecondMoment) -> Tensor:
    """Distances sqrt(kᵀ C⁻¹ k) = |L⁻¹ k| of `keys`, (n, d_in): (n,), float64, on the CPU."""
    lower = moment.factorisation.lower  # C + ridge · I = L Lᵀ
    columns = torch.linalg.solve_triangular(lower, keys.to(lower.device, torch.float64).T, upper=False)
    distances: Tensor = columns.norm(dim=0).cpu()
    return distances


def key_range(distances: Tensor) -> KeyRange:
    """The range of the distances, (n,), of ordinary keys; n > 0."""
    low, high = torch.quantile(distances, torch.tensor([LOW, HIGH], dtype=distances.dtype)).tolist()
    return KeyRange(low, high, float(distances.max()), len(distances))


def implied_range(dimension: int) -> KeyRange:
    """What C alone implies, without any key at hand: nothing is too near, and `FAR` is far."""
    far = FAR * math.sqrt(dimension)
    return KeyRange(0.0, far, far, 0)
