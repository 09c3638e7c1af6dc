"""What decides whether a state is broken; see `phases` for the words."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.events import HealthReport

BROKEN_PERPLEXITY = 2.0
"""Times the base's."""
BROKEN_RETENTION = 0.5
FEWEST_ASKED = 4
"""Edits that took without which retention says nothing of a state."""


@dataclass(frozen=True)
class Vitals:
    """What decides whether a state is broken."""

    perplexity: float | None
    perplexity_base: float | None
    took: int
    retention: float | None

    @classmethod
    def of(cls, report: HealthReport) -> Vitals:
        """Those of a report."""
        return cls(report.perplexity, report.perplexity_base, report.took, report.retention)

    @property
    def times(self) -> float:
        """Perplexity over the base's; 1 where there is no text to measure it on."""
        if self.perplexity is None or not self.perplexity_base:
            return 1.0
        return self.perplexity / self.perplexity_base

    @property
    def remembered(self) -> float:
        """Retention; 1 where too few were asked."""
        return self.retention if self.retention is not None and self.took >= FEWEST_ASKED else 1.0

    def broken(self, floor: float = BROKEN_RETENTION) -> bool:
        """Whether it is, as the module's text defines it; `floor` is the share of the edits that must hold."""
        return not self.times <= BROKEN_PERPLEXITY or self.remembered < floor
