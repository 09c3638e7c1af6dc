"""ES, PS, NS and their harmonic mean S, as CounterFact defines them.

Source: ROME, arXiv 2202.05262, section 3.3: a mean over edits of the share of an edit's probes that hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from workbench.events import ProbeResult


@dataclass(frozen=True)
class Scores:
    """How edits went; a score is None where no edit has such probes."""

    es: float | None
    ps: float | None
    ns: float | None
    s: float
    """Harmonic mean of those that are there; 0 if one of them is 0, or none is there."""


def scores(edits: Sequence[Sequence[ProbeResult]]) -> Scores:
    """The scores of edits by the results of their probes; NaN and what does not hold count as failures."""
    es, ps, ns = (_score(edits, kind) for kind in ("efficacy", "paraphrase", "neighbourhood"))
    asked = [score for score in (es, ps, ns) if score is not None]
    return Scores(es, ps, ns, len(asked) / sum(1 / score for score in asked) if asked and all(asked) else 0.0)


def _score(edits: Sequence[Sequence[ProbeResult]], kind: str) -> float | None:
    """Mean over edits of the share of their probes that hold; an edit without such probes does not count."""
    held = [[bool(probe.passed) for probe in edit if probe.kind == kind] for edit in edits]
    shares = [sum(one) / len(one) for one in held if one]
    return sum(shares) / len(shares) if shares else None
