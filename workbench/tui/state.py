"""What the screen knows: a fold over the engine's events. Pure, so that a recorded stream gives the same picture."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from workbench import events as ev

EngineState = Literal["starting", "idle", "busy", "stopped", "played"]
"""played: idle, but only in a recording."""
Where = Literal["here", "elsewhere", "recorded"]

LOG_LINES = 2_000
"""Events kept for the log."""


@dataclass(frozen=True)
class Run:
    """One edit as it happens, or the last one that did."""

    started: ev.EditStarted
    stage: ev.StageStarted | None = None
    steps: tuple[ev.OptimStep, ...] = ()
    key: ev.KeyReady | None = None
    norms: ev.NormReport | None = None
    probes: tuple[ev.ProbeResult, ...] = ()
    preflight: tuple[ev.Preflight, ...] = ()
    """What was to be known before it began."""
    side_by_side: tuple[ev.StepTogether, ...] = ()
    """The steps of requests that are optimised together."""
    joint: bool = False
    """No edit yet: the updates of `started.requests` edits are being made together; each is one of its own then."""
    made_with: int = 0
    """Edits that this one's update was made together with, itself among them; 0: none."""
    batch: ev.BatchProbed | None = None
    """How all requests of an edit of many came out."""
    earlier: ev.EarlierProbed | None = None
    memory: ev.MemoryUsed | None = None
    tripped: tuple[ev.GuardTripped, ...] = ()
    """What is beyond its limit."""
    asked: ev.GuardAsked | None = None
    """The question that is open."""
    committed: ev.EditCommitted | None = None
    cancelled: ev.EditCancelled | None = None
    failed: ev.EditFailed | None = None

    @property
    def together(self) -> ev.StepTogether | None:
        """The last step of requests that are optimised together."""
        return self.side_by_side[-1] if self.side_by_side else None

    @property
    def running(self) -> bool:
        """Neither committed, nor cancelled, nor failed."""
        return not (self.committed or self.cancelled or self.failed)


@dataclass(frozen=True)
class State:
    """All that the screens draw."""

    engine: EngineState = "starting"
    where: Where = "here"
    """On which machine the stack's files lie; recorded: nowhere."""
    loading: ev.ModelLoading | None = None
    model: ev.ModelReady | None = None
    stack: ev.StackChanged | None = None
    run: Run | None = None
    answers: tuple[ev.Answered, ...] = ()
    """The last ones, newest last; one for each time a prompt was asked in a state."""
    generations: dict[str, str] = field(default_factory=dict)
    """Generated text so far, by side."""
    spoken: dict[str, ev.GenerationChunk] = field(default_factory=dict)
    """The last piece of it, by side: how many tokens, in how many seconds, and whether it has ended."""
    compared: ev.Compared | None = None
    """How far the two sides of the last comparison lie apart."""
    exported: ev.Exported | None = None
    """What was written last for others."""
    beside: ev.StacksBeside | None = None
    """The other stacks, where the engine was asked for them."""
    health: ev.HealthReport | None = None
    """The last health report,"""
    measuring: ev.HealthStep | None = None
    """how far the one in progress is,"""
    diagnosed: ev.Diagnosed | None = None
    """and the phase that it found."""
    probes: tuple[ev.ProbeResult, ...] = ()
    """Of the last run of the probe command."""
    verified: tuple[ev.Verified, ...] = ()
    tracing: ev.TraceStep | None = None
    """How far the trace in progress is."""
    traced: ev.Traced | None = None
    """The last trace."""
    warnings: tuple[ev.Warning, ...] = ()
    log: tuple[ev.Event, ...] = ()
    job: str = ""
    """The job the engine works on; empty: none."""
    doing: str = ""
    """The verb of that job."""
    stopped_because: str = ""
    """Why the engine stopped, in words."""


def fold(state: State, event: ev.Event) -> State:
    """`state` after `event`."""
    state = replace(state, log=(*state.log[-LOG_LINES + 1 :], event))
    match event:
        case ev.ModelLoading():
            return replace(state, loading=event, engine=state.engine if state.job else "starting")
        case ev.ModelReady():
            return replace(state, engine="idle", loading=None, model=event, stopped_because="")
        case ev.StackChanged():
            return replace(_on_stack(state, event.folder), stack=event)
        case ev.TogetherStarted() | ev.EditStarted():
            return replace(state, engine="busy", job=event.job, run=_begun(state, event))
        case ev.JobDone() if event.job == state.job:
            return replace(state, engine="idle", job="", doing="", loading=None, run=_ended(state.run, event))
        case _:
            return _told(state, event)


def _begun(state: State, event: ev.TogetherStarted | ev.EditStarted) -> Run:
    """The run that begins: of one edit, or of the making of several."""
    found = _looked_ahead(state, event.job)
    if isinstance(event, ev.TogetherStarted):
        names = ("request", "recipe", "module", "requests", "index", "of", "job", "seq", "t")
        values: dict[str, Any] = {name: getattr(event, name) for name in names}
        return Run(ev.EditStarted(**values), preflight=found, joint=True)
    before = state.run if state.run and state.run.started.job == event.job else None
    with_others = 0 if before is None else before.started.requests if before.joint else before.made_with
    return Run(event, preflight=found, made_with=with_others)


def _ended(run: Run | None, event: ev.JobDone) -> Run | None:
    """`run` when its job has: one that had no end by then has failed."""
    if run is None or not run.running or run.started.job != event.job:
        return run
    return replace(run, failed=ev.EditFailed(message=event.message, hint=event.hint), asked=None)


def _looked_ahead(state: State, job: str) -> tuple[ev.Preflight, ...]:
    """What was found right before `job` began its edit; the newest event of the log is that it began."""
    found: list[ev.Preflight] = []
    for event in reversed(state.log[:-1]):
        if not isinstance(event, ev.Preflight) or event.job != job:
            break
        found.append(event)
    return tuple(reversed(found))


def _told(state: State, event: ev.Event) -> State:
    """`state` with what does not change the engine's own state."""
    match event:
        case ev.Answered():
            return replace(state, answers=(*state.answers[-50:], event))
        case ev.GenerationChunk():
            return _generated(state, event)
        case ev.HealthReport():
            return replace(state, health=event, measuring=None)
        case ev.Traced():
            return replace(state, traced=event, tracing=None)
        case ev.Verified():
            return replace(state, verified=(*state.verified, event))
        case ev.Warning():
            return replace(state, warnings=(*state.warnings[-20:], event))
        case ev.ProbeResult() if not (state.run and event.job == state.run.started.job):
            return replace(state, probes=(*state.probes, event))
        case _ if (kept := _LAST.get(type(event).__name__)) is not None:
            last: dict[str, Any] = {kept: event}
            return replace(state, **last)
        case _:
            return replace(state, run=_ran(state.run, event)) if state.run else state


_LAST = {
    "Compared": "compared",
    "Exported": "exported",
    "StacksBeside": "beside",
    "HealthStep": "measuring",
    "Diagnosed": "diagnosed",
    "TraceStep": "tracing",
}
"""Events of which the last one is kept, and where."""


def _on_stack(state: State, folder: str) -> State:
    """`state` without what belongs to another stack than the one in `folder`."""
    if state.stack is None or state.stack.folder == folder:
        return state
    return replace(
        state, run=None, answers=(), generations={}, spoken={}, compared=None, probes=(), verified=(), health=None
    )


def played(state: State) -> State:
    """`state` as a recording shows it: nothing can be asked of an engine that is not there."""
    return replace(state, engine="played") if state.engine == "idle" else state


def started(state: State, job: str, verb: str) -> State:
    """`state` when command `verb` was sent as `job`: what it will fill is emptied."""
    state = replace(state, engine="busy", job=job, doing=verb)
    if verb == "probe":
        return replace(state, probes=())
    if verb == "verify":
        return replace(state, verified=())
    if verb == "generate":
        return replace(state, generations={}, spoken={}, compared=None)
    if verb == "health":
        return replace(state, health=None, measuring=None, diagnosed=None)
    if verb == "trace":
        return replace(state, tracing=None, traced=None)
    return state


def stopped(state: State, reason: str) -> State:
    """`state` when the engine's process is gone."""
    run = state.run
    if run and run.running:
        run = replace(run, cancelled=ev.EditCancelled(position=state.stack.position if state.stack else 0), asked=None)
    return replace(state, engine="stopped", job="", doing="", loading=None, run=run, stopped_because=reason)


def _generated(state: State, event: ev.GenerationChunk) -> State:
    text = state.generations.get(event.side, "") + event.text
    said, spoken = {**state.generations, event.side: text}, {**state.spoken, event.side: event}
    return replace(state, generations=said, spoken=spoken)


def _ran(run: Run, event: ev.Event) -> Run:
    match event:
        case ev.StageStarted():
            return replace(run, stage=event, asked=None)
        case ev.OptimStep():
            return replace(run, steps=(*run.steps, event))
        case ev.KeyReady():
            return replace(run, key=event)
        case ev.NormReport():
            return replace(run, norms=event)
        case ev.ProbeResult():
            return replace(run, probes=(*run.probes, event))
        case ev.EditCommitted():
            return replace(run, committed=event, asked=None)
        case ev.EditCancelled():
            return replace(run, cancelled=event, asked=None)
        case ev.EditFailed():
            return replace(run, failed=event, asked=None)
        case _:
            return _watched(run, event)


def _watched(run: Run, event: ev.Event) -> Run:
    """`run` with what was looked at beside the edit itself."""
    match event:
        case ev.BatchProbed():
            return replace(run, batch=event)
        case ev.StepTogether():
            return replace(run, side_by_side=(*run.side_by_side, event))
        case ev.EarlierProbed():
            return replace(run, earlier=event)
        case ev.MemoryUsed():
            return replace(run, memory=event)
        case ev.GuardTripped():
            return replace(run, tripped=(*run.tripped, event))
        case ev.GuardAsked():
            return replace(run, asked=event)
        case _:
            return run
