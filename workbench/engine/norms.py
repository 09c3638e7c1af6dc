"""The update in numbers: sizes, drift, and how much of it survived rounding."""

from __future__ import annotations

import math
from dataclasses import replace

from torch import Tensor

from workbench.editing.update import Update
from workbench.events import NormReport
from workbench.models.families import EditSite
from workbench.stack.distance import distance
from workbench.stack.record import Factors


def norm_report(
    site: EditSite, update: Update, factors: Factors, before: Tensor, after: Tensor, pristine: Tensor
) -> NormReport:
    """All norms are Frobenius norms in float64.

    Args:
        site: the edited module.
        update: u (d_in,), v (d_out,) and the numbers that made them.
        factors: the update as it is saved.
        before: the weight before the edit.
        after: the weight after it, rounded to the model's dtype.
        pristine: the base's weight.
    """
    return replace(
        module_norms(site.module, factors, before, after, pristine),
        division_factor=update.division_factor,
        u_norm=update.u_norm,
        v_norm=update.v.double().norm().item(),
        cos_keys=update.cos_keys,
    )


def module_norms(module: str, factors: Factors, before: Tensor, after: Tensor, pristine: Tensor) -> NormReport:
    """What can be said of an update of any rank; arguments as of `norm_report`."""
    weight, size = distance(before), norm_of_product(factors)
    return NormReport(
        module=module,
        weight_norm=weight,
        delta_norm=size,
        ratio=size / weight,
        drift=distance(after, pristine) / distance(pristine),
        realised=distance(after, before) / size if 0 < size < math.inf else 1.0,
    )


def norm_of_product(factors: Factors) -> float:
    """|B A|, Frobenius in float64, without making it: its square is the trace of (BᵀB)(A Aᵀ)."""
    a, b = factors.a.astype("float64"), factors.b.astype("float64")
    return math.sqrt(max(float(((b.T @ b) * (a @ a.T)).sum()), 0.0))
