"""The two lines on top of every place: where one can go, and model, stack, queue and engine in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.style import Style
from rich.text import Text
from textual.geometry import Size

from workbench.text import shortened, visible
from workbench.tui.keynames import key_name
from workbench.tui.state import State
from workbench.tui.widgets.drawn import Drawn
from workbench.tui.widgets.text import size

if TYPE_CHECKING:
    from textual import events

PLACES = ("edit", "live", "history", "compare", "log")
MIN_SIZE = Size(80, 18)
"""Smaller terminals cannot show all of a place."""
LOW = 24
"""Fewer rows leave the head one line."""
GAP = " │ "
DOING = {
    "apply": "starting an edit",
    "apply_batch": "starting an edit",
    "apply_together": "starting edits",
    "undo": "undoing",
    "redo": "redoing",
    "travel": "travelling",
    "verify": "verifying",
    "probe": "asking the probes",
    "generate": "generating",
    "open": "opening a stack",
    "trace": "tracing",
    "export": "exporting",
    "health": "measuring health",
    "toggle": "leaving an edit out or in",
    "branch": "beginning a branch",
    "switch": "changing branches",
}
"""What a busy engine does, by the verb of its job."""


class Head(Drawn):
    """Two lines, one in a low terminal."""

    DEFAULT_CSS = """
    Head { dock: top; height: 2; background: $panel; color: $foreground; }
    """

    def __init__(self, place: str) -> None:
        super().__init__()
        self._place = place
        self._state = State()
        self._waiting = 0

    def show(self, state: State) -> None:
        """Draws `state`."""
        self._state = state
        self._waiting = getattr(self.app, "waiting", 0)
        self.redraw()

    async def on_click(self, event: events.Click) -> None:
        """A click on a place goes there."""
        place = event.style.meta.get("place")
        if isinstance(place, str):
            await self.app.run_action(f"place('{place}')")

    def drawn(self) -> Text:
        """The lines, cut to the width."""
        width = self.size.width
        lines = self._lines(width)
        for line in lines:
            line.truncate(width, overflow="ellipsis")
        return Text("\n", no_wrap=True).join(lines)

    def _lines(self, width: int) -> list[Text]:
        terminal = self.app.size
        small = terminal.width < MIN_SIZE.width or terminal.height < MIN_SIZE.height
        warning = Text(f" {terminal.width}x{terminal.height} is too small: 80x18 is needed.", "bold reverse")
        if terminal.height < LOW:
            return [warning if small else self._merged(width)]
        return [self._places(width), warning if small else Text(" " + GAP.join(self._facts(width)))]

    def _merged(self, width: int) -> Text:
        """The place one is in, the keys of the others, and as many facts as fit."""
        line = Text(" ")
        for name in PLACES:
            here = name == self._place
            words = f"[{_label(name)}]" if here else f" {_label(name).split()[0]}"
            line.append(words, Style(bold=here, meta={"place": name}))
        state = self._state
        facts = [engine_words(state), f"queue {self._waiting}", _stack(state, wide=False)]
        room = width - line.cell_len - sum(len(GAP) + len(fact) for fact in facts)
        if room > len(GAP) + 12:
            facts.append(_model(state, room=room - len(GAP)))
        return line.append(GAP + GAP.join(fact for fact in facts if fact))

    def _places(self, width: int) -> Text:
        line = Text(" workbench      ")
        for name in PLACES:
            here = name == self._place
            line.append(f"[{_label(name)}]" if here else f" {_label(name)} ", Style(bold=here, meta={"place": name}))
        room = width - line.cell_len - 1
        if self._state.model and width >= 100:
            line.append(_model(self._state, room=room).rjust(room))
        return line

    def _facts(self, width: int) -> list[str]:
        state = self._state
        rest = [_stack(state, wide=width >= 100), f"queue {self._waiting}", engine_words(state)]
        facts = [] if width >= 100 and state.model else [_model(state, room=width - len(GAP.join(rest)) - 4)]
        facts += rest
        if width >= 100 and state.stack:
            facts += [f"drift {state.stack.drift:.3f}", _perplexity(state)]
        return [fact for fact in facts if fact]


def _label(place: str) -> str:
    """A place with its key."""
    return f"{key_name(f'place.{place}').upper()} {place.capitalize()}"


def engine_words(state: State) -> str:
    """What the engine does, with a sign that is readable without colour."""
    run = state.run
    if state.engine == "stopped":
        return "✗ STOPPED"
    if state.engine == "starting":
        return "◌ LOADING"
    if run and run.running and run.asked:
        return f"‖ GUARD ASKS {run.started.index}/{run.started.of}"
    if run and run.running:
        last = run.steps[-1] if run.steps else run.together
        step = f" {last.step}/{last.of}" if last else ""
        which = f"{run.started.requests} together" if run.joint else f"{run.started.index}/{run.started.of}"
        return f"● RUNNING {which}{step}"
    if state.engine == "played":
        return "▷ RECORDING"
    return f"● BUSY {DOING.get(state.doing, '')}".rstrip() if state.engine == "busy" else "○ idle"


def _model(state: State, *, room: int) -> str:
    """The model in at most about `room` cells: its memory, then the Hub's owner, then the name's end are left out."""
    if state.model is None:
        loading = state.loading
        if loading is None:
            return "no model" if state.engine == "stopped" else "starting the engine"
        done = "" if loading.fraction is None else f" {loading.fraction:.0%}"
        return visible(loading.stage) + done
    ready = state.model
    dtype = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}.get(ready.dtype, ready.dtype)
    memory = "" if ready.memory is None else f" {size(ready.memory)}"
    name, tail = visible(ready.model), f" {visible(dtype)} {shortened(visible(ready.device), 20)}"
    short = name.rsplit("/", 1)[-1]
    for words in (name + tail + memory, short + tail + memory, short + tail):
        if len(words) <= room:
            return words
    return shortened(short, max(8, room - len(tail))) + tail


def _perplexity(state: State) -> str:
    """Held-out perplexity, base and now, if the newest applied edit has recorded it."""
    stack = state.stack
    if stack is None or stack.perplexity_base is None or not 0 < stack.position <= len(stack.edits):
        return ""
    now = stack.edits[stack.position - 1].perplexity
    return "" if now is None else f"ppl {stack.perplexity_base:.2f} -> {now:.2f}"


def _stack(state: State, *, wide: bool) -> str:
    if state.stack is None:
        return ""
    undone = len(state.stack.edits) - state.stack.position
    off = sum(row.state == "off" for row in state.stack.edits)
    tail = f" + {undone} undone" if undone > 0 else "" if off else " applied"
    tail += f", {off} off" if off else ""
    name = visible(state.stack.folder.rstrip("/").rsplit("/", 1)[-1]) + " " if wide else ""
    return f"stack {name}{state.stack.position}{tail}"
