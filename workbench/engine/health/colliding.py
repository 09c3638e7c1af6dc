"""Pairs of edits in one stack whose keys nearly are one: each writes over what the other stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from workbench.engine.conflicts import key_conflicts
from workbench.engine.core import Core
from workbench.events import Conflict
from workbench.stack.record import Edit, Factors

LIMIT = 0.6
"""|cos| of two keys under C⁻¹ beyond which they collide."""
LISTED = 20
"""Worst pairs that are kept."""


@dataclass(frozen=True)
class Collisions:
    """What was found among the keys of a stack."""

    count: int = 0
    pairs: tuple[Conflict, ...] = ()
    """The worst, worst first."""

    @property
    def worst(self) -> float | None:
        """Largest |cos|; None: no pair is beyond the limit."""
        cosines = [abs(pair.cosine) for pair in self.pairs if pair.cosine is not None]
        return max(cosines, default=None)


def collisions(core: Core, edits: Sequence[Edit], updates: Sequence[tuple[Factors, ...]]) -> Collisions:
    """All pairs among `edits`, whose factors are `updates`; each pair is counted once, and no edit with itself."""
    by_id = {edit.id: update for edit, update in zip(edits, updates, strict=True)}
    most = len(edits) + 2 * LISTED  # each edit with itself comes first, and every pair comes twice
    report = key_conflicts(core, edits, edits, by_id, threshold=LIMIT, most=most)
    order = {edit.id: number for number, edit in enumerate(edits)}
    pairs = tuple(pair for pair in report.pairs if order[pair.ours] < order[pair.theirs])[:LISTED]
    with_itself = sum(1 for edit in edits if edit.id not in report.incomparable for _ in edit.weights)
    return Collisions(max(report.count - with_itself, 0) // 2, pairs)
