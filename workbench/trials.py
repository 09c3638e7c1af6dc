"""The events of a search for an editing profile. Part of the wire, read from `workbench.events`. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from workbench.event_base import Event


@dataclass(frozen=True, kw_only=True)
class TuningStarted(Event):
    """What a search will work with."""

    facts: int
    """How many it edits in every trial."""
    checks: int
    """How many others the best few are held against each other on."""
    source: str
    """Where they come from, in words."""
    trials: int
    """At most, without those on the other facts."""
    record: str
    """The file that keeps the trials."""


@dataclass(frozen=True, kw_only=True)
class TrialResult(Event):
    """One recipe was tried on all facts, each edited alone on the base; every weight is as it was."""

    number: int
    of: int
    """Trials at most."""
    stage: str
    """"start": what is in force; "layers", "strengths", "again": the search; "check": on other facts."""
    recipe: dict[str, Any]
    """As Recipe.to_json."""
    second_moment: bool
    """Whether C was measured; False: C = I."""
    es: float | None
    """None: no fact has such probes."""
    ps: float | None
    ns: float | None
    s: float
    """Harmonic mean of those that are there."""
    ratio: float
    """Mean of |ΔW| / |W|."""
    facts: int
    """How many were edited."""
    failed: int
    """Edits that could not be made; all their probes count as failures."""
    clamped: int = 0
    """Edits whose offset the clamp held back."""
    ran_out: int = 0
    """Edits that took all their steps."""
    seconds: float = 0.0
    """How long it took when it was made."""
    kept: bool = False
    """It was made in an earlier run."""


@dataclass(frozen=True, kw_only=True)
class Tuned(Event):
    """The end of a search."""

    profile: dict[str, Any]
    """What was found, as a profile's file has it."""
    layer: int
    s: float
    s_start: float
    """Of what was in force."""
    s_check: float | None = None
    """On other facts; None: there are none."""
    s_check_start: float | None = None
    changed: bool = True
    """False: nothing that was tried is better than what was in force, on all facts together."""
    complete: bool = True
    """False: the budget was used up before the search was through."""
