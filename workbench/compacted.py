"""The event of a compaction: a stack rebuilt in one batch from the base, beside what it was made from. Free of torch.

It is part of the wire as those in `workbench.events` are, and is read from there.
"""

from __future__ import annotations

from dataclasses import dataclass

from workbench.event_base import Event


@dataclass(frozen=True, kw_only=True)
class Compacted(Event):
    """Two stacks that ask for the same, side by side; both are there."""

    source: str
    """Folder of the stack that was rebuilt; untouched."""
    folder: str
    """Folder of the new one; empty: it was only tried."""
    method: str
    requests: int
    """What the source asked for last of each fact, and the new stack was made of."""
    superseded: int
    """Requests of the source that a later one of its own replaced; left out."""
    left_out: int
    """Requests that could not be made."""
    asked: int
    """Of the requests, those that both were scored on."""
    batch: int = 0
    """Requests of one edit, at most."""
    room: int = 0
    """Dimensions of the keys in all layers, where `batch` was chosen by them; 0: it was given."""
    rows: dict[str, dict[str, float | None]]
    """By measure: before, after and, where it has them, base and the standard error of a change.

    Scores (es, ps, ns, s) of the same requests; perplexity; entropy; cloze, the share of other facts answered right;
    drift; spectral, the norm of the change; edits; bytes."""
