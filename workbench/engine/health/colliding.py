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
    edits: tuple[int, ...] = ()
    """Numbers of the two edits of the worst pair."""

    @property
    def worst(self) -> float | None:
        """Largest |cos|; None: no pair is beyond the limit."""
        cosines = [abs(pair.cosine) for pair in self.pairs if pair.cosine is not None]
        return max(cosines, default=None)


def collisions(core: Core, edits: Sequence[Edit], updates: Sequence[tuple[Factors, ...]]) -> Collisions:
    """All pairs of keys of `edits`, whose factors are `updates`; each pair is counted once, and none with itself."""
    by_id = {edit.id: update for edit, update in zip(edits, updates, strict=True)}
    every = sum(len(edit.requests) * len(edit.weights) for edit in edits)
    # Each key with itself comes first, and every pair of keys comes twice.
    report = key_conflicts(core, edits, edits, by_id, threshold=LIMIT, most=every + 2 * LISTED)
    known = [edit for edit in edits if edit.id not in report.incomparable]
    alone = sum(len(edit.requests) * len(edit.weights) for edit in known)
    order = {edit.id: number for number, edit in enumerate(edits)}
    pairs = (
        pair
        for pair in report.pairs
        if (order[pair.ours], pair.prompt, pair.target_ours)
        < (order[pair.theirs], pair.other_prompt, pair.target_theirs)
    )
    listed = tuple(pairs)[:LISTED]
    numbers = {edit.id: edit.number for edit in edits}
    worst = (numbers[listed[0].ours], numbers[listed[0].theirs]) if listed else ()
    return Collisions(max(report.count - alone, 0) // 2, listed, worst)
