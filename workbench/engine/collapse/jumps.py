"""Edits that stand out from a sequence: |ΔW| against the median of the edits right before. Free of torch.

*Rebuilding ROME* (arXiv 2403.07175) follows |ΔW| along a sequence, where disabling edits are peaks; the limit is ours.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

TIMES = 4.0
"""An edit jumps when its |ΔW| is more than so many times the median."""
WINDOW = 50
"""Edits right before it that the median is taken over."""
FEWEST = 10
"""Edits before it without which nothing can be said."""


@dataclass(frozen=True)
class Jump:
    """An edit that stands out."""

    place: int
    """In the sequence of norms, from 0."""
    times: float
    """Its |ΔW| over the median."""


def jumps(norms: Sequence[float]) -> list[Jump]:
    """Those of `norms`, |ΔW| edit by edit, that are more than TIMES the median of up to WINDOW edits before.

    A norm that is not finite stands out from any that are; a median of zero says nothing.
    """
    found = []
    for place in range(FEWEST, len(norms)):
        before = statistics.median(norms[max(0, place - WINDOW) : place])
        if before > 0 and not norms[place] <= TIMES * before:
            found.append(Jump(place, norms[place] / before))
    return found
