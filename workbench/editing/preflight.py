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


def whitened(keys: Tensor, moment: SecondMoment) -> Tensor:
    """L⁻¹ k of `keys`, (n, d_in), with C + ridge · I = L Lᵀ: (n, d_in), float64, on C's device."""
    lower = moment.factorisation.lower
    rows: Tensor = torch.linalg.solve_triangular(lower, keys.to(lower.device, torch.float64).T, upper=False).T
    return rows


def mahalanobis(keys: Tensor, moment: SecondMoment) -> Tensor:
    """Distances sqrt(kᵀ C⁻¹ k) of `keys`, (n, d_in): (n,), float64, on the CPU."""
    distances: Tensor = whitened(keys, moment).norm(dim=1).cpu()
    return distances


def key_range(distances: Tensor) -> KeyRange:
    """The range of the distances, (n,), of ordinary keys; n > 0."""
    low, high = torch.quantile(distances, torch.tensor([LOW, HIGH], dtype=distances.dtype)).tolist()
    return KeyRange(low, high, float(distances.max()), len(distances))


def implied_range(dimension: int) -> KeyRange:
    """What C alone implies, without any key at hand: nothing is too near, and `FAR` is far."""
    far = FAR * math.sqrt(dimension)
    return KeyRange(0.0, far, far, 0)


def cosines(key: Tensor, directions: Tensor, moment: SecondMoment | None, *, plain: Tensor) -> Tensor:
    """cos(k, k_i) under C⁻¹ of `key`, (d_in,), and the keys of earlier updates: (n,), float64, on the CPU.

    Args:
        key: k.
        directions: u_i of the updates, (n, d_in).
        moment: None: C = I.
        plain: (n,), bool: which were made with C = I, so that k_i is u_i; of the others it is C u_i.
    """
    if moment is None:
        own, others = key.double().cpu(), directions.double().cpu()
    else:
        lower = moment.factorisation.lower
        wide = directions.to(lower.device, torch.float64)
        own = whitened(key[None], moment)[0].cpu()
        others = torch.where(plain[:, None], whitened(directions, moment).cpu(), (wide @ lower).cpu())
    found: Tensor = torch.nn.functional.cosine_similarity(others, own[None], dim=1)
    return found
