"""Compare: two states of the stack side by side, on one prompt and on every probe."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Input, Label, Static

from workbench.contrasts import MOST_ADDED, AddedProbe
from workbench.errors import WorkbenchError
from workbench.stack.files import make_folder, write_atomic
from workbench.text import visible
from workbench.tui import states
from workbench.tui.added import read_added, write_added
from workbench.tui.comparison import Asked, Comparison, Sampling, comparison, document, markdown, sampling_of
from workbench.tui.keynames import key_name
from workbench.tui.screens.add_probe import AddProbeScreen
from workbench.tui.screens.base import WorkbenchScreen
from workbench.tui.screens.choose_state import ChooseStateScreen
from workbench.tui.screens.export import Export, ExportScreen, Target
from workbench.tui.state import State
from workbench.tui.widgets import probe_table
from workbench.tui.widgets.line_input import LineInput, settled
from workbench.tui.widgets.probe_table import ProbeTable
from workbench.tui.widgets.side import Side, SideView
from workbench.tui.widgets.side_views import VIEW_WORDS, VIEWS, View, as_one, side_views
from workbench.tui.widgets.state_choice import StateChoice
from workbench.tui.widgets.text import safe

TOP = 10
"""Next tokens asked for on each side."""
MOST_PROBES = 1_000
LEAST_NEW, MOST_NEW = 10, 200
"""What + and - go between; more can be typed."""
HOT = 0.8
"""Temperature when sampling."""
FIELDS = (("max", "max", "40", r"\d{0,4}"), ("temp", "temp", "0", r"[\d.]{0,5}"), ("seed", "seed", "0", r"\d{0,19}"))
TARGETS = (
    Target("markdown", "Markdown", "to be read: texts, next tokens, probes", "comparison.md"),
    Target("json", "JSON", "the same, for programs", "comparison.json"),
)
PLACEHOLDER = "A prompt for both, for instance: The capital of Greece is"


class CompareScreen(WorkbenchScreen):
    """One prompt on both sides, and the probes."""

    CSS_PATH = "compare.tcss"
    AUTO_FOCUS = "#prompt"
    HELP = (
        "A and B are states of the stack: the base, any position, a branch, a tag. Both get the same prompt, seed and "
        "sampling. [Brackets] mark the words that differ. Escape leaves the prompt so that the single keys work."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "generate", "Generate", id="compare.generate", priority=True),
        Binding("n", "failing(1)", "Next failing", id="compare.next-failing"),
        Binding("N", "failing(-1)", "Previous failing", id="compare.previous-failing", key_display="N", show=False),
        Binding("s", "swap", "Swap A/B", id="compare.swap"),
        Binding("d", "view", "View", id="compare.diff", tooltip="Text, next token, both texts as one"),
        Binding("R", "probe", "Re-run probes", id="compare.probe", key_display="R"),
        Binding("a", "add_probe", "Add probe", id="compare.add-probe", tooltip="A prompt to watch in every state"),
        Binding("x", "export", "Export", id="compare.export", tooltip="Writes what is shown to a file"),
        Binding("y", "copy", "Copy", id="compare.copy", tooltip="Copies both texts"),
        Binding("A", "choose('a')", "Choose A", id="compare.choose-a", key_display="A", show=False),
        Binding("B", "choose('b')", "Choose B", id="compare.choose-b", key_display="B", show=False),
        Binding("g", "sampling", "Greedy/sample", id="compare.sampling", show=False),
        Binding("plus", "longer(10)", "Longer", id="compare.longer", show=False, key_display="+"),
        Binding("minus", "longer(-10)", "Shorter", id="compare.shorter", show=False, key_display="-"),
        Binding("escape", "leave", "Leave the prompt", id="compare.leave", priority=True),
    ]
    place = "compare"

    def __init__(self) -> None:
        super().__init__()
        self._words = (states.BASE, states.PRESENT)
        """A and B, as they will be asked for."""
        self._asked: Asked | None = None
        """What is shown."""
        self._probed: Asked | None = None
        """What the probes were asked for."""
        self._view: View = "text"
        self._shown: object = None
        self._folder = ""
        """The stack that the added probes are of."""
        self._added: tuple[AddedProbe, ...] = ()
        self._keeping = asyncio.Lock()

    def compose_body(self) -> ComposeResult:
        """Prompt and settings, sides, probes."""
        with Vertical(id="prompt-box"):
            yield LineInput(placeholder=PLACEHOLDER, id="prompt", max_length=4_000)
            with Horizontal(id="settings"):
                yield StateChoice("A", id="choose-a")
                yield StateChoice("B", id="choose-b")
                for name, label, value, allowed in FIELDS:
                    yield Label(label)
                    yield LineInput(value, id=name, restrict=allowed, compact=True)
                yield Static(id="view", markup=False)
        with Horizontal(id="sides"):
            yield Side(id="a")
            yield Side(id="b")
        yield ProbeTable(id="probes")

    def on_mount(self) -> None:
        """Writes the borders."""
        self.query_one("#prompt-box").border_title = "Prompt"

    def show(self, state: State) -> None:
        """Draws settings, both sides and the probes."""
        self._take_folder(state)
        self._show_probes(state)
        names = [states.name_of(state.stack, word) for word in self._words]
        self.query_one("#choose-a", StateChoice).name_it(names[0])
        self.query_one("#choose-b", StateChoice).name_it(names[1])
        self.query_one("#view", Static).update(VIEW_WORDS[self._view])
        found = comparison(state, self._asked) if self._asked else None
        said = (names, found, self._view, self._stale(state), self._waiting(state), self.has_class("-narrow"))
        if said != self._shown:
            self._shown = said
            self.query_one("#prompt-box").border_subtitle = self._stale(state) or "enter generates both sides"
            self._draw(state, names, found)

    def _stale(self, state: State) -> str:
        """That what is shown is not what would be said now, and why."""
        asked = self._asked
        if asked is None:
            return ""
        if asked.words != self._words:
            return "A or B is another: enter asks again"
        changed = asked.made_of != self._made_of(state)
        return "the stack has changed: enter asks again" if changed else ""

    def _made_of(self, state: State) -> tuple[tuple[str, ...], tuple[str, ...]]:
        a, b = self._words
        return states.made_of(state.stack, a), states.made_of(state.stack, b)

    def _draw(self, state: State, names: list[str], found: Comparison | None) -> None:
        a, b = self.query_one("#a", Side), self.query_one("#b", Side)
        self.set_class(self._view == "diff" and found is not None and found.finished, "-diff")
        if found is None:
            waiting = safe(self._waiting(state), "dim")
            a.show(SideView(f"A  {names[0]}", waiting))
            b.show(SideView(f"B  {names[1]}", waiting))
        elif self._view == "diff" and found.finished:
            b.show(as_one(found))
        else:
            views = side_views(found, self._view, self._waiting(state), narrow=self.has_class("-narrow"))
            a.show(views[0])
            b.show(views[1])

    def _waiting(self, state: State) -> str:
        if self._asked and state.job == self._asked.job and state.job:
            return "Generating ..."
        if state.engine == "stopped":
            return f"The engine has stopped; {key_name('run')} restarts it."
        if state.engine == "starting":
            return "The model is still loading."
        return "Nothing was generated." if self._asked else "Write a prompt and press enter."

    def _show_probes(self, state: State) -> None:
        asked = None
        mine = self._probed is not None and all(result.side in self._probed.words for result in state.probes)
        if self._probed and mine and (state.probes or state.doing == "probe" or state.job == self._probed.job):
            made = tuple(states.made_of(state.stack, word) for word in self._probed.words)
            names = self._probed.names
            asked = probe_table.Asked(self._probed.words, names, stale=made != self._probed.made_of)
        self.query_one(ProbeTable).show(state, asked, len(self._added), self.bench.guard.perplexity)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Greyed while the engine cannot take it, absent where there is nothing to act on."""
        typing = isinstance(self.focused, Input)
        if action == "leave":
            return typing or isinstance(self.focused, StateChoice)
        if action == "generate":
            return False if isinstance(self.focused, StateChoice) else self.free()
        if typing:
            return False
        if action == "probe":
            return self.free() if self._has_probes else False
        if action == "failing":
            return self.query_one(ProbeTable).has_failing
        if action in ("filter", "remove_probe"):
            return bool(self.query_one(ProbeTable).rows)
        if action in ("copy", "view", "export"):
            return self._asked is not None or (action == "export" and bool(self.query_one(ProbeTable).rows))
        return super().check_action(action, parameters)

    @property
    def _has_probes(self) -> bool:
        stack = self.bench.state.stack
        return bool(self._added) or bool(stack and stack.edits)

    @on(ProbeTable.Chosen)
    async def _chosen(self) -> None:
        await self.action_generate()

    async def action_generate(self) -> None:
        """Generates on both sides; with the cursor in the probes, from that probe's prompt."""
        field, table = self.query_one("#prompt", Input), self.query_one(ProbeTable)
        await settled(self.focused)
        if table.has_focus and table.selected and table.selected.kind != "perplexity":
            field.value = table.selected.prompt
        if not field.value.strip():
            self.notify("The prompt is empty.", severity="warning")
        elif (sampling := self._sampling()) is not None:
            self._generate(field.value, sampling)

    def _sampling(self) -> Sampling | None:
        """What the fields say; None, and said why, if that is nothing."""
        texts = [self.query_one(f"#{name}", Input).value for name, *_ in FIELDS]
        try:
            return sampling_of(*texts)
        except ValueError as error:
            self.notify(str(error), severity="warning", markup=False)
            return None

    def _generate(self, prompt: str, sampling: Sampling) -> None:
        words = self._words
        job = self.bench.send(
            "generate",
            prompt=prompt,
            states=list(words),
            k=TOP,
            max_new=sampling.max_new,
            temperature=sampling.temperature,
            seed=sampling.seed,
        )
        if job:
            self._asked = self._asking(prompt, sampling, job)
            self.show(self.bench.state)

    def _asking(self, prompt: str, sampling: Sampling, job: str) -> Asked:
        state = self.bench.state
        a, b = (states.name_of(state.stack, word) for word in self._words)
        return Asked(prompt, self._words, (a, b), self._made_of(state), sampling, job)

    @on(StateChoice.Asked)
    def _wanted(self, event: StateChoice.Asked) -> None:
        self.action_choose("a" if event.choice.id == "choose-a" else "b")

    @work
    async def action_choose(self, side: str) -> None:
        """Asks for the state of A or B."""
        index = "ab".index(side)
        stack = self.bench.state.stack
        word = await self.app.push_screen_wait(ChooseStateScreen(side.upper(), stack, self._words[index]))
        if word:
            a, b = self._words
            self._words = (word, b) if side == "a" else (a, word)
            self.show(self.bench.state)

    def action_failing(self, step: int) -> None:
        """Goes to the next failing probe, or the one before."""
        table = self.query_one(ProbeTable)
        if table.to_failing(step):
            self.set_focus(table)

    def action_filter(self) -> None:
        """Shows probes of the next kind."""
        self.query_one(ProbeTable).next_filter()

    def action_swap(self) -> None:
        """A becomes B."""
        self._words = self._words[::-1]
        self._asked = self._asked.swapped() if self._asked else None
        self._probed = self._probed.swapped() if self._probed else None
        self.show(self.bench.state)

    def action_view(self) -> None:
        """Texts, next tokens, both texts as one."""
        self._view = VIEWS[(VIEWS.index(self._view) + 1) % len(VIEWS)]
        self.show(self.bench.state)

    def action_probe(self) -> None:
        """Asks every probe in both states."""
        added = [probe.to_json() for probe in self._added]
        job = self.bench.send("probe", states=list(self._words), added=added, most=MOST_PROBES)
        if job:
            self._probed = self._asking("", Sampling(), job)
            self.show(self.bench.state)

    @work
    async def action_add_probe(self) -> None:
        """Adds a probe to those that are watched in this stack."""
        prompt = self.query_one("#prompt", Input).value
        probe = await self.app.push_screen_wait(AddProbeScreen(prompt))
        if probe is None:
            return
        if probe in self._added or len(self._added) >= MOST_ADDED:
            why = "That probe is there already." if probe in self._added else f"{MOST_ADDED} probes are the most."
            self.notify(why, severity="warning")
            return
        self._keep((*self._added, probe))
        kept = "" if self.bench.state.where == "here" else " It is kept until you leave."
        self.notify(f"Added; R asks it.{kept}")

    def action_remove_probe(self) -> None:
        """Takes an added probe out again."""
        row = self.query_one(ProbeTable).selected
        rest = tuple(p for p in self._added if row is None or (p.kind, p.prompt) != (row.kind, row.prompt))
        if row is None or row.edit or rest == self._added:
            self.notify("Only probes that were added can be removed.", severity="warning")
            return
        self._keep(rest)
        self.notify("Removed; R asks the others.")

    def _take_folder(self, state: State) -> None:
        folder = state.stack.folder if state.stack else ""
        if folder and folder != self._folder:
            self._folder, self._added = folder, ()
            self._asked = self._probed = None
            self._words = (states.BASE, states.PRESENT)
            if state.where == "here":
                self._read_added(Path(folder))

    @work(exclusive=True, group="added")
    async def _read_added(self, folder: Path) -> None:
        try:
            found, said = await asyncio.to_thread(read_added, folder)
        except WorkbenchError as error:
            self.bench.tell(error)
            return
        except ValueError:
            return  # a folder that no file system has: the engine's, or made up
        if said:
            self.notify(visible(said), severity="warning", markup=False)
        self._added = found
        self.show(self.bench.state)
        self.refresh_bindings()

    def _keep(self, probes: tuple[AddedProbe, ...]) -> None:
        self._added = probes
        self.show(self.bench.state)
        if self.bench.state.where == "here":
            self._write(Path(self._folder), probes)

    @work
    async def _write(self, folder: Path, probes: tuple[AddedProbe, ...]) -> None:
        try:
            async with self._keeping:
                await asyncio.to_thread(write_added, folder, probes)
        except WorkbenchError as error:
            self.bench.tell(error)

    def action_sampling(self) -> None:
        """Greedy, or sampling with a fixed seed."""
        field = self.query_one("#temp", Input)
        field.value = f"{HOT:g}" if field.value.strip() in ("", "0") else "0"

    def action_longer(self, tokens: int) -> None:
        """More tokens, or fewer."""
        field = self.query_one("#max", Input)
        present = int(field.value) if field.value.isdecimal() else 0
        field.value = str(min(max(present + tokens, LEAST_NEW), MOST_NEW))

    @work
    async def action_export(self) -> None:
        """Writes what is shown to a file."""
        chosen = await self.app.push_screen_wait(ExportScreen("Export the comparison", TARGETS))
        if chosen is None:
            return
        try:
            await asyncio.to_thread(self._write_export, chosen, self._exported(chosen.kind))
        except WorkbenchError as error:
            self.bench.tell(error)
        else:
            self.notify(f"Written to {visible(str(chosen.path))}.", markup=False)

    def _exported(self, kind: str) -> bytes:
        table = self.query_one(ProbeTable)
        asked = self._asked or self._asking("", Sampling(), "")
        write = document if kind == "json" else markdown
        return write(comparison(self.bench.state, asked), table.rows, table.names).encode("utf-8", "backslashreplace")

    @staticmethod
    def _write_export(chosen: Export, data: bytes) -> None:
        make_folder(chosen.path.parent)
        write_atomic(chosen.path, data)

    def action_copy(self) -> None:
        """Copies both texts."""
        if self._asked is None:
            return
        found = comparison(self.bench.state, self._asked)
        texts = [f"{side.name}: {self._asked.prompt}{side.text}" for side in found.sides]
        self.app.copy_to_clipboard("\n\n".join(visible(text, keep="\n") for text in texts))
        self.notify("Both texts copied.")

    def action_leave(self) -> None:
        """Leaves the prompt, so that single keys work."""
        self.set_focus(self.query_one(ProbeTable))
