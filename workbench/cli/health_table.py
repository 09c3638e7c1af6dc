"""Health in 80 columns: one state as a table, and a line a position for a curve. What was not measured is a dot."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from workbench import events as ev
from workbench.cli.lines import count

_NAME, _VALUE = 33, 10
_COLUMNS = {
    "position": 8, "edits": 5, "drift": 8, "spectral": 9, "perplexity": 10, "entropy": 7, "hold": 7, "unedited": 8
}  # fmt: skip
"""Of a curve, with their widths; "unedited": facts that no edit is about, answered right."""


def table(report: ev.HealthReport) -> Iterator[str]:
    """All that a report says, a line a measure; now, and the base where that has one."""
    yield _row(f"position {report.position}, {count(report.applied)}", "now", "base", "")
    yield from _known(report)
    yield from _held(report)
    yield from _weights(report)


def _known(report: ev.HealthReport) -> Iterator[str]:
    """What the model says besides the edits."""
    yield _row("perplexity on held-out text", number(report.perplexity), number(report.perplexity_base))
    yield _row("entropy of what it writes, bits", number(report.entropy), number(report.entropy_base))
    yield _row(
        "facts not edited, answered right",
        share(report.cloze),
        share(report.cloze_base),
        f"{report.cloze_asked} asked, ± {share(report.cloze_error)}",
    )


def _held(report: ev.HealthReport) -> Iterator[str]:
    """What the edits say."""
    asked = f"{report.asked} of {report.of} asked"
    if not report.of:
        return
    yield _row("edits whose target wins (ES)", share(report.es), "", asked)
    yield _row("  paraphrases (PS)", share(report.ps), "", "")
    yield _row("  neighbours (NS)", share(report.ns), "", "")
    kept = f"{report.kept} of {report.took}"
    sampled = report.retention_error and f", ± {share(report.retention_error)}"
    yield _row("earlier edits that still hold", share(report.retention), "", kept + (sampled or ""))
    if report.lost:
        more = ", …" if len(report.lost) < report.took - report.kept else ""
        yield f"  no longer: {', '.join(map(str, report.lost))}{more}"
    if report.slope is not None and report.slope_low is not None and report.slope_high is not None:
        within = f"95 %: {_fine(report.slope_low)} to {_fine(report.slope_high)}"
        yield _row("  lost with each later edit", _fine(report.slope), "", within)


def _weights(report: ev.HealthReport) -> Iterator[str]:
    """The change, and the updates that it is the sum of."""
    if not report.applied:
        return
    yield _row("drift |W − W0| / |W0|", number(report.drift), "", f"|W − W0| {number(report.distance)}")
    yield _row("|W − W0| / numel(W)", f"{report.per_element:.3g}", "", "")
    of_base = f"{number(report.spectral_ratio)} times W0's"
    yield _row("spectral norm of the change", number(report.spectral), "", of_base)
    largest = f"median; largest {number(report.ratio_max)}"
    yield _row("|ΔW| / |W| of an edit", number(report.ratio_median), "", largest)
    yield from _division(report)
    if report.collisions is not None:
        pair = ", ".join(map(str, report.collision_edits))
        worst = f"{pair}: |cos| {report.collision_worst:.2f}" if report.collision_worst is not None else ""
        yield _row("pairs of keys that collide", str(report.collisions), "", worst)


def _division(report: ev.HealthReport) -> Iterator[str]:
    if report.division_median is None:
        return
    span = f"median; {number(report.division_min)} to {number(report.division_max)}"
    yield _row("division factor k · u", number(report.division_median), "", span)
    if report.division_negative:
        yield _row("  negative ones", str(report.division_negative), "", "")


def curve_line(report: ev.HealthReport) -> str:
    """One position, under CURVE_HEADER."""
    fields = [
        str(report.position),
        str(report.applied),
        number(report.drift),
        number(report.spectral),
        number(report.perplexity),
        number(report.entropy),
        share(report.retention),
        share(report.cloze),
    ]
    return _aligned(fields)


def _aligned(fields: Iterable[str]) -> str:
    return "  ".join(f"{field:>{width}}" for field, width in zip(fields, _COLUMNS.values(), strict=True))


CURVE_HEADER = _aligned(_COLUMNS)


def _row(name: str, now: str, base: str, more: str = "") -> str:
    return f"{name:<{_NAME}}{now:>{_VALUE}}{base:>{_VALUE}}  {more}".rstrip()


def number(value: float | None) -> str:
    """Four digits of a measurement; a dot where there is none."""
    return "·" if value is None else f"{value:.4g}"


def share(value: float | None) -> str:
    """A share in per cent."""
    return "·" if value is None else f"{100 * value:.1f} %"


def _fine(value: float) -> str:
    """A small share in per cent, to three digits."""
    return f"{100 * value:.3g} %"
