"""The two lines that show when the engine has stopped: why, that nothing is lost, and the keys that help."""

from __future__ import annotations

from textual.widgets import Static

from workbench.guards import told
from workbench.text import shortened, visible
from workbench.tui.keynames import key_name
from workbench.tui.runner import applied_edits
from workbench.tui.state import Run, State


class Banner(Static):
    """Hidden while the engine runs."""

    DEFAULT_CSS = """
    Banner { display: none; height: auto; max-height: 4; padding: 0 1; background: $error-muted; color: $foreground; }
    Banner.-shown { display: block; }
    """

    def __init__(self) -> None:
        super().__init__("", markup=False)
        self._text = ""

    def show(self, state: State) -> None:
        """Draws `state`."""
        text = banner(state)
        if text != self._text:
            self._text = text
            self.update(text)
            self.set_class(bool(text), "-shown")


def banner(state: State) -> str:
    """What to say while the engine is stopped, or waits for an answer; else ""."""
    if state.run and state.run.running and state.run.asked:
        return _asked(state.run)
    if state.engine != "stopped":
        return ""
    reason = shortened(visible(state.stopped_because).rstrip("."), 240)
    again, log = key_name("run"), key_name("place.log")
    if state.model is None:
        return f"✗ The engine did not start: {reason}. {again} tries again, {log} shows the log."
    count = sum(row.state == "applied" for row in applied_edits(state))
    replay = f" and replay {count} edit{'' if count == 1 else 's'}" if count else ""
    return f"✗ Engine stopped ({reason}). Your stack is safe on disk. {again} restart{replay}, {log} open log."


def _asked(run: Run) -> str:
    """What the guard asks, and the keys that answer."""
    what = "; ".join(told(one) for one in run.tripped)
    return f"‖ The guard asks: {what}. Nothing is saved yet. {key_name('run')} answers, {key_name('stop')} discards."
