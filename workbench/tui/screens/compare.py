"""Compare: the base and the stack side by side, on one prompt and on every probe."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Input, Static

from workbench.text import visible
from workbench.tui.screens.base import WorkbenchScreen
from workbench.tui.state import State
from workbench.tui.widgets.line_input import LineInput, settled
from workbench.tui.widgets.probe_table import ProbeTable
from workbench.tui.widgets.side import Side, Span, Top, compared, diff_text, differing, marked, overlap
from workbench.tui.widgets.text import safe

SIDES = ("base", "stack")
TOP = 10
"""Next tokens asked for on each side."""
LEAST_NEW, MOST_NEW = 10, 200
HOT = 0.8
"""Temperature when sampling."""


@dataclass(frozen=True)
class Settings:
    """How both sides generate: the same for both."""

    max_new: int = 40
    temperature: float = 0.0
    seed: int = 0

    def __str__(self) -> str:
        how = "greedy" if self.temperature == 0 else f"sampling at {self.temperature:g}, seed {self.seed}"
        return f"max {self.max_new} tokens   {how}"


@dataclass(frozen=True)
class Picture:
    """All that the two sides show; drawn anew only when it is another."""

    titles: tuple[str, str]
    texts: tuple[str, str]
    tops: tuple[Top, Top]
    prompt: str
    waiting: str
    """What to say instead of a text."""
    finished: bool
    diff: bool
    settings: str

    def whole(self, text: Text) -> Text:
        """The prompt and `text`, or why there is none."""
        return safe(self.prompt, "dim", lines=True).append_text(text) if text.plain else safe(self.waiting, "dim")


class CompareScreen(WorkbenchScreen):
    """One prompt on both sides, and the probes."""

    CSS_PATH = "compare.tcss"
    AUTO_FOCUS = "#prompt"
    HELP = (
        "Both sides get the same prompt, seed and sampling. [Brackets] mark the words that differ. "
        "Escape leaves the prompt so that the single keys work."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "generate", "Generate", id="compare.generate", priority=True),
        Binding("n", "failing(1)", "Next failing", id="compare.next-failing"),
        Binding("N", "failing(-1)", "Previous failing", id="compare.previous-failing", key_display="N"),
        Binding("s", "swap", "Swap A/B", id="compare.swap"),
        Binding("d", "diff", "Diff", id="compare.diff", tooltip="Both texts as one"),
        Binding("R", "probe", "Re-run probes", id="compare.probe", key_display="R"),
        Binding("y", "copy", "Copy", id="compare.copy", tooltip="Copies both texts"),
        Binding("g", "sampling", "Greedy/sample", id="compare.sampling"),
        Binding("plus", "longer(10)", "Longer", id="compare.longer", show=False, key_display="+"),
        Binding("minus", "longer(-10)", "Shorter", id="compare.shorter", show=False, key_display="-"),
        Binding("escape", "leave", "Leave the prompt", id="compare.leave", priority=True),
    ]
    place = "compare"

    def __init__(self) -> None:
        super().__init__()
        self._settings = Settings()
        self._prompt = ""
        """The prompt of what is shown."""
        self._job = ""
        self._applied: tuple[str, ...] = ()
        """Ids of the edits that were applied when it was asked for."""
        self._swapped = False
        self._picture: Picture | None = None

    def compose_body(self) -> ComposeResult:
        """Prompt, sides, probes."""
        with Vertical(id="prompt-box"):
            yield LineInput(placeholder="A prompt for both, for instance: The capital of Greece is", id="prompt")
            yield Static(id="settings", markup=False)
        with Horizontal(id="sides"):
            yield Side(id="a")
            yield Side(id="b")
        yield ProbeTable(id="probes")

    def on_mount(self) -> None:
        """Writes the borders."""
        box = self.query_one("#prompt-box")
        box.border_title = "Prompt"
        box.border_subtitle = "enter generates both sides"

    def show(self, state: State) -> None:
        """Draws both sides and the probes."""
        self.query_one(ProbeTable).show(state)
        now = _applied(state)
        at = self._applied if self._prompt else now
        names = [{"base": "base", "stack": f"stack @{len(at)}"}[side] for side in self._order]
        stale = "   the stack has changed: enter asks again" if at != now else ""
        picture = Picture(
            titles=(f"A  {names[0]}", f"B  {names[1]}"),
            texts=(self._said(state, self._order[0]), self._said(state, self._order[1])),
            tops=(self._top(state, self._order[0]), self._top(state, self._order[1])),
            prompt=self._prompt,
            waiting=self._waiting(state),
            finished=not self._generating(state),
            diff=self.has_class("-diff"),
            settings=f"A {names[0]}   B {names[1]}   {self._settings}{stale}",
        )
        if picture != self._picture:
            self._picture = picture
            self.query_one("#settings", Static).update(safe(picture.settings))
            self._draw(picture)

    def _draw(self, picture: Picture) -> None:
        sides = self.query_one("#a", Side), self.query_one("#b", Side)
        both = picture.finished and all(picture.texts)
        shared = overlap(*picture.tops)
        if both and picture.diff:
            title = f"{picture.titles[0]} -> {picture.titles[1]}   [-only A-] {{+only B+}}"
            sides[1].describe(title, picture.whole(diff_text(*picture.texts)), picture.tops[1], shared)
            return
        spans = compared(*picture.texts) if both else ([Span(picture.texts[0])], [Span(picture.texts[1])])
        count = max(differing(spans[0]), differing(spans[1]))
        notes = (shared, f"{count} span{'s differ' if count != 1 else ' differs'}" if both else "")
        for i, side in enumerate(sides):
            side.describe(picture.titles[i], picture.whole(marked(spans[i])), picture.tops[i], notes[i])

    @property
    def _order(self) -> tuple[str, str]:
        return (SIDES[1], SIDES[0]) if self._swapped else (SIDES[0], SIDES[1])

    def _said(self, state: State, side: str) -> str:
        """What `side` generated after the prompt."""
        text = state.generations.get(side, "")
        return text.removeprefix(self._prompt) if self._prompt else text

    def _top(self, state: State, side: str) -> Top:
        found = (a.top for a in reversed(state.answers) if a.prompt == self._prompt and a.side == side)
        return next(found, ())

    def _generating(self, state: State) -> bool:
        return bool(self._job) and state.job == self._job

    def _waiting(self, state: State) -> str:
        if self._generating(state):
            return "Generating ..."
        if state.engine == "stopped":
            return "The engine has stopped; ctrl+r restarts it."
        return "Nothing was generated." if self._prompt else "Write a prompt and press enter."

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Greyed while the engine cannot take it, absent where there is nothing to act on."""
        state = self.bench.state
        typing = isinstance(self.focused, Input)
        if action == "leave":
            return typing
        if typing and action != "generate":
            return False
        if action == "generate":
            return self.free()
        if action == "probe":
            return self.free() if state.stack and state.stack.position else False
        if action == "failing":
            return self.query_one(ProbeTable).has_failing
        if action in ("copy", "diff"):
            return bool(state.generations)
        return super().check_action(action, parameters)

    @on(ProbeTable.Chosen)
    async def _chosen(self) -> None:
        await self.action_generate()

    async def action_generate(self) -> None:
        """Generates on both sides; with the cursor in the probes, from that probe's prompt."""
        field, probe = self.query_one("#prompt", Input), self.query_one(ProbeTable)
        await settled(field)
        if probe.has_focus and probe.selected and probe.selected.prompt:
            field.value = probe.selected.prompt
        prompt = field.value
        if not prompt.strip():
            self.notify("The prompt is empty.", severity="warning")
            return
        settings = self._settings
        self.bench.send("answer", prompt=prompt, sides=list(SIDES), k=TOP)
        job = self.bench.send(
            "generate",
            prompt=prompt,
            sides=list(SIDES),
            max_new=settings.max_new,
            temperature=settings.temperature,
            seed=settings.seed,
        )
        if job:
            self._prompt, self._job, self._applied = prompt, job, _applied(self.bench.state)
            self.show(self.bench.state)

    def action_failing(self, step: int) -> None:
        """Goes to the next failing probe, or the one before."""
        table = self.query_one(ProbeTable)
        if table.to_failing(step):
            self.set_focus(table)

    def action_swap(self) -> None:
        """A becomes B."""
        self._swapped = not self._swapped
        self.show(self.bench.state)

    def action_diff(self) -> None:
        """Both texts as one, and back."""
        self.toggle_class("-diff")
        self.show(self.bench.state)

    def action_probe(self) -> None:
        """Asks every probe again."""
        self.bench.send("probe")

    def action_sampling(self) -> None:
        """Greedy, or sampling with a fixed seed."""
        self._settings = replace(self._settings, temperature=0.0 if self._settings.temperature else HOT)
        self.show(self.bench.state)

    def action_longer(self, tokens: int) -> None:
        """More tokens, or fewer."""
        wanted = min(max(self._settings.max_new + tokens, LEAST_NEW), MOST_NEW)
        self._settings = replace(self._settings, max_new=wanted)
        self.show(self.bench.state)

    def action_copy(self) -> None:
        """Copies both texts."""
        state = self.bench.state
        texts = [f"{side}: {self._prompt}{self._said(state, side)}" for side in self._order]
        self.app.copy_to_clipboard("\n\n".join(visible(text, keep="\n") for text in texts))
        self.notify("Both texts copied.")

    def action_leave(self) -> None:
        """Leaves the prompt, so that single keys work."""
        self.set_focus(self.query_one(ProbeTable))


def _applied(state: State) -> tuple[str, ...]:
    """Ids of the applied edits."""
    return tuple(row.id for row in state.stack.edits[: state.stack.position]) if state.stack else ()
