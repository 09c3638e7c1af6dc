"""Where a fact lives: the causal trace of a draft or an edit, over the place it was asked from."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from workbench import events as ev
from workbench.edits import SLOT
from workbench.heat import heat_map, legend, sentences
from workbench.traces import KINDS
from workbench.tui.bench import bench
from workbench.tui.fact import Fact
from workbench.tui.session import unavailable
from workbench.tui.state import State
from workbench.tui.widgets.heat_pane import HeatPane
from workbench.tui.widgets.keys import KeyLine
from workbench.tui.widgets.text import bar, safe

if TYPE_CHECKING:
    from textual.app import ComposeResult

Side = Literal["base", "stack"]
BAR = 24
"""Cells of the bar of progress."""
WORDS = {"state": "hidden states", "mlp": "MLP outputs", "attention": "attention outputs"}


class TraceScreen(ModalScreen[None]):
    """Starts as soon as the engine is free; leaving stops it.

    Args:
        fact: what is traced; the answer is what the model itself says.
    """

    CSS_PATH = "trace.tcss"
    AUTO_FOCUS = "HeatPane"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("m", "kind", "States, MLP, attention", id="trace.kind", tooltip="What is put back"),
        Binding("b", "side", "Base/stack", id="trace.side", tooltip="The pristine model, or the edited one"),
        Binding("enter", "again", "Trace", id="trace.again", tooltip="Starts again after a stop or an error"),
        Binding("ctrl+g", "stop", "Stop", id="trace.stop", tooltip="Stops the trace"),
        Binding("escape", "leave", "Back", id="trace.back", priority=True),
    ]

    def __init__(self, fact: Fact) -> None:
        super().__init__()
        self._fact = fact
        self._kind = KINDS[0]
        self._side: Side = "base"
        self._job = ""
        self._wanted = True
        """A trace is to be started when the engine is free."""

    def compose(self) -> ComposeResult:
        """What is traced, the map, what it says, and the keys."""
        with Vertical(id="trace"):
            yield Static(id="trace-fact", markup=False)
            yield HeatPane(id="heat")
            yield Static(id="trace-said", markup=False)
            yield KeyLine()

    def on_mount(self) -> None:
        """Starts."""
        box = self.query_one("#trace")
        box.border_title, box.border_subtitle = "Where the fact lives", "escape leaves"
        self.refresh_state(bench(self).state)

    def refresh_state(self, state: State) -> None:
        """The app calls this when the state changed."""
        if not self.query(HeatPane):
            return  # the screen is being built, or taken down
        if self._wanted and state.engine == "idle":
            self._start()
            state = bench(self).state
        traced = self._traced(state)
        self.query_one(HeatPane).show(traced)
        self.query_one("#trace-fact", Static).update(self._heading(traced))
        self.query_one("#trace-said", Static).update(self._said(state, traced))
        self.refresh_bindings()

    def on_resize(self) -> None:
        """The legend says how many layers a column has."""
        self.refresh_state(bench(self).state)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Stop while it runs; anew when nothing does."""
        del parameters
        running = self._at_work(bench(self).state)
        if action == "stop":
            return running
        return not (running or self._wanted) if action == "again" else True

    def action_kind(self) -> None:
        """Traces another part of the blocks."""
        self._kind = KINDS[(KINDS.index(self._kind) + 1) % len(KINDS)]
        self._anew()

    def action_side(self) -> None:
        """Traces the pristine model, or the edited one."""
        self._side = "stack" if self._side == "base" else "base"
        self._anew()

    def action_again(self) -> None:
        """Starts again."""
        self._anew()

    def action_stop(self) -> None:
        """Stops the trace; the screen stays."""
        self._wanted = False
        self._cancel()

    def action_leave(self) -> None:
        """Stops what runs and leaves."""
        self._wanted = False
        self._cancel()
        self.dismiss(None)

    def _anew(self) -> None:
        self._cancel()
        self._job, self._wanted = "", True
        self.refresh_state(bench(self).state)

    def _cancel(self) -> None:
        if self._at_work(bench(self).state):
            bench(self).cancel()

    def _start(self) -> None:
        fact, chat = self._fact, {"chat": True} if self._fact.chat else {}
        asked = {"prompt": fact.prompt, "subject": fact.subject, **chat}
        self._job = bench(self).send("trace", **asked, side=self._side, settings={"kind": self._kind})
        self._wanted = not self._job

    def _at_work(self, state: State) -> bool:
        return bool(self._job) and state.job == self._job

    def _traced(self, state: State) -> ev.Traced | None:
        """The picture of the present job."""
        return state.traced if state.traced and self._job and state.traced.job == self._job else None

    def _heading(self, traced: ev.Traced | None) -> Text:
        text = self._fact.prompt.replace(SLOT, f"[{self._fact.subject}]")
        answer = f" -> {traced.answer.strip()}" if traced else ""
        where = "base" if self._side == "base" else f"stack @{traced.side}" if traced else "stack"
        chat = "chat, " if self._fact.chat else ""
        return safe(f"{text}{answer}   {chat}{where}, {WORDS[self._kind]}", "bold")

    def _said(self, state: State, traced: ev.Traced | None) -> Text:
        """Legend and peak; before that, how far it is or why it is not."""
        if traced:
            width = self.query_one(HeatPane).content_size.width - 2
            return safe("\n".join([*sentences(traced), *legend(traced, heat_map(traced, width))]), lines=True)
        if self._at_work(state):
            step = state.tracing
            return safe(_progress(step) if step and step.job == self._job else "Running the prompt ...")
        if self._wanted:
            restart = " Escape leaves." if state.engine == "stopped" else " The trace starts when it is free."
            return safe(unavailable(state) + restart)
        return safe(self._ended(state))

    def _ended(self, state: State) -> str:
        """Why there is no picture."""
        if state.engine == "stopped":
            return unavailable(state) + " Escape leaves."
        found = (e for e in reversed(state.log) if isinstance(e, ev.JobDone) and self._job and e.job == self._job)
        done = next(found, None)
        if done is None or done.ok or done.exit_code == 130:
            return "Stopped. enter starts again, escape leaves."
        return f"✗ {done.message} {done.hint}".strip()


def _progress(step: ev.TraceStep) -> str:
    share = step.done / max(step.of, 1)
    return f"{bar(share, BAR)} {step.done}/{step.of} states restored   ctrl+g stops"
