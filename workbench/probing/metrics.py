"""ES, PS, NS and S, their magnitudes, and token accuracy: the one definition of them in the program. No torch.

Every measure is a mean over cases (edits) of what the case gives; a case without such probes does not count for it.

- **ES, PS, NS** (ROME, arXiv 2202.05262, section 3.3): the share of a case's efficacy, paraphrase and neighbourhood
  probes that hold: the mean log-probability per token of the target is strictly above that of the true answer, for a
  neighbour strictly below. A tie fails, and so does NaN. **S** is their harmonic mean.
- **EM, PM, NM** (same section, as its code computes them): the mean of p(target) - p(true), for a neighbour of
  p(true) - p(target), p being the geometric mean over the tokens. NaN counts as p = 0: such a model says nothing. A
  probe without two answers to compare has no magnitude.
- **EA, PA, NA** (zsRE in ROME, appendix C, and MEND, arXiv 2110.11309): the share of the tokens of what must win that
  are the model's likeliest, each behind the prompt and the right tokens before it (teacher forcing).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Kind = Literal["efficacy", "paraphrase", "neighbourhood"]
KINDS: tuple[Kind, ...] = ("efficacy", "paraphrase", "neighbourhood")
SCORES = ("es", "ps", "ns")
MAGNITUDES = ("em", "pm", "nm")
ACCURACIES = ("ea", "pa", "na")
TEXTS = ("entropy", "consistency")
"""Measures of what the model writes: see `metrics_text`."""
MEASURES = (*SCORES, *MAGNITUDES, *ACCURACIES, *TEXTS)
"""Every measure that is a mean over cases."""


class Judged(Protocol):
    """A probe that was asked: a ProbeScore, or a ProbeResult."""

    @property
    def kind(self) -> str:
        """One of KINDS, or another, which does not count."""
        ...

    @property
    def passed(self) -> bool | None:
        """Whether it holds; None counts as no."""
        ...


@dataclass(frozen=True, slots=True)
class ProbeScore:
    """What one probe gave."""

    kind: Kind
    passed: bool
    new: float | None
    """Mean log-probability per token of target_new, in nats; None: it was not asked for."""
    true: float | None
    """The same of the true answer: the stated one, else what the base says."""
    accuracy: float
    """Share of the tokens of what must win that are the model's likeliest."""

    @property
    def magnitude(self) -> float | None:
        """How far p of what must win is above p of the other; None: there is no other."""
        if self.new is None or self.true is None:
            return None
        apart = _p(self.new) - _p(self.true)
        return -apart if self.kind == "neighbourhood" else apart


@dataclass(frozen=True, slots=True)
class CaseScore:
    """What one case gave on one state of a model."""

    probes: tuple[ProbeScore, ...]
    entropy: float | None = None
    """n-gram entropy of what the model writes; None: it was not asked to."""
    consistency: float | None = None
    """Likeness of that to reference texts; None: there are none."""
    failed: str = ""
    """Why nothing could be asked, or the edit not be made; all its probes then count as failures."""

    def measure(self, name: str) -> float | None:
        """One of MEASURES for this case alone; None: it says nothing of that."""
        if name in TEXTS:
            found: float | None = getattr(self, name)
            return found
        group = next(group for group in (SCORES, MAGNITUDES, ACCURACIES) if name in group)
        asked = [probe for probe in self.probes if probe.kind == KINDS[group.index(name)]]
        if group is SCORES:
            return share(asked)
        values = [probe.magnitude if group is MAGNITUDES else probe.accuracy for probe in asked]
        return mean([value for value in values if value is not None])


@dataclass(frozen=True)
class Scores:
    """How edits went; a score is None where no edit has such probes."""

    es: float | None
    ps: float | None
    ns: float | None
    s: float
    """Harmonic mean of those that are there; 0 if one of them is 0, or none is there."""


@dataclass(frozen=True)
class Summary:
    """Every measure over several cases; None where no case has it."""

    cases: int
    failed: int
    """Cases that could not be edited or asked."""
    es: float | None
    ps: float | None
    ns: float | None
    s: float
    em: float | None
    pm: float | None
    nm: float | None
    ea: float | None
    pa: float | None
    na: float | None
    entropy: float | None
    consistency: float | None


def scores(edits: Sequence[Sequence[Judged]]) -> Scores:
    """The scores of edits by the results of their probes."""
    es, ps, ns = (mean([held for edit in edits if (held := _share_of(edit, kind)) is not None]) for kind in KINDS)
    return Scores(es, ps, ns, harmonic([es, ps, ns]))


def summary(cases: Sequence[CaseScore]) -> Summary:
    """All measures over `cases`."""
    found = {name: mean([v for case in cases if (v := case.measure(name)) is not None]) for name in MEASURES}
    s = harmonic([found[name] for name in SCORES])
    return Summary(cases=len(cases), failed=sum(bool(case.failed) for case in cases), s=s, **found)


def harmonic(values: Sequence[float | None]) -> float:
    """Harmonic mean of the scores that are there; 0 if one of them is 0, or none is there."""
    there = [value for value in values if value is not None]
    return len(there) / sum(1 / value for value in there) if there and all(value > 0 for value in there) else 0.0


def mean(values: Sequence[float]) -> float | None:
    """The mean; None of nothing."""
    return math.fsum(values) / len(values) if values else None


def share(probes: Sequence[Judged]) -> float | None:
    """Which part of them holds; None where there are none."""
    return mean([float(bool(probe.passed)) for probe in probes])


def _share_of(probes: Sequence[Judged], kind: str) -> float | None:
    return share([probe for probe in probes if probe.kind == kind])


def _p(log_p: float) -> float:
    return 0.0 if math.isnan(log_p) else math.exp(min(log_p, 0.0))
