"""The queue as a list: what each edit is about and what state it is in, and, under it, why it cannot be made."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType

from workbench.tui.bench import bench
from workbench.tui.queue import Queue, QueueItem
from workbench.tui.state import State
from workbench.tui.widgets.panel import Rows
from workbench.tui.widgets.text import fit, wrapped

if TYPE_CHECKING:
    from textual import events

SIGNS = {"queued": "·", "running": "▶", "failed": "✗", "invalid": "✗", "held": "‖"}
STYLES = {"queued": "", "running": "bold", "failed": "red", "invalid": "red", "held": "dim"}
UNDER = "     └ "
ASKED = "asks"
"""The state of an edit that the guard holds."""
TURN = "its turn"
"""The state of an edit that is made and comes after the one in flight."""
MOVE = Binding.Group("Move")
SIDE = "Make all that are ready on the same state, then apply them in order: sooner done than one by one"
ONE = "Make one edit of all that are ready, by MEMIT or EMMET"
DOWN, UP = "Move this edit down", "Move this edit up"


class QueueTable(Rows):
    """The queue's items with a cursor. Keys say what is wanted; the screen that holds the table does it."""

    HELP = (
        "Edits wait here and are made from top to bottom. ctrl+r starts, and pauses after the edit in flight. "
        "T makes them together: all on the same state, sooner done, and then applied in order.\n\n"
        "▶ running   · queued   ‖ held, runs pass it over   ✗ failed or invalid, with the reason"
    )

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "screen.add_edit", "Add", id="queue.add", tooltip="Write a new edit"),
        Binding("d,delete", "screen.remove_item", "Remove", id="queue.remove", tooltip="Take this edit out"),
        Binding(
            "J,shift+down", "screen.move_item(1)", "Move", key_display="J", id="queue.down", group=MOVE, tooltip=DOWN
        ),
        Binding("K,shift+up", "screen.move_item(-1)", "Move", key_display="K", id="queue.up", group=MOVE, tooltip=UP),
        Binding("e,enter", "screen.edit_item", "Edit", key_display="e", id="queue.edit", tooltip="Change this edit"),
        Binding("space", "screen.hold_item", "Hold", id="queue.hold", tooltip="Runs pass this edit over, or not"),
        Binding("i", "screen.import_file", "Import", id="queue.import", tooltip="Add the edits of a file"),
        Binding(
            "D", "screen.duplicate_item", "Double", key_display="D", id="queue.double", tooltip="Queue it once more"
        ),
        Binding("T", "screen.run_together", "Run together", key_display="T", id="queue.together", tooltip=SIDE),
        Binding("B", "screen.run_batch", "As one", key_display="B", id="queue.batch", tooltip=ONE),
        Binding("c", "screen.copy_item", "Copy", id="queue.copy", tooltip="Copy this edit as JSON"),
    ]

    _items: tuple[QueueItem, ...] = ()
    _step = ""
    _all = False
    """The step is that of all edits that are running; else of the first of them, and the others wait for their turn."""
    _words = ""
    _by_line: tuple[int | None, ...] = ()

    def show(self, state: State) -> None:
        """Draws the queue; the cursor stays on its item."""
        queue, step = bench(self).queue, _step(state)
        self._all = state.run is not None and state.run.started.requests > 1
        items, words = queue.items, _summary(queue, recorded=state.where == "recorded")
        if items == self._items and step == self._step and words == self._words:
            return
        selected = self.selected
        self._items, self._step, self._words = items, step, words
        keys = [item.key for item in items]
        if selected is not None and selected.key in keys:
            self.cursor = keys.index(selected.key)
        self.cursor = self.validate_cursor(self.cursor)
        self.name_it("Queue", words)
        self.refresh()

    def select(self, key: str) -> None:
        """Puts the cursor on an item."""
        keys = [item.key for item in self._items]
        if key in keys:
            self.cursor = keys.index(key)

    @property
    def selected(self) -> QueueItem | None:
        """The item under the cursor."""
        return self._items[self.cursor] if self.cursor < len(self._items) else None

    def count(self) -> int:
        """How many items there are."""
        return len(self._items)

    def empty(self) -> str:
        """The next key."""
        return "No edits wait. Press a to write one, i to import a file."

    def header(self, width: int) -> Text | None:
        """The names of the columns."""
        return Text(_columns(width, "#", "State", "Subject", "Prompt", "Target", "Probes"), "bold")

    def row(self, index: int, width: int) -> Text:
        """One item."""
        item = self._items[index]
        draft, (sign, word) = item.draft, self._state(item)
        probes = f"{_count(draft.paraphrases)}p {_count(draft.neighbours)}n"
        cells = (str(index + 1), f"{sign} {word}", draft.subject, draft.slotted, draft.target_new, probes)
        return Text(_columns(width, *cells), STYLES["held" if item.held and item.state == "queued" else item.state])

    def _state(self, item: QueueItem) -> tuple[str, str]:
        if item.state == "running" and not self._all and item != next(one for one in self._items if one.running):
            return SIGNS["queued"], TURN
        if item.state == "running":
            return (SIGNS["held"], ASKED) if self._step == ASKED else (SIGNS["running"], self._step or "running")
        if item.held and item.state == "queued":
            return SIGNS["held"], "held"
        return SIGNS[item.state], item.state

    def lines(self, width: int, height: int) -> list[Text]:
        """The header, and the items around the cursor, each with its reason under it."""
        if not self._items:
            return super().lines(width, height)
        header = self.header(width - 2)
        drawn: list[tuple[int | None, Text]] = [(None, Text("  ").append_text(header or Text()))]
        for index in range(self._first(width, height - 1), self.count()):
            drawn.append((index, self._drawn(index, width)))
            drawn += [(index, line) for line in self._reason(index, width)]
        self._by_line = tuple(index for index, _ in drawn[:height])
        return [line for _, line in drawn[:height]]

    def _reason(self, index: int, width: int) -> list[Text]:
        """Why an item cannot be made, in a line; of the item under the cursor all of it."""
        item = self._items[index]
        if not item.reason:
            return []
        keys = "; e edits, d removes" if item.state == "invalid" else "; space retries, d removes"
        said = f"{item.reason.rstrip('.')}{keys}"
        lines = wrapped(said, max(width - len(UNDER), 10)) if index == self.cursor else [said]
        return [Text(fit(f"{' ' * len(UNDER) if n else UNDER}{line}", width), "dim") for n, line in enumerate(lines)]

    def _first(self, width: int, room: int) -> int:
        """The first item in sight, so that the cursor's item and its reason are."""
        first, used = self.cursor, 0
        while first >= 0:
            used += 1 + len(self._reason(first, width))
            if used > room:
                break
            first -= 1
        self._top = min(max(self._top, first + 1), self.cursor)
        return self._top

    def on_click(self, event: events.Click) -> None:
        """Puts the cursor on an item."""
        event.prevent_default()
        offset = event.get_content_offset(self)
        if offset is not None and offset.y < len(self._by_line) and self._items:
            index = self._by_line[offset.y]
            self.cursor = self.cursor if index is None else index


def _step(state: State) -> str:
    run = state.run
    if run is None or not run.running:
        return ""
    if run.asked:
        return ASKED
    step = run.steps[-1] if run.steps else run.together
    return f"{step.step}/{step.of}" if step else "starting"


def _summary(queue: Queue, *, recorded: bool) -> str:
    if recorded:
        return "a recording has no queue"
    words = f"{len(queue)} item{'' if len(queue) == 1 else 's'}"
    if len(queue) > 1:
        words += ", order matters"
    return words if queue.kept else f"{words}; not saved, {queue.unsaved}"


def _count(text: str) -> int:
    return sum(1 for line in text.split("\n") if line.strip())


def _columns(width: int, number: str, state: str, subject: str, prompt: str, target: str, probes: str) -> str:
    tail = f" {fit(probes, 7)}" if width >= 76 else ""
    room = width - 3 - 11 - len(tail) - len(" -> ") - 1
    first = max(8, room * 27 // 100)
    last = max(8, room * 22 // 100)
    middle = max(0, room - first - last)
    cells = (fit(number, 2) + " ", fit(state, 11), fit(subject, first), " ", fit(prompt, middle), " -> ")
    return "".join(cells) + fit(target, last) + tail
