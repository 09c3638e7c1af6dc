"""Which edit is being made and how far it is: two lines without a border, and under them what speaks against it."""

from __future__ import annotations

from typing import get_args

from rich.text import Text

from workbench import events as ev
from workbench.tui.keynames import key_name, named
from workbench.tui.state import Run, State
from workbench.tui.widgets.panel import Panel
from workbench.tui.widgets.text import bar, fit

STAGES: tuple[ev.Stage, ...] = get_args(ev.Stage)
WORDS = {"optimise": "optimise v*", "keys": "key u*"}
FINDINGS = 2
"""Lines for what the look ahead found, at most."""
GRAVEST = ("danger", "warning", "note")
SIGNS = {"danger": "✗", "warning": "!", "note": "·"}


class StageLines(Panel):
    """The request of the running edit and its stages; before the first one, what the engine does."""

    DEFAULT_CSS = "StageLines { border: none; height: 2; min-height: 2; padding: 0 1; }"

    _state = State()

    def show(self, state: State) -> None:
        """Draws the run of `state`, in as many lines as there is to say."""
        old, self._state = self._state, state
        if (old.run, old.engine, old.loading) != (state.run, state.engine, state.loading):
            found = len(state.run.preflight) if state.run else 0
            self.styles.height = 2 + min(found, FINDINGS)
            self.refresh()

    def lines(self, width: int, height: int) -> list[Text]:
        """What is edited, how far it is, and what was found before it began."""
        state = self._state
        if state.run is None:
            return [Text(line) for line in _before(state, width)]
        found = [Text(line, "yellow") for line in finding_lines(state.run, width, max(height - 2, 0))]
        return [Text(request_line(state.run, width), "bold"), Text(stage_line(state.run, width)), *found]


def finding_lines(run: Run, width: int, height: int) -> list[str]:
    """What the look ahead found, the gravest first; what has no line is counted."""
    found = sorted(run.preflight, key=lambda one: GRAVEST.index(one.severity))
    words = [f"{SIGNS[one.severity]} {one.topic}: {one.message} {one.hint}".rstrip() for one in found[:height]]
    if words and len(found) > height:
        words[-1] = f"{len(found) - height} more in f8.  {words[-1]}"
    return [fit(line, width) for line in words]


def request_line(run: Run, width: int) -> str:
    """Subject, prompt, target and how, in exactly `width` cells."""
    request, recipe = run.started.request, run.started.recipe
    what = f"{request.get('subject', '')}:  {request.get('prompt', '')} -> {str(request.get('target_new', '')).strip()}"
    if run.joint:
        what = f"{run.started.requests} edits made together, the first {what}"
    elif run.started.requests > 1:
        what = f"{run.started.requests} requests in one edit, the first {what}"
    how = f"layer {recipe.get('layer', '-')}   job {run.started.job[:8]}"
    if width >= 100:
        with_others = f"made with {run.made_with - 1} others   " if run.made_with > 1 else ""
        how = f"{with_others}{recipe.get('method', '')}   seed {recipe.get('seed', '-')}   {how}"
    return fit(what, max(width - len(how) - 2, 10)) + "  " + fit(how, len(how))


def stage_line(run: Run, width: int) -> str:
    """Every stage with ✓, ▶ or ·, or how the edit ended."""
    if run.failed:
        return fit(f"✗ failed: {run.failed.message} {run.failed.hint}", width)
    reached = STAGES.index(run.stage.stage) if run.stage and run.stage.stage in STAGES else -1
    parts = [_stage(run, i, reached, width) for i in range(len(STAGES))]
    if run.committed:
        parts = [*parts, f"saved in {run.committed.seconds:.1f} s"]
    if run.cancelled:
        how = f"discarded: {run.cancelled.reason}" if run.cancelled.reason else f"stopped at step {run.cancelled.step}"
        parts = [f"✗ {how}; every weight is as before"]
    if run.asked and run.running:
        parts = [*parts[:reached], "probe ✓", f"‖ the guard asks: {key_name('run')} answers", *parts[reached + 1 :]]
    return fit("  ".join(parts), width)


def _stage(run: Run, index: int, reached: int, width: int) -> str:
    word = WORDS.get(STAGES[index], STAGES[index]) if width >= 100 else STAGES[index]
    if run.committed or index < reached:
        return f"{word} ✓"
    if index > reached:
        return f"{word} ·"
    step = run.steps[-1] if run.steps else run.together
    if STAGES[index] == "optimise" and step is not None:
        if isinstance(step, ev.StepTogether):
            word = f"{step.requests} together, {step.running} still going"
        return f"▶ {word} {bar(step.step / max(step.of, 1), 20 if width >= 100 else 10)} {step.step}/{step.of}"
    return f"▶ {word}"


def _before(state: State, width: int) -> list[str]:
    if state.engine == "starting":
        stage = state.loading.stage if state.loading else "starting the engine"
        done = state.loading.fraction if state.loading else None
        return [fit(f"Loading: {stage}" + ("" if done is None else f"  {bar(done, 20)} {done:.0%}"), width)]
    if state.engine == "stopped":
        return [fit("No edit has run.", width)]
    return [fit(named("No edit has run yet. F2 opens the form, ctrl+r runs the queue."), width)]
