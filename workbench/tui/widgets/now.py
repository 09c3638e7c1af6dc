"""The running edit in numbers: each with how it moved since the step before."""

from __future__ import annotations

from collections.abc import Callable

from rich.text import Text

from workbench import events as ev
from workbench.tui.state import Run, State
from workbench.tui.widgets.panel import Panel
from workbench.tui.widgets.text import bar, number, size, wrapped

STOPPED = {"loss": "loss below its limit", "nll": "rewriting NLL below its limit", "steps": "all steps done"}


class NowPanel(Panel):
    """The newest step of the running edit, or the last step of the last one."""

    _run: Run | None = None

    def on_mount(self) -> None:
        """Writes the border."""
        self.name_it("Now")

    def show(self, state: State) -> None:
        """Draws the run of `state`."""
        if state.run is not self._run:
            self._run = state.run
            self.refresh()

    def lines(self, width: int, height: int) -> list[Text]:
        """One number a line; the least important last."""
        del height
        if self._run is not None and self._run.together and not self._run.steps:
            return [Text(line) for line in together_lines(self._run.together, self._run.memory, width)]
        if self._run is None or not self._run.steps:
            return [Text(line, "dim") for line in wrapped("The numbers of each step show here.", width)]
        return [Text(line) for line in now_lines(self._run, width)]


def now_lines(run: Run, width: int) -> list[str]:
    """The run's last step as lines of at most `width` cells."""
    step = run.steps[-1]
    before = run.steps[-2] if len(run.steps) > 1 else None
    lines = [
        _moved("loss", step, before, lambda s: s.loss),
        _moved("  nll", step, before, lambda s: s.nll),
        _moved("  kl", step, before, lambda s: s.kl),
        _moved("  wd", step, before, lambda s: s.wd),
        _moved("p(target)", step, before, lambda s: s.p_target),
        f"{'|δ|':<9}{number(step.delta_norm, 2):>6} of {step.clamp:.3g}" + _clamp_bar(step, width),
        *_cost(run, width),
        f"{'elapsed':<9}{sum(s.seconds for s in run.steps):6.1f} s",
    ]
    left = _left(run)
    if left is not None:
        lines.append(f"{'left':<9}{left:6.1f} s")
    if step.stopped:
        lines.append(f"stopped: {STOPPED.get(step.stopped, step.stopped)}")
    return lines


def together_lines(step: ev.StepTogether, memory: ev.MemoryUsed | None, width: int) -> list[str]:
    """Several requests that are optimised side by side."""
    return [
        f"{step.requests} requests together",
        f"{step.running} still going",
        f"{'loss':<9}{number(step.loss):>6} mean",
        f"{'p(target)':<9}{number(step.p_target):>6} mean",
        f"{'step time':<9}{step.seconds * 1000:6.0f} ms",
        *_memory(memory, width),
    ]


def _cost(run: Run, width: int) -> list[str]:
    """Time of a step and memory: on one line where the panel is narrow."""
    taken = run.steps[-1].seconds * 1000
    if width < 30 and run.memory:
        return [f"step {taken:4.0f} ms  {size(run.memory.used)}"]
    return [f"{'step time':<9}{taken:6.0f} ms{_p95(run) if width >= 30 else ''}", *_memory(run.memory, width)]


def _memory(memory: ev.MemoryUsed | None, width: int) -> list[str]:
    if memory is None:
        return []
    peak = f"  (peak {size(memory.peak)})" if width >= 32 else ""
    return [f"{'memory':<9}{size(memory.used):>9}{peak}"]


def _moved(name: str, step: ev.OptimStep, before: ev.OptimStep | None, of: Callable[[ev.OptimStep], float]) -> str:
    line = f"{name:<9}{number(of(step)):>6}"
    if before is None:
        return line
    change = of(step) - of(before)
    sign = "▲" if change > 0 else "▼" if change < 0 else " "
    return f"{line} {sign} {abs(change):.3f}"


def _clamp_bar(step: ev.OptimStep, width: int) -> str:
    room = min(width - 27, 16)
    return "  " + bar(step.delta_norm / step.clamp, room) if room >= 4 and step.clamp > 0 else ""


def _p95(run: Run) -> str:
    times = sorted(s.seconds for s in run.steps)
    return f"  (p95 {times[min(int(len(times) * 0.95), len(times) - 1)] * 1000:.0f})"


def _left(run: Run) -> float | None:
    """Seconds until the last step, if no limit stops it sooner."""
    step = run.steps[-1]
    if step.stopped or not run.running or step.step >= step.of:
        return None
    return (step.of - step.step) * sum(s.seconds for s in run.steps) / len(run.steps)
