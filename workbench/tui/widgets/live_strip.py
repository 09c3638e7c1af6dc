"""The edit in progress in three lines: how far, the losses, p(target), |δ|; and the last edit's probes."""

from __future__ import annotations

from rich.text import Text

from workbench import events as ev
from workbench.guards import Guard
from workbench.text import and_more, shortened, visible
from workbench.tui.bench import bench
from workbench.tui.keynames import key_name, named
from workbench.tui.runner import newest_applied
from workbench.tui.state import Run, State
from workbench.tui.widgets.guard_lines import reading, readings
from workbench.tui.widgets.head import DOING
from workbench.tui.widgets.panel import Panel
from workbench.tui.widgets.text import bar, number, sparkline

STAGES = {
    "templates": "sampling context templates",
    "keys": "computing the key",
    "optimise": "optimising the value",
    "insert": "inserting the update",
    "probe": "asking the probes",
    "save": "saving the edit",
}
SPACIOUS = 70
"""Width from which losses and |δ| are in the strip; narrower ones stand beside the panel that has them."""
RECENT = 5
"""Steps that the estimate of the time left rests on."""


class LiveStrip(Panel):
    """A box of three lines, five rows high."""

    DEFAULT_CSS = """
    LiveStrip { height: 5; }
    LiveStrip.-running { border: round $accent; }
    """

    _state = State()

    def show(self, state: State) -> None:
        """Draws `state`."""
        self._state = state
        self.set_class(state.run is not None and state.run.running, "-running")
        self.name_it(title(state.run), named("F3 to open"))
        self.redraw()

    def lines(self, width: int, height: int) -> list[Text]:
        """The lines for the present width."""
        return strip_lines(self._state, width, guard_word(bench(self).guard, self._state))[:height]


def title(run: Run | None) -> str:
    """What the box is about."""
    if run is None:
        return "Live"
    request = run.started.request
    subject, target = str(request.get("subject", "")), str(request.get("target_new", "")).strip()
    more = and_more(run.started.requests)
    return f"Live  {shortened(subject, 28 - len(more))}{more} -> {shortened(target, 20)}"


def guard_word(guard: Guard, state: State) -> str:
    """What the guard says of the last edit: the first measure beyond its limit, else that all hold."""
    values = readings(state)
    tripped = guard.trips(values)
    if tripped:
        return reading(guard, tripped[0].measure, values[tripped[0].measure])
    return "guard ✓" if any(guard.limit(name) is not None for name in values) else ""


def strip_lines(state: State, width: int, guard: str = "") -> list[Text]:
    """Three lines at most, each no wider than `width` needs to be."""
    last = Text(last_edit(state, width))
    if guard and last.cell_len + len(guard) + 2 <= width:
        last.append(f"  {guard}" if last.cell_len else guard)
    if state.engine == "starting":
        meanwhile = "" if state.where == "recorded" else "You can write edits and queue them meanwhile."
        return [loading_line(state, width), Text(meanwhile, "dim"), last]
    if state.doing.startswith("apply") and not (state.run and state.run.running):
        return [Text(f"▶ {DOING[state.doing]}"), Text(), last]
    if state.run is None and state.engine == "stopped":
        again = f"{key_name('run')} starts it again."
        return [Text("The engine is not running.", "dim"), Text(again, "dim"), last]
    if state.run is None:
        return [Text("No edit is running.", "dim"), Text(f"{key_name('run')} runs the queue.", "dim"), last]
    return [progress_line(state.run, width), value_line(state.run, width), last]


def loading_line(state: State, width: int) -> Text:
    """What the engine loads, and how much of it is there."""
    loading = state.loading
    if loading is None:
        return Text("Starting the engine.")
    line = Text(f"Loading: {visible(loading.stage)} ")
    if loading.fraction is not None:
        line.append(bar(loading.fraction, max(8, min(24, width - line.cell_len - 6))), "bold")
        line.append(f" {loading.fraction:.0%}")
    return line


def progress_line(run: Run, width: int) -> Text:
    """Step, bar, losses and time left; or how it ended."""
    if not run.running:
        return Text(outcome(run))
    if run.asked:
        return Text(f"‖ the guard asks; nothing is saved yet. {key_name('run')} answers.")
    if run.together and not run.steps and run.stage and run.stage.stage == "optimise":
        return _together(run.together, width)
    if not run.steps or (run.stage and run.stage.stage != "optimise"):
        detail = f": {visible(run.stage.detail)}" if run.stage and run.stage.detail else ""
        return Text(f"▶ {STAGES[run.stage.stage] if run.stage else 'starting'}{detail}")
    step = run.steps[-1]
    losses = _losses(step) if width >= SPACIOUS else ""
    left = f"  ETA {seconds(time_left(run))}"
    head = f"step {step.step}/{step.of} "
    line = Text(head)
    line.append(bar(step.step / max(step.of, 1), max(5, min(20, width - len(head + losses + left)))), "bold")
    return line.append(losses + left)


def _together(step: ev.StepTogether, width: int) -> Text:
    """Several requests side by side: "12 together, 9 still going"."""
    head, tail = f"step {step.step}/{step.of} ", f"  {step.requests} together, {step.running} still going"
    line = Text(head).append(bar(step.step / max(step.of, 1), max(5, min(20, width - len(head + tail)))), "bold")
    return line.append(tail)


def _losses(step: ev.OptimStep) -> str:
    parts = ((step.nll, "nll"), (step.kl, "kl"), (step.wd, "wd"))
    return f"  loss {number(step.loss, 2)} ({' '.join(f'{name} {number(value, 2)}' for value, name in parts)})"


def value_line(run: Run, width: int) -> Text:
    """The target's probability from first to last step, and |δ| against its clamp."""
    if not run.steps:
        return _means(run, width)
    first, last = run.steps[0], run.steps[-1]
    end = f" {probability(last.p_target)}"
    delta = f"   |delta| {number(last.delta_norm, 2)} of clamp {number(last.clamp, 1)}" if width >= SPACIOUS else ""
    head = f"p(target) {probability(first.p_target)} "
    room = max(0, min(30, width - len(head + end + delta)))
    line = Text(head)
    line.append(sparkline([step.p_target for step in run.steps], room), "bold")
    return line.append(end + delta)


def _means(run: Run, width: int) -> Text:
    """Loss and p(target) of requests that are optimised together, in the mean over those that still go on."""
    if not run.together:
        return Text()
    head = f"mean loss {number(run.together.loss, 2)}   mean p(target) {probability(run.side_by_side[0].p_target)} "
    end = f" {probability(run.together.p_target)}"
    room = max(0, min(30, width - len(head + end)))
    return Text(head).append(sparkline([step.p_target for step in run.side_by_side], room), "bold").append(end)


def outcome(run: Run) -> str:
    """How an edit ended, in words."""
    if run.failed:
        return f"✗ failed: {visible(run.failed.message)} No weight has changed."
    if run.cancelled and run.cancelled.reason:
        return f"■ discarded by the guard: {visible(run.cancelled.reason)}. Every weight is as before."
    if run.cancelled:
        return "■ stopped; every weight is as before."
    if run.committed:
        steps = f", {len(run.steps)} step{'' if len(run.steps) == 1 else 's'}" if run.steps else ""
        took = f"{seconds(run.committed.seconds)}{steps}"
        if any(probe.kind == "efficacy" and probe.passed is False for probe in run.probes):
            return f"✗ edit {run.committed.position} made, but its target is not on top ({took})."
        return f"✓ edit {run.committed.position} made in {took}; saved as a file."
    return ""


def time_left(run: Run) -> float:
    """Seconds of optimisation that are left at most; 0 when the last step has been."""
    recent, last = run.steps[-RECENT:], run.steps[-1]
    if last.stopped or not recent:
        return 0.0
    return (last.of - last.step) * sum(step.seconds for step in recent) / len(recent)


def last_edit(state: State, width: int) -> str:
    """The newest applied edit: how large it is and, where there is room, what its probes said."""
    run, row = state.run, newest_applied(state)
    if row and run and run.committed and run.committed.edit == row.id and run.probes:
        ratio = run.norms.ratio if run.norms else row.ratio
        probes = _asked(run.probes if width >= SPACIOUS else tuple(p for p in run.probes if p.kind == "efficacy"))
        return f"last edit #{run.committed.position}  {_ratio(ratio)}{probes}".rstrip()
    if row is None:
        return ""
    parts = f"last edit #{row.number}  {_ratio(row.ratio)}"
    if row.efficacy is not None:
        parts += f"efficacy {'ok' if row.efficacy else 'MISSED'}  "
    if width < SPACIOUS:
        return parts.rstrip()
    for name, counts in (("paraphrase", row.paraphrases), ("neighbour", row.neighbours)):
        if counts is not None and counts[1]:
            parts += f"{name} {counts[0]}/{counts[1]}  "
    return parts.rstrip()


def probability(value: float | None) -> str:
    """Two decimals, three below 0.1."""
    return number(value, 2 if value is None or value >= 0.0995 else 3)


def seconds(value: float) -> str:
    """A time span: 48 ms, 1.2 s, 3 min."""
    if value < 1:
        return f"{value * 1000:.0f} ms"
    return f"{value:.1f} s" if value < 100 else f"{value / 60:.0f} min"


def _ratio(ratio: float | None) -> str:
    return "" if ratio is None else f"|ΔW|/|W| {number(ratio, 3)}  "


def _asked(probes: tuple[ev.ProbeResult, ...]) -> str:
    words = []
    for kind, name in (("efficacy", "efficacy"), ("paraphrase", "paraphrase"), ("neighbourhood", "neighbour")):
        verdicts = [probe.passed for probe in probes if probe.kind == kind and probe.passed is not None]
        if kind == "efficacy" and len(verdicts) == 1:
            words.append(f"efficacy {'ok' if verdicts[0] else 'MISSED'}")
        elif verdicts:
            words.append(f"{name} {sum(verdicts)}/{len(verdicts)}")
    return "  ".join(words)
