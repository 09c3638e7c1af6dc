"""The events of an evaluation: a data set of edits, made and measured. Part of the wire, read from `workbench.events`.

Measures go by their names in `workbench.probing.metrics`: es, ps, ns, s, em, pm, nm, ea, pa, na, entropy, consistency.
Free of torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from workbench.event_base import Event


@dataclass(frozen=True, kw_only=True)
class EvalStarted(Event):
    """What an evaluation will do."""

    dataset: str
    model: str
    mode: Literal["single", "sequential"]
    """Every edit alone on the base; or one after the other, as a stack."""
    recipe: dict[str, Any]
    """As Recipe.to_json."""
    cases: int
    """How many are to be edited in all."""
    done: int
    """How many of them were done in an earlier run."""
    out: str
    """The folder of the results."""
    workers: int = 1


@dataclass(frozen=True, kw_only=True)
class CaseScored(Event):
    """One case was edited and scored; its line is on the disk."""

    case: int
    """Where it stands in the data set, from 0."""
    done: int
    """How many cases are done by now; by this worker, where there are several."""
    of: int
    subject: str
    target_new: str
    base: dict[str, Any]
    """The case's measures on the base,"""
    edited: dict[str, Any]
    """and with the edit, as soon as it was made."""
    ratio: float | None = None
    """|ΔW| / |W|."""
    perplexity: float | None = None
    """On held-out text, with the edit."""
    failed: str = ""
    """Why it could not be edited or asked."""


@dataclass(frozen=True, kw_only=True)
class CheckpointScored(Event):
    """All edits of a stack so far, or a sample of them, were scored again."""

    edited: int
    """Cases that had been edited by then."""
    of: int
    scored: int
    """How many of them were scored."""
    measures: dict[str, Any]
    """With `s`."""
    perplexity: float | None
    drift: float
    """|W - W0| / |W0|."""


@dataclass(frozen=True, kw_only=True)
class Evaluated(Event):
    """The end of an evaluation, or as far as it has come."""

    cases: int
    of: int
    failed: int
    rows: dict[str, Any]
    """By measure: base, base_low, base_high, edited, edited_low, edited_high, and the same of `end`, the last
    checkpoint of a stack. Low and high are the bounds of the 95 % bootstrap interval; None: not measured."""
    out: str
