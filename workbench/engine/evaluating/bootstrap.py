"""How sure a mean over cases is: percentile bootstrap intervals (Efron, 1979), seeded, the same for the same cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workbench.probing.metrics import MEASURES, SCORES, CaseScore, summary

RESAMPLES = 10_000
SEED = 0
LEVEL = 95.0
"""Percent of the resampled values that lie within the interval."""
NUMBERS_AT_ONCE = 2**23
"""In the counts of the resamples that are made together."""

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A measure, and where it would lie for other cases of the same kind."""

    value: float
    low: float
    high: float


def intervals(cases: Sequence[CaseScore], resamples: int = RESAMPLES, seed: int = SEED) -> dict[str, Interval | None]:
    """Every measure and S over `cases`, with its interval; None where no case has it.

    Cases are drawn with replacement, as many as there are. A resample in which no case has a measure does not count
    for it; S of a resample is the harmonic mean of its own scores.
    """
    found, asked = summary(cases), [name for name in MEASURES if getattr(summary(cases), name) is not None]
    values = np.array([[_nan(case.measure(name)) for name in asked] for case in cases], dtype=np.float64)
    means = _resampled(values.reshape(len(cases), len(asked)), resamples, seed)  # (resamples, measures)
    columns = dict(zip(asked, means.T, strict=True))
    scores = [columns[name] for name in SCORES if name in columns]
    if scores:
        columns["s"] = _harmonic(np.stack(scores))
    return {
        name: _interval(getattr(found, name), columns[name]) if name in columns else None for name in ("s", *MEASURES)
    }


def _resampled(values: Numbers, resamples: int, seed: int) -> Numbers:
    """(cases, measures), NaN where a case lacks one, to the means of each resample, (resamples, measures)."""
    count = len(values)
    if not values.size:
        return np.empty((resamples, values.shape[1]))
    rng, there = np.random.default_rng(seed), ~np.isnan(values)
    filled = np.where(there, values, 0.0)
    means = []
    for start in range(0, resamples, step := max(1, NUMBERS_AT_ONCE // count)):
        # How often each case is drawn: (some, cases).
        drawn = rng.multinomial(count, np.full(count, 1 / count), size=min(step, resamples - start)).astype(np.float64)
        with np.errstate(invalid="ignore"):
            means.append((drawn @ filled) / (drawn @ there.astype(np.float64)))
    return np.concatenate(means)


def _harmonic(scores: Numbers) -> Numbers:
    """(scores, resamples) to (resamples,); NaN where one of them is not there."""
    with np.errstate(divide="ignore"):
        found: Numbers = np.where((scores == 0).any(0), 0.0, len(scores) / (1 / scores).sum(0))
    return np.where(np.isnan(scores).any(0), np.nan, found)


def _interval(value: float, resampled: Numbers) -> Interval:
    rest = (100 - LEVEL) / 2
    if np.isnan(resampled).all():
        return Interval(value, value, value)
    low, high = np.nanpercentile(resampled, [rest, 100 - rest])
    return Interval(value, float(low), float(high))


def _nan(value: float | None) -> float:
    return float("nan") if value is None else value
