"""How far the weights have gone from the base, and what the edits recorded of their own sizes."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from workbench.engine.core import Core
from workbench.engine.health.spectral import largest_singular_value, spectral_norm
from workbench.stack.distance import distance
from workbench.stack.record import Edit


@dataclass(frozen=True)
class Moved:
    """The change of all modules together; as HealthReport names it."""

    distance: float = 0.0
    drift: float = 0.0
    per_element: float = 0.0
    spectral: float = 0.0
    spectral_ratio: float = 0.0


def moved(core: Core) -> Moved:
    """What the model shows now against the base."""
    factors = [one for edit in core.live.shown for one in edit]
    modules = sorted({one.module for one in factors})
    if not modules:
        return Moved()
    gone = {module: distance(core.live.parameter(module), core.live.pristine(module)) for module in modules}
    spectral = {module: spectral_norm([one for one in factors if one.module == module]) for module in modules}
    worst = max(modules, key=spectral.__getitem__)
    return Moved(
        distance=math.hypot(*gone.values()),
        drift=core.live.drift(),
        per_element=max(gone[module] / core.live.pristine(module).numel() for module in modules),
        spectral=spectral[worst],
        spectral_ratio=spectral[worst] / _of_base(core, worst),
    )


def _of_base(core: Core, module: str) -> float:
    """|W0|₂ of `module`, computed once."""
    if module not in core.spectral_norms:
        core.spectral_norms[module] = largest_singular_value(core.live.pristine(module).to(torch.float32).numpy())
    return core.spectral_norms[module]


@dataclass(frozen=True)
class Recorded:
    """What edits recorded when they were made; as HealthReport names it."""

    ratio_median: float | None = None
    ratio_max: float | None = None
    division_min: float | None = None
    division_median: float | None = None
    division_max: float | None = None
    division_negative: int = 0


def recorded(edits: Sequence[Edit]) -> Recorded:
    """The distribution of |ΔW| / |W| and of division factors over `edits`; those that recorded none do not count."""
    ratios, divisions = _numbers(edits, "ratio"), _numbers(edits, "division_factor")
    return Recorded(
        ratio_median=statistics.median(ratios) if ratios else None,
        ratio_max=max(ratios, default=None),
        division_min=min(divisions, default=None),
        division_median=statistics.median(divisions) if divisions else None,
        division_max=max(divisions, default=None),
        division_negative=sum(one < 0 for one in divisions),
    )


def _numbers(edits: Sequence[Edit], name: str) -> list[float]:
    found: list[Any] = []
    for edit in edits:
        norms = edit.metrics.get("norms")
        found += [norms.get(name)] if isinstance(norms, dict) else []
    return [float(one) for one in found if type(one) in (int, float) and math.isfinite(one)]
