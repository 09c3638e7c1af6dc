"""The whole form for one edit, over the Edit screen: true target, probes and settings as well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

from textual import on, work
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label, Static, TextArea

from workbench.tui.bench import bench
from workbench.tui.draft import Draft, with_chat
from workbench.tui.known_facts import Completions, KnownFacts
from workbench.tui.screens.advanced import AdvancedScreen
from workbench.tui.screens.confirm import ConfirmScreen
from workbench.tui.state import State
from workbench.tui.widgets.advanced_line import AdvancedLine
from workbench.tui.widgets.answer_line import AnswerLine
from workbench.tui.widgets.check_line import CheckLine
from workbench.tui.widgets.keys import KeyLine
from workbench.tui.widgets.line_input import LineInput, settled
from workbench.tui.widgets.request_form import APPLY_TIP, verdicts

if TYPE_CHECKING:
    from textual.app import ComposeResult

PROMPT_SHAPE = "{} where the subject stands"
LINES = (
    ("subject", "Subject", ""),
    ("prompt", "Prompt", PROMPT_SHAPE),
    ("target_new", "Target new", ""),
    ("target_true", "Target true", "optional"),
)
AREAS = (
    ("paraphrases", "Paraphrases", "one a line"),
    ("neighbours", "Neighbours", "prompt => answer"),
)


@dataclass(frozen=True)
class FormResult:
    """What to do with the draft."""

    draft: Draft
    then: Literal["save", "apply"]


class FormScreen(ModalScreen[FormResult | None]):
    """Gives the draft back, or None if it was discarded.

    Args:
        title: says what is written.
        draft: what is there at first.
        facts: complete what is typed.
        keep: takes what is typed, while it is typed.
    """

    CSS_PATH = "form.tcss"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "app.focus_next", "Next field", id="focus.next", priority=True),
        Binding("shift+tab", "app.focus_previous", "Field before", id="focus.previous", show=False, priority=True),
        Binding("enter", "enter", "Next field", id="form.enter", show=False, priority=True),
        Binding("ctrl+s", "leave('save')", "Save", id="form.save", priority=True),
        Binding("ctrl+r", "leave('apply')", "Apply now", id="run", priority=True, tooltip=APPLY_TIP),
        Binding("escape", "discard", "Discard", id="form.discard", priority=True),
    ]

    def __init__(
        self,
        title: str,
        draft: Draft,
        facts: KnownFacts | None = None,
        keep: Callable[[Draft], None] | None = None,
    ) -> None:
        super().__init__()
        self._keep = keep
        self._completions = Completions(facts or KnownFacts(), PROMPT_SHAPE)
        self._title = title
        self._first = replace(draft, settings=with_chat(draft.recipe_settings, draft.chat))

    def compose(self) -> ComposeResult:
        """Lines, then two fields of several lines, then what the model says, then the ways out."""
        with Vertical(id="form"):
            for name, label, example in LINES:
                with Horizontal(classes="field"):
                    yield Label(label, classes="name")
                    text = getattr(self._first, name)
                    yield LineInput(text, placeholder=example, id=name, compact=True, max_length=4000)
                    yield Static("", id=f"{name}-verdict", classes="verdict", markup=False)
            with Horizontal(id="areas"):
                for name, _, _ in AREAS:
                    with Vertical():
                        yield Label("", id=f"{name}-count", markup=False)
                        yield TextArea(getattr(self._first, name), id=name, compact=True, tab_behavior="focus")
            yield AdvancedLine(id="settings")
            yield CheckLine("chat: the prompt is a user's turn, the target begins the answer", id="chat")
            yield AnswerLine("Model says", quote=False)
            with Horizontal(id="ways"):
                yield Button("Save to queue", id="save", compact=True)
                yield Button("Apply now", id="apply", compact=True)
                yield Button("Discard", id="discard", compact=True)
        yield KeyLine()

    def on_mount(self) -> None:
        """Writes the border and checks what is there."""
        box = self.query_one("#form")
        box.border_title, box.border_subtitle = self._title, "ctrl+s saves, escape discards"
        self.query_one(AdvancedLine).settings = self._first.recipe_settings
        self.query_one(CheckLine).ticked = self._first.chat
        self.refresh_state(bench(self).state)
        self._check()

    @property
    def draft(self) -> Draft:
        """What is typed."""
        lines = {name: self.query_one(f"#{name}", Input).value for name, _, _ in LINES}
        areas = {name: self.query_one(f"#{name}", TextArea).text for name, _, _ in AREAS}
        settings = with_chat(self.query_one(AdvancedLine).settings, self.query_one(CheckLine).ticked)
        return Draft(**lines, **areas, settings=settings)

    def refresh_state(self, state: State) -> None:
        """The app calls this when the state changed."""
        self.query_one(AnswerLine).show(state)
        self.query_one(AdvancedLine).show(state)
        chats = self._first.chat or (state.model is not None and state.model.chat)
        self.query_one(CheckLine).set_class(chats, "-shown")

    @on(AdvancedLine.Opened)
    @work
    async def _open_advanced(self) -> None:
        line = self.query_one(AdvancedLine)
        screen = AdvancedScreen(line.choices(), known=line.ground is not None)
        settings = await self.app.push_screen_wait(screen)
        if settings is not None:
            line.settings = settings

    @on(AdvancedLine.Changed)
    @on(CheckLine.Changed)
    @on(Input.Changed)
    @on(TextArea.Changed)
    @on(AnswerLine.Changed)
    def _check(self) -> None:
        draft, line = self.draft, self.query_one(AnswerLine)
        if self._keep is not None:
            self._keep(draft)
        if draft != line.draft:
            line.ask(draft)
        self._completions.attach(self, draft.subject, draft.prompt)
        said = verdicts(draft, line.answer, line.target_tokens)
        for name, _, _ in LINES:
            verdict = self.query_one(f"#{name}-verdict", Static)
            words = said.get(name, "")
            verdict.update(words)
            verdict.set_class(words.startswith("✗"), "-wrong")
        for name, label, shape in AREAS:
            count = sum(1 for text in getattr(draft, name).split("\n") if text.strip())
            words = f"{label}: {count} line{'' if count == 1 else 's'}" if count else f"{label} ({shape})"
            self.query_one(f"#{name}-count", Label).update(words)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Enter goes on only from a field of one line."""
        return isinstance(self.focused, LineInput) if action == "enter" else super().check_action(action, parameters)

    def action_enter(self) -> None:
        """Goes to the next field."""
        self.focus_next()

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "discard":
            self.action_discard()
        else:
            self._leave("apply" if event.button.id == "apply" else "save")

    async def action_leave(self, then: Literal["save", "apply"]) -> None:
        """Gives the draft back, all of it."""
        await settled(self.focused)
        self._leave(then)

    def _leave(self, then: Literal["save", "apply"]) -> None:
        """Gives the draft back; one that cannot be made stays here when it shall be applied now."""
        draft = self.draft
        if then == "apply" and draft.problem:
            self.notify(draft.problem, severity="warning", markup=False)
        else:
            self.dismiss(FormResult(draft, then))

    @work
    async def action_discard(self) -> None:
        """Leaves everything as it was; asks first if something was typed."""
        await settled(self.focused)
        if self.draft != self._first:
            answer = await self.app.push_screen_wait(ConfirmScreen("Discard what you changed?"))
            if answer != "yes":
                return
        self.dismiss(None)
