"""The events of measuring second moments: how far it is, and what each C is worth.

They are part of the wire as those in `workbench.events` are, and are read from there. Free of torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from workbench.event_base import Event


@dataclass(frozen=True, kw_only=True)
class MomentProgress(Event):
    """Keys are being summed."""

    tokens: int
    """Tokens read so far, those of an earlier run included; each gives one key. Of a batch that the model writes, those
    that it has written."""
    of: int
    """The budget, in tokens."""
    rate: float | None = None
    """Tokens a second in this run; None: too early to tell."""
    remaining: float | None = None
    """Seconds left at this rate."""


@dataclass(frozen=True, kw_only=True)
class MomentReady(Event):
    """One second moment C is there, and this is what it is worth."""

    module: str
    layer: int
    dimension: int
    """d_in."""
    samples: int
    """Keys that C is the mean of."""
    text: str
    """What the keys are keys of, in words."""
    file: str
    fingerprint: str
    condition: float | None
    """Largest by smallest eigenvalue, estimated from below; None: C is singular."""
    effective_rank: float
    """(tr C)² / tr C²: how many directions the keys are spread over."""
    rank: int | None
    """Eigenvalues above what float32 can tell from zero; None: not counted, C is too large for that here."""
    ridge: float
    """What an edit will add to the diagonal; 0: nothing."""
    ridge_part: float
    """The same as a part of the diagonal's mean."""
    reason: str = ""
    """Why there is a ridge, in words."""
