"""Edit: write edits, line them up, see them made. The form, the queue, the run, and, where there is room, the stack."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from textual import on, work
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widget import Widget
from textual.widgets import Input

from workbench.errors import WorkbenchError
from workbench.recipes import BATCHED
from workbench.text import visible
from workbench.tui import screens
from workbench.tui.draft import Draft
from workbench.tui.fact import Fact, draft_fact, row_fact
from workbench.tui.keynames import REBOUND, spoken
from workbench.tui.offer import Offer, may_be_records
from workbench.tui.queue import QueueItem
from workbench.tui.runner import MOST_TOGETHER, rounds
from workbench.tui.screens.base import WorkbenchScreen
from workbench.tui.state import State
from workbench.tui.widgets.line_input import LineInput
from workbench.tui.widgets.live_strip import LiveStrip
from workbench.tui.widgets.norms import NormsPanel
from workbench.tui.widgets.now import NowPanel
from workbench.tui.widgets.plot import Plot, loss
from workbench.tui.widgets.probes import ProbesPanel
from workbench.tui.widgets.queue_table import QueueTable
from workbench.tui.widgets.request_form import More, RequestForm
from workbench.tui.widgets.stack_pane import StackPane

if TYPE_CHECKING:
    from textual import events
    from textual.app import ComposeResult

    from workbench.tui.screens.form import FormResult

UNLIKE = "These edits have different settings: one edit of all needs the same. Hold some, or change them."
_SIDE_BY_SIDE = (
    "are made on the same state, without seeing each other, then applied in order. "
    "One by one, each is made on what those before it left."
)
TOGETHER = "{} edits together: all " + _SIDE_BY_SIDE
ROUNDS = (
    f"{{}} edits in {{}} rounds: a round is of edits in a row with the same settings, at most {MOST_TOGETHER}. "
    f"They {_SIDE_BY_SIDE}"
)
APART = (
    "None of these can be made together: that needs two in a row with the same settings, and another method than "
    "MEMIT or EMMET."
)
PARTS = "RequestForm, QueueTable, LiveStrip, StackPane, Plot, NowPanel, NormsPanel, ProbesPanel"
"""Selector of all that shows the state."""


@runtime_checkable
class Shows(Protocol):
    """A part that draws the state."""

    def show(self, state: State) -> None:
        """Draws `state`."""
        ...


class EditScreen(WorkbenchScreen):
    """Narrow: form, queue, live strip. From 120 columns the stack, the loss, norms and probes stand beside them."""

    CSS_PATH = "edit.tcss"
    HELP = (
        "Write an edit, press enter, and it waits in the queue. ctrl+r makes the queue's edits one after the other; "
        "you can go on writing meanwhile. Every edit is a file, and every edit can be undone to the last byte."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "add_edit", "Add", id="queue.add", show=False),
        Binding("i", "import_file", "Import", id="queue.import", show=False),
        Binding("ctrl+t", "trace", "Trace", id="trace.open", tooltip="Where in the model this fact lives"),
        Binding("ctrl+z", "put_back", "Put back", id="queue.put-back", tooltip="Undo the last removal from the queue"),
        Binding("escape", "leave_input", "Leave form", id="edit.leave", show=False, priority=True),
    ]
    place = "edit"

    def __init__(self) -> None:
        super().__init__()
        self._removed: list[tuple[int, QueueItem]] = []
        """What was taken out of the queue, and where it stood; newest last."""
        self._parts: tuple[Shows, ...] = ()
        """All that shows the state."""

    def compose_body(self) -> ComposeResult:
        """Left: what is wanted; right, if it is wide: what happens."""
        with Horizontal(id="edit"):
            with Vertical(id="wanted"):
                yield RequestForm(id="request")
                yield QueueTable(id="queue")
                yield LiveStrip(id="strip")
                yield StackPane(id="stack")
            with Vertical(id="happens"):
                yield LiveStrip(id="strip-wide")
                yield Plot("loss", loss, id="loss")
                yield NowPanel(id="now")
                yield NormsPanel(id="norms")
                yield ProbesPanel(id="probes")

    def on_mount(self) -> None:
        """The form has the focus while nothing waits."""
        self._parts = tuple(part for part in self.query(PARTS).results() if isinstance(part, Shows))
        self.set_focus(self.query_one("#request").query_one("#subject", Input))

    def show(self, state: State) -> None:
        """Hands `state` to every part."""
        for part in self._parts:
            part.show(state)

    @property
    def _table(self) -> QueueTable:
        return self.query_one(QueueTable)

    @on(RequestForm.Submitted)
    def _queue_draft(self, event: RequestForm.Submitted) -> None:
        self._enqueue(event.draft, first=event.now)
        if event.now:
            self.bench.run_queue()

    def _enqueue(self, draft: Draft, *, first: bool = False) -> None:
        (item,) = self.bench.queue.add(draft, first=first)
        self.bench.queue_changed()
        self._table.select(item.key)

    @on(More.Opened)
    @work
    async def _open_form(self) -> None:
        form = self.query_one(RequestForm)
        written, before = self.bench.queue.written, form.draft
        result = await self.app.push_screen_wait(screens.FormScreen("New edit", before, form.facts, written.keep))
        if result is None:
            written.keep(before)
        else:
            form.fill(Draft())
            self._enqueue(result.draft, first=result.then == "apply")
            self._then(result)

    def action_add_edit(self) -> None:
        """Goes to the form."""
        self.set_focus(self.query_one("#subject", Input))

    def action_leave_input(self) -> None:
        """Goes from the form to the queue."""
        self.set_focus(self._table)

    @work
    async def action_edit_item(self) -> None:
        """Opens the item under the cursor in the whole form."""
        item = self._table.selected
        if item is None:
            return
        number = self.bench.queue.items.index(item) + 1
        facts = self.query_one(RequestForm).facts
        result = await self.app.push_screen_wait(screens.FormScreen(f"Edit queue item {number}", item.draft, facts))
        if result is None:
            return
        try:
            self.bench.queue.edit(item.key, result.draft)
            if result.then == "apply":
                self.bench.queue.move(item.key, -len(self.bench.queue))
        except WorkbenchError as error:
            self.bench.tell(error)
        self.bench.queue_changed()
        self._then(result)

    def _then(self, result: FormResult) -> None:
        if result.then == "apply":
            self.bench.run_queue()

    def action_remove_item(self) -> None:
        """Takes the item under the cursor out."""
        item = self._table.selected
        if item is None:
            return
        place = self.bench.queue.items.index(item)
        if self._try(lambda: self.bench.queue.remove(item.key)):
            self._removed.append((place, item))
            key = spoken(REBOUND.get().get("queue.put-back", "ctrl+z"))
            self.notify(f"{visible(item.draft.subject) or 'An edit'} removed; {key} puts it back.", markup=False)

    @work
    async def action_run_batch(self) -> None:
        """Makes one edit of all that are ready, by a batched method: theirs, or the one that is asked for."""
        ready = self.bench.queue.ready()
        if len({item.draft.recipe_settings for item in ready}) != 1:
            self.notify(UNLIKE, severity="warning", markup=False)
            return
        settings = ready[0].draft.overrides()
        if settings.get("method") not in BATCHED:
            choices = (("m", "MEMIT", "memit"), ("e", "EMMET", "emmet"))
            answer = await self.app.push_screen_wait(
                screens.ChoiceScreen(f"One edit of {len(ready)} requests, by:", choices)
            )
            if not answer:
                return
            settings["method"] = answer
        self.bench.run_queue(settings)

    @work
    async def action_run_together(self) -> None:
        """Makes all that are ready side by side, after saying what that means."""
        sizes = rounds(self.bench.queue.ready(), self.bench.state)
        if max(sizes, default=1) == 1:
            self.notify(APART, severity="warning", markup=False)
            return
        choices = (("t", "Together", "together"), ("o", "One by one", "single"))
        question = (TOGETHER if len(sizes) == 1 else ROUNDS).format(sum(sizes), len(sizes))
        answer = await self.app.push_screen_wait(screens.ChoiceScreen(question, choices))
        if answer:
            self.bench.run_queue(together=answer == "together")

    def action_put_back(self) -> None:
        """Undoes the last removal."""
        if self._removed:
            place, item = self._removed.pop()
            self.bench.queue.put_back_at(place, item)
            self.bench.queue_changed()
            self._table.select(item.key)

    def action_duplicate_item(self) -> None:
        """Queues the item under the cursor once more."""
        item, twins = self._table.selected, list[QueueItem]()
        if item is not None and self._try(lambda: twins.append(self.bench.queue.duplicate(item.key))):
            self._table.select(twins[0].key)

    def action_move_item(self, by: int) -> None:
        """Moves the item under the cursor."""
        item = self._table.selected
        if item is not None:
            self._try(lambda: self.bench.queue.move(item.key, by))

    def action_hold_item(self) -> None:
        """Holds or releases the item under the cursor; a failed one is to be tried again."""
        item = self._table.selected
        if item is not None:
            self._try(lambda: self.bench.queue.hold(item.key, item.held if item.failure else not item.held))

    @work
    async def action_import_file(self) -> None:
        """Adds the edits of a file."""
        self._take(await self.app.push_screen_wait(screens.ImportScreen()))

    @work
    async def on_paste(self, event: events.Paste) -> None:
        """Offers to queue what was pasted, if it holds records of requests; one line of any other text is a field's."""
        field = self.focused
        try:
            offer = await asyncio.to_thread(Offer.of_text, event.text) if may_be_records(event.text) else Offer()
        except WorkbenchError:
            offer = Offer()
        if offer.drafts:
            if await self.app.push_screen_wait(screens.ConfirmScreen(offer.question)) == "yes":
                self._take(offer)
        elif offer.left_out:
            self.notify(f"None of what was pasted can be read. {offer.reasons[0]}", severity="warning", markup=False)
        elif isinstance(field, LineInput):
            field.take(event.text)

    def _take(self, offer: Offer) -> None:
        if offer.drafts:
            first, *_ = self.bench.queue.add(*offer.drafts)
            self.bench.queue_changed()
            self._table.select(first.key)
            self.notify(offer.added, markup=False)

    def action_copy_item(self) -> None:
        """Puts the item under the cursor on the clipboard, as `workbench apply` reads it."""
        item = self._table.selected
        if item is not None:
            self.app.copy_to_clipboard(as_json(item))
            self.notify("Copied as JSON.", markup=False)

    def action_trace(self) -> None:
        """Shows where the fact lives that is being written, or is selected."""
        fact = self._fact()
        if fact is not None:
            self.app.push_screen(screens.TraceScreen(fact))

    def _fact(self) -> Fact | None:
        """Of the part that has the focus: the edit under the cursor, else the draft, else the queue's."""
        stack, item = self.query_one(StackPane), self._table.selected
        if stack.has_focus:
            return row_fact(stack.selected)
        drafts = [self.query_one(RequestForm).draft, *([item.draft] if item else [])]
        if self._table.has_focus:
            drafts.reverse()
        return next((fact for fact in map(draft_fact, drafts) if fact), None)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys of the queue work only where there is something to act on."""
        del parameters
        if action in ("remove_item", "edit_item", "hold_item", "copy_item", "duplicate_item"):
            return self.is_mounted and self._table.selected is not None
        if action == "trace":
            return self.is_mounted and self._fact() is not None
        if action in ("run_batch", "run_together"):
            return len(self.bench.queue.ready()) > 1 and self.bench.queue.running is None
        if action == "put_back":
            return bool(self._removed)
        if action == "move_item":
            return len(self.bench.queue) > 1
        return action != "leave_input" or self._in_form(self.focused)

    def _in_form(self, widget: Widget | None) -> bool:
        return widget is not None and any(isinstance(node, RequestForm) for node in widget.ancestors)

    def _try(self, change: Callable[[], None]) -> bool:
        try:
            change()
        except WorkbenchError as error:
            self.bench.tell(error)
            return False
        finally:
            self.bench.queue_changed()
        return True


def as_json(item: QueueItem) -> str:
    """The request as one line of JSON; as typed where it is no request yet."""
    try:
        return json.dumps(item.draft.request().to_json(), ensure_ascii=False)
    except WorkbenchError:
        return json.dumps(item.draft.to_json(), ensure_ascii=False)
