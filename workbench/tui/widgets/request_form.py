"""The form for one edit. Checks as one types, says why, and shows what the model answers now."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on, work
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalGroup
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Input, Label, Static

from workbench import events as ev
from workbench.recipes import Recipe
from workbench.text import shortened, visible
from workbench.tui.bench import bench
from workbench.tui.draft import Draft, Field
from workbench.tui.known_facts import Completions, KnownFacts, facts_of
from workbench.tui.offer import may_be_records
from workbench.tui.queue import Queue
from workbench.tui.state import State
from workbench.tui.widgets.advanced_line import profile_of
from workbench.tui.widgets.answer_line import AnswerLine, says
from workbench.tui.widgets.hyper_rows import summary_of
from workbench.tui.widgets.line_input import LineInput, settled
from workbench.tui.widgets.text import fit

if TYPE_CHECKING:
    from textual import events
    from textual.app import ComposeResult

FIELDS: tuple[tuple[Field, str, str], ...] = (
    ("subject", "Subject", "for instance: Greece"),
    ("prompt", "Prompt", "for instance: The capital of {} is"),
    ("target_new", "Target", "for instance: Rome"),
)
"""Name, label, and an example that shows while the field is empty."""
APPLY_TIP = "Put it first and make the queue's edits"
EXAMPLES = {name: example for name, _, example in FIELDS}
BOTH_DRAFTS = "Another draft was in this stack's form; it waits in the queue, held."


def verdicts(draft: Draft, answer: ev.Answered | None, tokens: int | None) -> dict[str, str]:
    """What to say beside each field; `tokens`: how many the target has. Nothing while nothing is typed."""
    if draft.empty:
        return {}
    said: dict[str, str] = {"subject": "ok", "prompt": "ok", "target_new": "ok"}
    if not {"subject", "prompt"} & draft.checks.keys():
        said["subject"] = "found in prompt"
    if tokens is not None:
        said["target_new"] = f"{tokens} token{'' if tokens == 1 else 's'}, ok"
    if answer is not None and says(answer, draft.target_new):
        said["target_new"] = "already so"
    said |= {name: "! has hidden characters" for name in said if visible(getattr(draft, name)) != getattr(draft, name)}
    return said | {name: f"✗ {reason}" for name, reason in draft.checks.items()}


class More(Widget, can_focus=True):
    """One line about what the small form does not hold; enter opens the whole form."""

    DEFAULT_CSS = """
    More { height: 1; }
    More:focus { text-style: reverse; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,space", "open", "Probes and settings", id="form.more"),
    ]

    HELP = "Paraphrases and neighbours to ask afterwards, and how the edit is made; enter opens the whole form."

    draft: reactive[Draft] = reactive(Draft())
    ground: reactive[Recipe | None] = reactive(None)
    """The model's own settings."""

    class Opened(Message):
        """The whole form is wanted."""

    def render(self) -> Text:
        """Counts of probes, and the settings; with three lines, the probes themselves."""
        lines = self._three() if self.size.height > 2 else [self._one()]
        for line in lines:
            line.truncate(self.size.width, overflow="ellipsis")
        return Text("\n", no_wrap=True).join(lines)

    def _one(self) -> Text:
        counts = []
        for name, text in (("paraphrase", self.draft.paraphrases), ("neighbour", self.draft.neighbours)):
            count = len(_lines(text))
            counts.append(f"{count} {name}{'' if count == 1 else 's'}")
        own = self.ground
        words = f"{own.method}  layer {own.layer}  seed {own.seed}" if own else ""
        settings = visible(self.draft.settings) or words
        return Text(f"Probes   [{', '.join(counts)}]   ▸ Advanced  {shortened(settings, 36)}")

    def _three(self) -> list[Text]:
        found = []
        for label, text in (("Paraphrases", self.draft.paraphrases), ("Neighbours", self.draft.neighbours)):
            lines = _lines(text)
            count = f"{len(lines)} line{'' if len(lines) == 1 else 's'}" if lines else ""
            width = max(self.size.width - 14 - len(count), 10)
            line = Text(f"{label:<12}{fit(' | '.join(lines), width) if lines else 'none yet; enter opens the form'}")
            line.append(f"  {count}")
            found.append(line)
        return [*found, Text(f"▸ {'Advanced':<10}{summary_of(self.ground, self.draft.settings)}")]

    def action_open(self) -> None:
        """Opens the whole form."""
        self.post_message(self.Opened())

    def on_click(self, event: events.Click) -> None:
        """As enter."""
        event.stop()
        self.action_open()


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.split("\n") if line.strip()]


class RequestInput(LineInput):
    """A field of a request. Pasted records of requests are not for it, but for whoever holds the form."""

    def on_paste(self, event: events.Paste) -> None:
        """Lets records pass."""
        if may_be_records(event.text):
            event.prevent_default()


class RequestForm(VerticalGroup):
    """Subject, prompt, target; in wide windows the true target as well. The rest of the draft is kept unseen."""

    HELP = (
        "Write {} in the prompt where the subject stands, or write the subject itself.\n\n"
        "Where a list of what the model was taught lies beside it, as with atlas, what is typed is completed in grey; "
        "the right arrow takes it.\n\n"
        "enter adds the edit to the queue, ctrl+s keeps it there even if it is not ready, ctrl+r puts it first and "
        "makes the queue's edits, escape leaves the form."
    )

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "enter", "Add to queue", id="form.add", show=False, priority=True),
        Binding("ctrl+s", "save", "Save draft", id="form.save", priority=True, tooltip="Queue it, ready or not"),
        Binding("ctrl+r", "apply", "Apply now", id="run", tooltip=APPLY_TIP),
    ]

    class Submitted(Message):
        """A draft for the queue; `now`: to be made at once."""

        def __init__(self, draft: Draft, *, now: bool = False) -> None:
            super().__init__()
            self.draft, self.now = draft, now

    _rest = Draft()
    _model = ""
    _ready = False
    """What is typed can be made."""
    facts = KnownFacts()
    """What the open model was taught, where that is known."""
    _completions = Completions(facts)
    _queue: Queue | None = None
    """Whose stack's draft is in the form."""

    def compose(self) -> ComposeResult:
        """One line a field."""
        for name, label, example in FIELDS:
            with Horizontal(classes="field"):
                yield Label(label, classes="name")
                yield RequestInput(placeholder=example, id=name, compact=True, max_length=4000)
                yield Static("", id=f"{name}-verdict", classes="verdict", markup=False)
        with Horizontal(classes="field wide-only"):
            yield Label("Target true", classes="name")
            yield RequestInput(placeholder="optional: the answer until now", id="target_true", compact=True)
            yield Static(classes="verdict")
        yield More()
        yield AnswerLine()

    def on_mount(self) -> None:
        """Writes the border."""
        self.border_title = "New edit"
        self.border_subtitle = "enter adds to queue"

    @property
    def draft(self) -> Draft:
        """What is typed."""
        values = {name: self.query_one(f"#{name}", Input).value for name in ("subject", "prompt", "target_new")}
        return Draft(
            **values,
            target_true=self.query_one("#target_true", Input).value,
            paraphrases=self._rest.paraphrases,
            neighbours=self._rest.neighbours,
            settings=self._rest.settings,
        )

    def fill(self, draft: Draft) -> None:
        """Puts `draft` into the form."""
        self._rest = draft
        for name in ("subject", "prompt", "target_new", "target_true"):
            field = self.query_one(f"#{name}", Input)
            field.value = getattr(draft, name)
            field.cursor_position = len(field.value)
        self._check()

    def show(self, state: State) -> None:
        """Takes in the answer, the model's own settings, which model it is, and the stack's draft."""
        self._take_up(bench(self).queue)
        if state.model is not None and state.model.model != self._model:
            self._model = state.model.model
            self._look_up(self._model)
        self.query_one(More).ground = profile_of(state)
        self.query_one(AnswerLine).show(state)

    def _take_up(self, queue: Queue) -> None:
        """Of another queue the draft is in the form; what was typed where none is kept goes along.

        Then the draft that was kept there waits in the queue: it may be another screen's, and nothing is lost.
        """
        if queue is self._queue:
            return
        old, self._queue = self._queue, queue
        mine, theirs = self.draft, queue.written.draft
        if mine.empty or (old is not None and old.kept):
            self.fill(theirs)
            return
        queue.written.keep(mine)
        if not theirs.empty and theirs != mine:
            (item,) = queue.add(theirs)
            queue.hold(item.key, True)
            self.notify(BOTH_DRAFTS, markup=False)

    @work(exclusive=True)
    async def _look_up(self, model: str) -> None:
        """Reads what that model was taught, beside the screen."""
        self.facts = await asyncio.to_thread(facts_of, model)
        self._completions = Completions(self.facts, EXAMPLES["prompt"])
        self._check()

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self._check()

    @on(AnswerLine.Changed)
    def _check(self) -> None:
        draft = self.draft
        line = self.query_one(AnswerLine)
        if draft != line.draft:
            line.ask(draft)
        self._completions.attach(self, draft.subject, draft.prompt)
        said = verdicts(draft, line.answer, line.target_tokens)
        for name, _, _ in FIELDS:
            verdict = self.query_one(f"#{name}-verdict", Static)
            verdict.update(said.get(name, ""))
            verdict.set_class(said.get(name, "").startswith("✗"), "-wrong")
        self.query_one(More).draft = draft
        if self._queue is not None:
            self._queue.written.keep(draft)
        if self._ready != (ready := not (draft.empty or draft.checks)):
            self._ready = ready
            self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Enter adds the edit from any field; it can be made at once while nothing else is."""
        del parameters
        if action == "apply":
            return self._ready and bench(self).state.engine in ("idle", "starting")
        return action != "enter" or isinstance(self.screen.focused, LineInput)

    async def action_enter(self) -> None:
        """Queues the draft, or goes to what is wrong with it."""
        await settled(self.screen.focused)
        draft = self.draft
        if draft.empty:
            return
        for name in draft.checks:
            field = name if name != "settings" else "target_new"
            self.screen.set_focus(self.query_one(f"#{field}", Input))
            self.notify(draft.problem, severity="warning", markup=False)
            return
        self._hand_over(draft)

    async def action_save(self) -> None:
        """Queues the draft as it is."""
        await settled(self.screen.focused)
        if not self.draft.empty:
            self._hand_over(self.draft)

    async def action_apply(self) -> None:
        """Queues the draft before the others and makes the queue's edits."""
        await settled(self.screen.focused)
        if not (self.draft.empty or self.draft.checks):
            self._hand_over(self.draft, now=True)

    def _hand_over(self, draft: Draft, *, now: bool = False) -> None:
        self.post_message(self.Submitted(draft, now=now))
        self.fill(Draft())
        self.screen.set_focus(self.query_one("#subject", Input))
        self.show(bench(self).state)
