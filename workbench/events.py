"""What an engine says while it works, and its form as JSON lines. Free of torch.

Every event is a frozen dataclass; its class name is the line's `type`. `job`, `seq` and `t` are stamped by the engine.
A line of an unknown type reads as None and an unknown field is dropped, so older readers follow newer engines. In an
event that is read every value is of its field's type.
"""

from __future__ import annotations

import dataclasses
import json
import math
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from workbench.checked import checked
from workbench.event_base import Event as Event
from workbench.lazily import lazily

if TYPE_CHECKING:
    from workbench.batches import BatchProbed as BatchProbed
    from workbench.batches import TogetherStarted as TogetherStarted
    from workbench.collapses import Jumped as Jumped
    from workbench.collapses import Reproduced as Reproduced
    from workbench.compacted import Compacted as Compacted
    from workbench.contrasts import Compared as Compared
    from workbench.edit_events import Answered as Answered
    from workbench.edit_events import EditCancelled as EditCancelled
    from workbench.edit_events import EditCommitted as EditCommitted
    from workbench.edit_events import EditFailed as EditFailed
    from workbench.edit_events import EditStarted as EditStarted
    from workbench.edit_events import GenerationChunk as GenerationChunk
    from workbench.edit_events import JobDone as JobDone
    from workbench.edit_events import KeyReady as KeyReady
    from workbench.edit_events import Log as Log
    from workbench.edit_events import ModelLoading as ModelLoading
    from workbench.edit_events import ModelReady as ModelReady
    from workbench.edit_events import NormReport as NormReport
    from workbench.edit_events import OptimStep as OptimStep
    from workbench.edit_events import ProbeResult as ProbeResult
    from workbench.edit_events import Stage as Stage
    from workbench.edit_events import StageStarted as StageStarted
    from workbench.edit_events import StepTogether as StepTogether
    from workbench.edit_events import Verified as Verified
    from workbench.edit_events import Warning as Warning  # noqa: A004  the wire's word
    from workbench.ending import EngineEnding as EngineEnding
    from workbench.findings import AnswersDiffer as AnswersDiffer
    from workbench.findings import Bisected as Bisected
    from workbench.findings import BisectStep as BisectStep
    from workbench.findings import EditDiffers as EditDiffers
    from workbench.findings import FileChecked as FileChecked
    from workbench.findings import Finding as Finding
    from workbench.findings import WeightsDiffer as WeightsDiffer
    from workbench.guarding import EarlierProbed as EarlierProbed
    from workbench.guarding import GuardAsked as GuardAsked
    from workbench.guarding import GuardTripped as GuardTripped
    from workbench.guarding import MemoryUsed as MemoryUsed
    from workbench.health import Diagnosed as Diagnosed
    from workbench.health import HealthReport as HealthReport
    from workbench.health import HealthStep as HealthStep
    from workbench.health import Preflight as Preflight
    from workbench.health import TaskScored as TaskScored
    from workbench.moments import MomentProgress as MomentProgress
    from workbench.moments import MomentReady as MomentReady
    from workbench.scored import CaseScored as CaseScored
    from workbench.scored import CheckpointScored as CheckpointScored
    from workbench.scored import EvalStarted as EvalStarted
    from workbench.scored import Evaluated as Evaluated
    from workbench.sharing import Conflict as Conflict
    from workbench.sharing import Exported as Exported
    from workbench.sharing import Imported as Imported
    from workbench.sharing import Merged as Merged
    from workbench.sharing import MergePlanned as MergePlanned
    from workbench.sharing import Pulled as Pulled
    from workbench.sharing import Pushed as Pushed
    from workbench.stack_rows import EditRow as EditRow
    from workbench.stack_rows import StackChanged as StackChanged
    from workbench.stack_rows import StackDelta as StackDelta
    from workbench.stack_rows import StacksBeside as StacksBeside
    from workbench.traces import Traced as Traced
    from workbench.traces import TraceStep as TraceStep
    from workbench.trials import TrialResult as TrialResult
    from workbench.trials import Tuned as Tuned
    from workbench.trials import TuningStarted as TuningStarted

HOMES = {
    "workbench.batches": ("BatchProbed", "TogetherStarted"),
    "workbench.collapses": ("Jumped", "Reproduced"),
    "workbench.compacted": ("Compacted",),
    "workbench.contrasts": ("Compared",),
    "workbench.edit_events": (
        "Answered",
        "EditCancelled",
        "EditCommitted",
        "EditFailed",
        "EditStarted",
        "GenerationChunk",
        "JobDone",
        "KeyReady",
        "Log",
        "ModelLoading",
        "ModelReady",
        "NormReport",
        "OptimStep",
        "ProbeResult",
        "Stage",
        "StageStarted",
        "StepTogether",
        "Verified",
        "Warning",
    ),
    "workbench.ending": ("EngineEnding",),
    "workbench.findings": (
        "AnswersDiffer",
        "Bisected",
        "BisectStep",
        "EditDiffers",
        "FileChecked",
        "Finding",
        "WeightsDiffer",
    ),
    "workbench.guarding": ("EarlierProbed", "GuardAsked", "GuardTripped", "MemoryUsed"),
    "workbench.health": ("Diagnosed", "HealthReport", "HealthStep", "Preflight", "TaskScored"),
    "workbench.moments": ("MomentProgress", "MomentReady"),
    "workbench.scored": ("CaseScored", "CheckpointScored", "EvalStarted", "Evaluated"),
    "workbench.sharing": ("Conflict", "Exported", "Imported", "Merged", "MergePlanned", "Pulled", "Pushed"),
    "workbench.stack_rows": ("EditRow", "StackChanged", "StackDelta", "StacksBeside"),
    "workbench.traces": ("Traced", "TraceStep"),
    "workbench.trials": ("TrialResult", "Tuned", "TuningStarted"),
}
"""Where each event is defined."""

if not TYPE_CHECKING:  # else a name that is not there would be of any type
    __getattr__ = lazily(__name__, HOMES)


@cache
def types() -> dict[str, type[Event]]:
    """Every event by its name on the wire."""
    for module in HOMES:
        import_module(module)
    return {cls.__name__: cls for cls in Event.__subclasses__()}


MAX_LINE = 16 * 1024 * 1024
"""Longest line a reader takes, in bytes."""


def to_line(event: Event) -> str:
    """`event` as one line of JSON, without the newline. Numbers that JSON lacks (NaN, infinities) become null."""
    document = {"type": type(event).__name__, **dataclasses.asdict(event)}
    return json.dumps(_plain(document), ensure_ascii=False, allow_nan=False)


class WrongEventError(ValueError):
    """An event of a known type that lacks a field, or has something else in it."""


def from_line(line: str | bytes) -> Event | None:
    """Reads a line; None if it is of a type this version does not know.

    Raises:
        ValueError: the line is not a JSON object. WrongEventError: it lacks a field its type needs, or a value is of
            another type than its field.
    """
    return from_document(json.loads(line))


def from_document(document: Any) -> Event | None:
    """As `from_line`, of a line that is parsed. Raises ValueError, WrongEventError."""
    if not isinstance(document, dict):
        raise ValueError("an event is a JSON object")
    cls = types().get(str(document.get("type")))
    try:
        return None if cls is None else checked(_build(cls, document))
    except ValueError as error:
        raise WrongEventError(str(error)) from error


def _build(cls: type[Event], document: Any) -> Event:
    if not isinstance(document, dict):
        raise ValueError(f"a {cls.__name__} is a JSON object")
    values = {f.name: _value(f.name, document[f.name]) for f in dataclasses.fields(cls) if f.name in document}
    try:
        return cls(**values)
    except TypeError as error:
        raise ValueError(f"{cls.__name__}: {error}") from error


def _value(name: str, value: Any) -> Any:
    if name == "edits" and isinstance(value, list):
        return tuple(_build(types()["EditRow"], row) for row in value)
    if name == "now":
        return _build(types()["StackChanged"], value)
    return _tuples(value) if isinstance(value, list) else value


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value
