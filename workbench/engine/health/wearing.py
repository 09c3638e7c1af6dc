"""Gradual forgetting or none: what is lost a little with every edit, and how it is said. See `phases` for the words."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence

from workbench.engine.core import Core
from workbench.engine.health.retaining import INTERVAL, Slope, least_squares
from workbench.engine.health.vitals import Vitals
from workbench.events import Diagnosed, HealthReport

WORSE_PERPLEXITY = 1.1
"""Times the base's."""


def worn(core: Core, reports: Sequence[HealthReport], *, broken: bool = False) -> Diagnosed:
    """Gradual or stable, by the last of `reports` and, where there are several, the slope along them."""
    last = reports[-1]
    slope = _slope(last)
    climb = _climb(reports)
    reasons = [reason for reason in (_forgets(slope), _harder(last, climb), _unlearned(last)) if reason]
    if broken:
        reasons.append("the model is broken, and no single edit did it")
    stack = shlex.quote(str(core.stack.folder))
    of_perplexity = slope is None and climb is not None
    told = climb if of_perplexity else slope
    return Diagnosed(
        phase="gradual" if reasons else "stable",
        message=_sentence(reasons, last),
        hint=f"Rebuild all edits in one batch from the base: workbench compact {stack}." if reasons else "",
        slope=told.value if told else None,
        slope_low=told.low if told else None,
        slope_high=told.high if told else None,
        slope_of="perplexity" if of_perplexity else "retention",
    )


def _slope(report: HealthReport) -> Slope | None:
    if report.slope is None or report.slope_low is None or report.slope_high is None:
        return None
    return Slope(report.slope, report.slope_low, report.slope_high)


def _climb(reports: Sequence[HealthReport]) -> Slope | None:
    """Of ln perplexity on the number of edits along a curve."""
    points = [(one.applied, one.perplexity) for one in reports if one.perplexity and math.isfinite(one.perplexity)]
    return least_squares([applied for applied, _ in points], [math.log(value) for _, value in points])


def _forgets(slope: Slope | None) -> str:
    if slope is None or slope.low <= 0:
        return ""
    return f"each later edit costs {percent(slope.value)} of the edits ({percent(slope.low)} to {percent(slope.high)})"


def _harder(report: HealthReport, climb: Slope | None) -> str:
    times = Vitals.of(report).times
    if times <= WORSE_PERPLEXITY:
        return ""
    each = f", {percent(math.expm1(climb.value))} more with each edit" if climb and climb.low > 0 else ""
    return f"held-out text is {times:.3g} times as perplexing as to the base{each}"


def _unlearned(report: HealthReport) -> str:
    if report.cloze is None or report.cloze_base is None or report.cloze_error is None:
        return ""
    if report.cloze >= report.cloze_base - INTERVAL * report.cloze_error:
        return ""
    return f"of the facts that nobody edited {report.cloze:.0%} are answered right, {report.cloze_base:.0%} by the base"


def _sentence(reasons: Sequence[str], report: HealthReport) -> str:
    if reasons:
        text = "; ".join(reasons)
        return f"{text[0].upper()}{text[1:]}."
    if not report.applied:
        return "No edit is applied: this is the base."
    return "Earlier edits hold, and what was not edited is as it was."


def percent(share: float) -> str:
    """A share in per cent, with as many digits as a small one needs."""
    return f"{100 * share:.3g} %"
