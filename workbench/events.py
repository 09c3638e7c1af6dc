"""What an engine says while it works, and its form as JSON lines. Free of torch.

Every event is a frozen dataclass; its class name is the line's `type`. `job`, `seq` and `t` are stamped by the engine.
A line of an unknown type reads as None and an unknown field is dropped, so older readers follow newer engines. In an
event that is read every value is of its field's type.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import Any, Literal

from workbench.batches import BatchProbed as BatchProbed
from workbench.batches import TogetherStarted as TogetherStarted
from workbench.checked import checked
from workbench.collapses import Jumped as Jumped
from workbench.collapses import Reproduced as Reproduced
from workbench.compacted import Compacted as Compacted
from workbench.contrasts import Compared as Compared
from workbench.ending import EngineEnding as EngineEnding
from workbench.event_base import Event as Event
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
from workbench.stack_rows import StacksBeside as StacksBeside
from workbench.stack_wire import StackDelta as StackDelta
from workbench.traces import Traced as Traced
from workbench.traces import TraceStep as TraceStep
from workbench.trials import TrialResult as TrialResult
from workbench.trials import Tuned as Tuned
from workbench.trials import TuningStarted as TuningStarted

Stage = Literal["templates", "keys", "optimise", "insert", "probe", "save"]
"""The stages of one edit, in order."""


@dataclass(frozen=True, kw_only=True)
class ModelLoading(Event):
    """Loading goes on."""

    stage: str
    """In words: "reading atlas", "checking the base", "rebuilding 3 edits"."""
    fraction: float | None = None
    """Done of this stage, 0 to 1; None: not known."""


@dataclass(frozen=True, kw_only=True)
class ModelReady(Event):
    """The model is loaded and the stack is materialised."""

    model: str
    family: str
    device: str
    dtype: str
    parameters: int
    layers: int
    module: str
    """The module that the profile edits."""
    fingerprint: str
    second_moment: str
    """Fingerprint of C at the profile's layer, or "identity"."""
    recipe: dict[str, Any]
    """The model's profile, as Recipe.to_json."""
    memory: int | None = None
    """Bytes the model takes on its device; None: not known."""
    chat: bool = False
    """The tokenizer has a chat template: a prompt may be a user's turn."""


@dataclass(frozen=True, kw_only=True)
class EditStarted(Event):
    """Work on one request begins."""

    request: dict[str, Any]
    """As EditRequest.to_json; of several, the first."""
    recipe: dict[str, Any]
    module: str
    """Of several, the last."""
    index: int = 1
    of: int = 1
    """This is edit `index` of `of` that were asked for together."""
    requests: int = 1
    """How many requests it is made of."""


@dataclass(frozen=True, kw_only=True)
class StageStarted(Event):
    """A stage of the edit begins."""

    stage: Stage
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class OptimStep(Event):
    """One evaluation of the loss; loss = nll + kl + wd."""

    step: int
    """From 1."""
    of: int
    loss: float
    nll: float
    kl: float
    wd: float
    p_target: float
    """Probability of the target, geometric mean over its tokens, mean over templates."""
    p_contexts: tuple[float, ...]
    """The same, template by template."""
    delta_norm: float
    """|δ|."""
    clamp: float
    """What |δ| is held below."""
    seconds: float
    """Time of this step."""
    stopped: str = ""
    """Why this was the last step: "loss", "nll", "steps"; empty while it goes on."""


@dataclass(frozen=True, kw_only=True)
class StepTogether(Event):
    """One evaluation of the losses of several requests that are optimised side by side."""

    step: int
    """From 1."""
    of: int
    requests: int
    running: int
    """Requests that go on after this step."""
    loss: float
    """Mean over the requests that were still running; so is p_target."""
    p_target: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class KeyReady(Event):
    """The keys of all templates are known."""

    templates: int
    token: str
    """The subject's last token, as text."""
    key_norm: float
    """|k̄|."""
    cos_keys: float
    """cos(k_0, k̄)."""
    first_token: bool = False
    """The subject's last token is the very first of the bare prompt."""


@dataclass(frozen=True, kw_only=True)
class NormReport(Event):
    """The update in numbers."""

    module: str
    weight_norm: float
    """|W| before."""
    delta_norm: float
    """|ΔW|."""
    ratio: float
    """|ΔW| / |W|."""
    drift: float
    """|W − W0| / |W0| after."""
    realised: float
    """|what changed after rounding| / |ΔW|; 1 in float32 up to rounding."""
    division_factor: float | None = None
    """k · u; None, with the three that follow, where the update is not of rank one."""
    u_norm: float | None = None
    """|C⁻¹ k| before u was made of norm 1."""
    v_norm: float | None = None
    cos_keys: float | None = None


@dataclass(frozen=True, kw_only=True)
class ProbeResult(Event):
    """One probe's answer."""

    kind: Literal["efficacy", "paraphrase", "neighbourhood", "generation", "perplexity", "command"]
    prompt: str
    expected: str = ""
    rival: str = ""
    """The answer that must lose."""
    p_expected: float | None = None
    """Probability per token of `expected`, geometric mean."""
    p_rival: float | None = None
    answer: str = ""
    """The likeliest next token, or the generated text."""
    p_answer: float | None = None
    value: float | None = None
    """Perplexity."""
    before: float | None = None
    """p_expected or perplexity before the edit; on the base where a stack's probes are asked again."""
    passed: bool | None = None
    edit: str = ""
    """Id of the edit the probe belongs to."""
    side: str = ""
    """The state it was asked in: a position, or the word that a state was asked for by."""


@dataclass(frozen=True, kw_only=True)
class GenerationChunk(Event):
    """Text as it is generated."""

    side: str
    """The state that speaks, as it was asked for: "base", "stack", a position, an id, a branch, a tag."""
    text: str
    prompt: str = ""
    done: bool = False
    tokens: int = 0
    """Drawn so far in this state."""
    seconds: float = 0.0
    """Taken so far in this state."""


@dataclass(frozen=True, kw_only=True)
class Answered(Event):
    """The likeliest next tokens after a prompt, in one state."""

    prompt: str
    side: str
    top: tuple[tuple[str, float], ...]
    target_tokens: int | None = None
    """How many tokens the target asked about has."""
    goes_on: str = ""
    """The beginning of what the model would write, where that was asked for."""


@dataclass(frozen=True, kw_only=True)
class EditCommitted(Event):
    """The edit is on disk and in the model."""

    edit: str
    file: str
    position: int
    weight_sha256: str
    bytes: int
    seconds: float
    """That its making took; not those in which a guard's question was open."""


@dataclass(frozen=True, kw_only=True)
class EditCancelled(Event):
    """The edit in flight was dropped; every weight is as before."""

    position: int
    step: int = 0
    reason: str = ""
    """Why, where a guard's question was answered with discard; empty: a person stopped it."""


@dataclass(frozen=True, kw_only=True)
class EditFailed(Event):
    """The edit could not be made; every weight is as before."""

    message: str
    hint: str = ""
    exit_code: int = 1


@dataclass(frozen=True, kw_only=True)
class Verified(Event):
    """One state was compared with what its edit recorded."""

    position: int
    edit: str
    expected: str
    """Recorded sha256 of the weight; empty for the base."""
    actual: str
    outcome: Literal["bit-identical", "different", "not comparable"]
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Warning(Event):  # noqa: A001  the wire's word
    """Something a person should know; work goes on."""

    message: str
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class Log(Event):
    """A line for the log."""

    message: str


@dataclass(frozen=True, kw_only=True)
class JobDone(Event):
    """A command has ended; the last event of its job."""

    ok: bool
    message: str = ""
    hint: str = ""
    exit_code: int = 0


def _subclasses() -> dict[str, type[Event]]:
    return {cls.__name__: cls for cls in Event.__subclasses__()}


TYPES: dict[str, type[Event]] = _subclasses()
"""Every event by its name on the wire."""

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
    cls = TYPES.get(str(document.get("type")))
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
        return tuple(_build(EditRow, row) for row in value)
    if name == "now":
        return _build(StackChanged, value)
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
