"""The update in numbers: sizes, drift, and how much of it survived rounding."""

from __future__ import annotations

import math

from torch import Tensor

from workbench.editing.update import Update
from workbench.events import NormReport
from workbench.models.families import EditSite
from workbench.stack.materialise import delta, realised_fraction
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
    weight = before.double().norm().item()
    change = delta(factors, site.layout)
    size = change.norm().item()
    base = pristine.double()
    drift = ((after.cpu().double() - base).norm() / base.norm()).item()
    return NormReport(
        module=site.module,
        weight_norm=weight,
        delta_norm=size,
        ratio=size / weight,
        drift=drift,
        division_factor=update.division_factor,
        u_norm=update.u_norm,
        v_norm=update.v.double().norm().item(),
        cos_keys=update.cos_keys,
        realised=realised_fraction(before, after, change),
    )


def norm_of_product(factors: Factors) -> float:
    """|B A|, Frobenius in float64, without making it: its square is the trace of (BᵀB)(A Aᵀ)."""
    a, b = factors.a.astype("float64"), factors.b.astype("float64")
    return math.sqrt(max(float(((b.T @ b) * (a @ a.T)).sum()), 0.0))
