"""Keys and an offset to a rank-one update ΔW = v uᵀ, for r-ROME, C-ROME, ROME and p-ROME.

             u ∝         v = numerator / (k · u)
    r-ROME   C⁻¹ k̄       t0 + δ − ō      k̄        (C-ROME's too)
    ROME     C⁻¹ k̄       t0 + δ − o_0    k_0      (two different keys)
    p-ROME   C⁻¹ k_0     t0 + δ − o_0    k_0

Source: Rebuilding ROME, arXiv 2403.07175, equations 1 and 3, with |u| = 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from workbench.editing.keys import Keys
from workbench.editing.optimise import Offset
from workbench.editing.second_moment import SecondMoment
from workbench.edits import Method
from workbench.errors import EditError
from workbench.models.families import EditSite

SMALLEST_COSINE = 1e-9
"""A key is taken as orthogonal to u when the cosine between them is below this."""


@dataclass(frozen=True, eq=False)
class Update:
    """A rank-one update and what it was made from. All tensors are float32 on the CPU."""

    u: Tensor
    """(d_in,), norm 1."""
    v: Tensor
    """(d_out,)."""
    key_bare: Tensor
    """k_0, (d_in,)."""
    key_mean: Tensor
    """k̄, (d_in,)."""
    output_bare: Tensor
    """o_0, (d_out,)."""
    output_mean: Tensor
    """ō, (d_out,)."""
    target_init: Tensor
    """t0, (d_out,)."""
    offset: Tensor
    """δ, (d_out,)."""
    division_factor: float
    """k · u with the key that the method divides by."""
    u_norm: float
    """|C⁻¹ k| before u was made of norm 1."""
    v_norm: float
    cos_keys: float
    """cos(k_0, k̄)."""
    ridge: float
    """What was added to C's diagonal."""
    steps: int
    """Adam steps taken for δ."""
    stopped: str
    """Why δ was done: "loss", "nll" or "steps"."""


def rank_one(method: Method, keys: Keys, offset: Offset, second_moment: SecondMoment | None) -> Update:
    """The update of `method`; `second_moment` None means C = I.

    Raises:
        EditError: C is of another size, the division factor is zero, or something is not a number.
    """
    key_u = keys.key_bare if method == "p-rome" else keys.key_mean
    one_key = method in ("r-rome", "c-rome")
    key_v, output = (keys.key_mean, keys.output_mean) if one_key else (keys.key_bare, keys.output_bare)
    u, u_norm = direction(key_u, second_moment)
    factor = division_factor(key_v, u)
    numerator = offset.target_init.double() + offset.offset.double() - output.double()
    v = (numerator / factor).float()
    if not bool(v.isfinite().all()):
        raise EditError("The update is not a number.", "Load the model in float32.")
    return Update(
        u=u,
        v=v,
        key_bare=keys.key_bare.float(),
        key_mean=keys.key_mean.float(),
        output_bare=keys.output_bare.float(),
        output_mean=keys.output_mean.float(),
        target_init=offset.target_init.float(),
        offset=offset.offset.float(),
        division_factor=factor,
        u_norm=u_norm,
        v_norm=float(v.double().norm()),
        cos_keys=keys.cosine,
        ridge=0.0 if second_moment is None else second_moment.ridge,
        steps=offset.steps,
        stopped=offset.stopped,
    )


def direction(key: Tensor, second_moment: SecondMoment | None) -> tuple[Tensor, float]:
    """The direction u = C⁻¹ k / |C⁻¹ k| as float32 on the CPU, and that norm, for `key`, (d_in,).

    Raises:
        EditError: C is of another size, or C⁻¹ k is zero or not a number.
    """
    if second_moment is not None and second_moment.dimension != len(key):
        raise EditError(
            f"The second moment C has {second_moment.dimension} dimensions; keys here have {len(key)}.",
            "Compute C for this model and layer.",
        )
    raw = key.double() if second_moment is None else second_moment.solve(key).cpu()
    norm = float(raw.norm())
    if not math.isfinite(norm) or norm == 0:
        raise EditError("The key is zero or not a number.", "Load the model in float32, or choose another layer.")
    return (raw / norm).float(), norm


def division_factor(key: Tensor, u: Tensor) -> float:
    """The number k · u in float64. Raises EditError if it is zero, up to rounding."""
    factor = float(key.double() @ u.double())
    if abs(factor) <= SMALLEST_COSINE * float(key.double().norm() * u.double().norm()):
        raise EditError("The division factor k · u is zero.", "Use r-rome, which divides by the key that u is made of.")
    return factor


def delta(site: EditSite, u: Tensor, v: Tensor) -> Tensor:
    """ΔW in the module's own orientation from `u`, (d_in,), and `v`, (d_out,): the edited weight is weight + ΔW."""
    return torch.outer(u, v) if site.layout == "in,out" else torch.outer(v, u)
