"""The events of a stack's health: one state in numbers, which phase it is in, and what is said before an edit is made.

They are part of the wire as those in `workbench.events` are, and are read from there. Free of torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from workbench.event_base import Event


@dataclass(frozen=True, kw_only=True)
class HealthStep(Event):
    """Something of a state's health is being measured."""

    what: str
    """In words: "earlier edits"."""
    done: int
    of: int


@dataclass(frozen=True, kw_only=True)
class HealthReport(Event):
    """One state of a model, in numbers. What cannot be had (no held-out text, nothing to ask) is None."""

    position: int
    applied: int
    """Edits that are applied there."""
    edit: str = ""
    """Id of the newest of them; empty: the base."""
    distance: float = 0.0
    """|W − W0|, Frobenius, over all modules that the edits change."""
    drift: float = 0.0
    """|W − W0| / |W0|."""
    per_element: float = 0.0
    """|W − W0| / numel(W), as *Rebuilding ROME* plots it; of several modules, the largest."""
    spectral: float = 0.0
    """Largest singular value of the summed change; of several modules, the largest."""
    spectral_ratio: float = 0.0
    """The same over the largest singular value of W0."""
    ratio_median: float | None = None
    """|ΔW| / |W| of the edits, as they recorded it."""
    ratio_max: float | None = None
    division_min: float | None = None
    """Division factors k · u of the edits, as they recorded them."""
    division_median: float | None = None
    division_max: float | None = None
    division_negative: int = 0
    """How many are negative."""
    collisions: int | None = None
    """Pairs of edits whose keys nearly are one; None: not looked for."""
    collision_worst: float | None = None
    """Largest |cos| of two keys under C⁻¹; None: no pair is beyond the limit."""
    collision_edits: tuple[int, ...] = ()
    """Numbers of the two edits that have it."""
    perplexity: float | None = None
    perplexity_base: float | None = None
    entropy: float | None = None
    """Of the n-grams of sample continuations, in bits."""
    entropy_base: float | None = None
    asked: int = 0
    """Facts that were edited in and whose probes were asked."""
    of: int = 0
    """Facts that could have been asked."""
    es: float | None = None
    """Share of the asked whose target wins now."""
    ps: float | None = None
    ns: float | None = None
    took: int = 0
    """Of the asked, those whose target won right after they were edited in."""
    kept: int = 0
    """Of those, the ones whose target still wins."""
    retention: float | None = None
    """kept / took; None: nothing took."""
    retention_error: float | None = None
    """Its standard error from asking a sample; 0 where all were asked."""
    lost: tuple[int, ...] = ()
    """Numbers of edits that took and no longer hold, oldest first, a few of them."""
    slope: float | None = None
    """Share of the edits that is lost with every later edit, by least squares; None: too few to say."""
    slope_low: float | None = None
    """Its 95 % interval."""
    slope_high: float | None = None
    cloze: float | None = None
    """Share of facts that no edit is about and that are answered right."""
    cloze_base: float | None = None
    cloze_error: float | None = None
    """Standard error of the difference; both were asked the same."""
    cloze_asked: int = 0


@dataclass(frozen=True, kw_only=True)
class Diagnosed(Event):
    """The phase that a stack is in, why, and what can be done."""

    phase: Literal["stable", "gradual", "catastrophic"]
    message: str
    """One plain sentence."""
    hint: str = ""
    position: int | None = None
    """The edit at which it broke; None: there is no such edit."""
    edit: str = ""
    """Its id."""
    perplexity_before: float | None = None
    """Right before that edit."""
    perplexity_after: float | None = None
    retention_before: float | None = None
    retention_after: float | None = None
    slope: float | None = None
    """What is lost with every edit: of the edits a share or, where `slope_of` is perplexity, ln of it gained."""
    slope_low: float | None = None
    """Its 95 % interval."""
    slope_high: float | None = None
    slope_of: Literal["retention", "perplexity"] = "retention"
    probed: int = 0
    """Positions that were asked to find it."""


@dataclass(frozen=True, kw_only=True)
class TaskScored(Event):
    """One measure of a downstream task, on the base and after a stack."""

    task: str
    metric: str
    base: float | None
    """None: nothing was asked; so is `edited`."""
    edited: float | None
    items: int
    base_error: float | None = None
    """Standard error; None: there is none. So are the other two."""
    edited_error: float | None = None
    change_error: float | None = None
    """Of edited − base, where both are known item by item."""
    higher_is_better: bool = True


@dataclass(frozen=True, kw_only=True)
class Preflight(Event):
    """Something that a person should know before an edit is made."""

    topic: str
    """In a word: "first-token", "far-key", "known", "overwrites", "collision", "long-target", "repeated", "leak"."""
    severity: Literal["note", "warning", "danger"]
    """"warning": the edit may not hold, or may disturb more than others do; "danger": it may break the model."""
    message: str
    """One plain sentence."""
    hint: str = ""
    """What can be done."""
    value: float | None = None
    """What was measured."""
    limit: float | None = None
    """What it was held against."""
    edit: str = ""
    """Id of the earlier edit that it is about."""
    prompt: str = ""
    """What is to be edited in, the subject in its place."""
