"""Which edit is being made and how far it is: two lines without a border."""

from __future__ import annotations

from typing import get_args

from rich.text import Text

from workbench.events import Stage
from workbench.tui.state import Run, State
from workbench.tui.widgets.panel import Panel
from workbench.tui.widgets.text import bar, fit

STAGES: tuple[Stage, ...] = get_args(Stage)
WORDS = {"optimise": "optimise v*", "keys": "key u*"}


class StageLines(Panel):
    """The request of the running edit and its stages; before the first one, what the engine does."""

    DEFAULT_CSS = "StageLines { border: none; height: 2; min-height: 2; padding: 0 1; }"

    _state = State()

    def show(self, state: State) -> None:
        """Draws the run of `state`."""
        old, self._state = self._state, state
        if (old.run, old.engine, old.loading) != (state.run, state.engine, state.loading):
            self.refresh()

    def lines(self, width: int, height: int) -> list[Text]:
        """What is edited, and how far it is."""
        del height
        state = self._state
        if state.run is None:
            return [Text(line) for line in _before(state, width)]
        return [Text(request_line(state.run, width), "bold"), Text(stage_line(state.run, width))]


def request_line(run: Run, width: int) -> str:
    """Subject, prompt, target and how, in exactly `width` cells."""
    request, recipe = run.started.request, run.started.recipe
    what = f"{request.get('subject', '')}:  {request.get('prompt', '')} -> {str(request.get('target_new', '')).strip()}"
    how = f"layer {recipe.get('layer', '-')}   job {run.started.job[:8]}"
    if width >= 100:
        how = f"{recipe.get('method', '')}   seed {recipe.get('seed', '-')}   {how}"
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
        parts = [f"✗ stopped at step {run.cancelled.step}; every weight is as before"]
    return fit("  ".join(parts), width)


def _stage(run: Run, index: int, reached: int, width: int) -> str:
    word = WORDS.get(STAGES[index], STAGES[index]) if width >= 100 else STAGES[index]
    if run.committed or index < reached:
        return f"{word} ✓"
    if index > reached:
        return f"{word} ·"
    if STAGES[index] == "optimise" and run.steps:
        step = run.steps[-1]
        return f"▶ {word} {bar(step.step / max(step.of, 1), 20 if width >= 100 else 10)} {step.step}/{step.of}"
    return f"▶ {word}"


def _before(state: State, width: int) -> list[str]:
    if state.engine == "starting":
        stage = state.loading.stage if state.loading else "starting the engine"
        done = state.loading.fraction if state.loading else None
        return [fit(f"Loading: {stage}" + ("" if done is None else f"  {bar(done, 20)} {done:.0%}"), width)]
    if state.engine == "stopped":
        return [fit("No edit has run.", width)]
    return [fit("No edit has run yet. F2 opens the form, ctrl+r runs the queue.", width)]
