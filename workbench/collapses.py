"""The events of the collapse experiment: edits that stand out by their |ΔW|, and how each method fared.

They are part of the wire as those in `workbench.events` are, and are read from there. Free of torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from workbench.event_base import Event


@dataclass(frozen=True, kw_only=True)
class Jumped(Event):
    """One edit of a sequence whose |ΔW| stands out; the papers call one that breaks the model disabling."""

    method: str
    number: int
    """Its place in the sequence, from 1."""
    subject: str
    target_new: str
    first: bool
    """Its subject is the first and only token of the prompt."""
    delta_norm: float
    """|ΔW|."""
    times: float
    """|ΔW| over the median of the edits right before it."""
    division_factor: float | None = None
    perplexity_before: float | None = None
    """None: there is no held-out text."""
    perplexity_after: float | None = None


@dataclass(frozen=True, kw_only=True)
class Reproduced(Event):
    """How one method fared on the sequence. What cannot be had is None."""

    method: str
    batch: int
    """Requests of one edit."""
    requests: int
    """Of the sequence."""
    made: int
    """Requests that were edited in."""
    first: int
    """Requests whose subject is the first and only token of the prompt."""
    jumps: int
    first_jumps: int
    """Of the jumps, those of such requests."""
    delta_median: float | None
    """|ΔW| of the edits."""
    delta_largest: float | None
    division_smallest: float | None
    """|k · u| of the edits."""
    drift: float
    """|W − W0| / |W0| at the end."""
    per_element: float
    """|W − W0| / numel(W) at the end."""
    perplexity: float | None
    perplexity_base: float | None
    entropy: float | None
    entropy_base: float | None
    edited_es: float | None
    """Share of the edits whose target won right after they were made."""
    es: float | None
    """Share of the sampled edits whose target wins at the end; PS and NS of the same."""
    ps: float | None
    ns: float | None
    phase: str
    """stable, gradual or catastrophic, as `workbench health` has them."""
    message: str
    """The phase's reasons, in one sentence."""
    broke: int | None = None
    """The edit that broke the model; None: there is no such edit."""
