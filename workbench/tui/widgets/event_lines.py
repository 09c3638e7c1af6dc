"""Events as lines for people: when, a sign, a word, and what happened. Warnings and failures are told by their sign."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from rich.text import Text

from workbench import events as ev
from workbench.guards import told
from workbench.text import visible
from workbench.tui.keynames import named
from workbench.tui.state import State
from workbench.tui.widgets.panel import Panel
from workbench.tui.widgets.probes import earlier_words
from workbench.tui.widgets.text import compact, fit, number, size, tick

Weight = Literal["plain", "warning", "failure"]

SIGNS: dict[Weight, str] = {"plain": " ", "warning": "!", "failure": "✗"}
STYLES: dict[Weight, str] = {"plain": "", "warning": "bold yellow", "failure": "bold red"}


STEPS = (ev.OptimStep, ev.StepTogether, ev.HealthStep, ev.MomentProgress)
"""Of those in a row only the last is worth a line."""


@dataclass(frozen=True)
class Line:
    """One event, in words."""

    kind: str
    text: str
    weight: Weight = "plain"


def described(event: ev.Event) -> Line:
    """What `event` says. Text in it may be hostile: draw it through `event_line`."""
    for words in (_of_the_edit, _of_what_is_watched, _of_the_engine, _of_a_question, _of_a_search, _of_health):
        line = words(event)
        if line is not None:
            return line
    return Line(type(event).__name__, "")


def is_part(event: ev.Event) -> bool:
    """A piece of something that will be said as a whole: not worth a line."""
    return isinstance(event, (ev.TraceStep, ev.MemoryUsed)) or (
        isinstance(event, ev.GenerationChunk) and not event.done
    )


def event_line(event: ev.Event, width: int) -> str:
    """`event` on one line of at most `width` cells; times are local."""
    line = described(event)
    when = datetime.fromtimestamp(event.t, UTC).astimezone().strftime("%H:%M:%S.%f")[:12] if event.t else " " * 12
    job = f"{fit(event.job, 8)}  " if width >= 100 else ""
    return fit(f"{when}  {job}{SIGNS[line.weight]} {line.kind:<8} {visible(line.text)}", width).rstrip()


class EventsPanel(Panel):
    """The newest events; of steps in a row only the last."""

    _log: tuple[ev.Event, ...] = ()

    def on_mount(self) -> None:
        """Writes the border."""
        self.name_it("Events", named("F8 full log"))

    def show(self, state: State) -> None:
        """Draws the end of the log."""
        if state.log is not self._log:
            self._log = state.log
            self.refresh()

    def lines(self, width: int, height: int) -> list[Text]:
        """Newest last."""
        found: list[Text] = []
        after: ev.Event | None = None
        for event in reversed(self._log):
            if is_part(event) or (isinstance(event, STEPS) and type(after) is type(event)):
                continue
            after = event
            found.append(Text(event_line(event, width), STYLES[described(event).weight]))
            if len(found) >= height:
                break
        return found[::-1] or [Text("What the engine says shows here.", "dim")]


def _of_the_edit(event: ev.Event) -> Line | None:
    match event:
        case ev.EditStarted():
            request = event.request
            what = f"{request.get('subject', '')} -> {str(request.get('target_new', '')).strip()}"
            return Line("started", f"edit {event.index} of {event.of}   {what}")
        case ev.StageStarted():
            return Line("stage", f"{event.stage}   {event.detail}".rstrip())
        case ev.KeyReady():
            cos = number(event.cos_keys)
            return Line("key", f"over {event.templates} templates at token {event.token!r}   cos(k0, mean k) {cos}")
        case ev.OptimStep():
            stopped = f"   stopped: {event.stopped}" if event.stopped else ""
            return Line("step", f"{event.step}/{event.of}   loss {event.loss:.3f}   p {event.p_target:.3f}{stopped}")
        case ev.NormReport():
            return Line("norms", f"|dW|/|W| {compact(event.ratio)}   drift {compact(event.drift)}   {event.module}")
        case ev.EditCommitted():
            return Line("saved", f"edit {event.position}   {event.file}   {event.seconds:.1f} s")
        case ev.EditCancelled():
            how = f"discarded: {event.reason}" if event.reason else f"at step {event.step}"
            return Line("stopped", f"{how}; every weight is as before", "warning")
        case ev.EditFailed():
            return Line("failed", f"{event.message} {event.hint}".rstrip(), "failure")
        case _:
            return None


def _of_what_is_watched(event: ev.Event) -> Line | None:
    match event:
        case ev.Preflight():
            weight: Weight = "plain" if event.severity == "note" else "warning"
            return Line("ahead", f"{event.topic}: {event.message} {event.hint}".rstrip(), weight)
        case ev.TogetherStarted():
            return Line("started", f"{event.requests} edits together, from edit {event.index} of {event.of}")
        case ev.StepTogether():
            return Line("step", f"{event.step}/{event.of}   {event.requests} together, {event.running} still going")
        case ev.GuardTripped():
            return Line("guard", told(event), "warning")
        case ev.GuardAsked():
            return Line("guard", "asks what becomes of this edit; nothing is saved yet", "warning")
        case ev.EarlierProbed():
            return Line("earlier", earlier_words(event), "warning" if event.lost else "plain")
        case ev.BatchProbed():
            held, asked = event.efficacy
            said = f"{event.requests} requests   efficacy {held}/{asked}   S {number(event.s)}"
            return Line("probe", f"{said}   {event.left_out} left out" if event.left_out else said)
        case _:
            return None


def _of_a_search(event: ev.Event) -> Line | None:
    match event:
        case ev.TuningStarted():
            return Line("tune", f"{event.trials} trials at most on {event.facts} facts   {event.source}")
        case ev.TrialResult():
            how = f"layer {event.recipe.get('layer', '-')}   S {number(event.s)}   |dW|/|W| {compact(event.ratio)}"
            return Line("trial", f"{event.number}/{event.of}   {event.stage}   {how}")
        case ev.Tuned():
            return Line("tuned", f"layer {event.layer}   S {number(event.s_start)} -> {number(event.s)}")
        case _:
            return None


def _of_health(event: ev.Event) -> Line | None:
    match event:
        case ev.HealthStep():
            return Line("health", f"{event.what}   {event.done} of {event.of}")
        case ev.HealthReport():
            applied = f"{event.applied} edit{'' if event.applied == 1 else 's'}"
            return Line("health", f"measured at position {event.position}, {applied} applied")
        case ev.Diagnosed():
            weight: Weight = "plain" if event.phase == "stable" else "warning"
            return Line("health", f"{event.phase}: {event.message} {event.hint}".rstrip(), weight)
        case _:
            return None


def _of_the_engine(event: ev.Event) -> Line | None:
    match event:
        case ev.ModelLoading():
            done = "" if event.fraction is None else f" {event.fraction:.0%}"
            return Line("loading", event.stage + done)
        case ev.ModelReady():
            return Line("ready", f"{event.model} on {event.device}, {event.dtype}")
        case ev.StackChanged():
            undone = len(event.edits) - event.position
            return Line("stack", f"{event.folder}   {event.position} applied   {undone} undone")
        case ev.StacksBeside():
            return Line("stacks", f"{event.folder}   {len(event.stacks)} beside the open one")
        case ev.Warning():
            return Line("warning", f"{event.message} {event.hint}".rstrip(), "warning")
        case ev.Exported():
            return Line("export", f"{event.format}   {event.out}   {size(event.bytes)}")
        case ev.Log():
            return Line("log", event.message)
        case ev.JobDone():
            words = f"{event.message} {event.hint}".strip()
            return Line("done", words) if event.ok else Line("failed", words, "failure")
        case _:
            return None


def _of_a_question(event: ev.Event) -> Line | None:
    match event:
        case ev.ProbeResult():
            return Line("probe", f"{event.kind}   {_answer(event)} {tick(event.passed)}")
        case ev.GenerationChunk():
            return Line("text", f"{event.side}   continued {event.prompt}" if event.done else event.text)
        case ev.Answered():
            top = "  ".join(f"{token} {p:.2f}" for token, p in event.top[:3])
            return Line("answer", f"{event.side}   {event.prompt} -> {top}")
        case ev.Compared():
            kl = "inf" if event.kl is None else compact(event.kl)
            words = f"{event.a} and {event.b}   {event.prompt}   KL {kl}   shared {event.shared}/{event.of}"
            return Line("compare", words)
        case ev.Traced():
            return Line("trace", f"{event.prompt.replace('{}', event.subject)} -> {event.answer}   {_peak(event)}")
        case ev.Verified():
            weight: Weight = "failure" if event.outcome == "different" else "plain"
            return Line("verify", f"position {event.position}   {event.outcome}   {event.detail}".rstrip(), weight)
        case _:
            return None


def _peak(traced: ev.Traced) -> str:
    return f"peaks at layer {traced.peak_layer}, token {traced.rows[traced.peak_row].strip()!r}"


def _answer(probe: ev.ProbeResult) -> str:
    if probe.value is not None:
        return compact(probe.value)
    p = "" if probe.p_expected is None else f"   p({probe.expected.strip()}) {probe.p_expected:.3f}"
    return f"{probe.prompt} -> {probe.answer.strip()}{p}"
