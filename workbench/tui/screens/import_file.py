"""Asks for a request file: completes its path, shows what is in it before it is taken, or says what is wrong."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on, work
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.timer import Timer
from textual.widgets import Input, Static

from workbench.errors import WorkbenchError
from workbench.text import shortened, visible
from workbench.tui.offer import Offer, preview
from workbench.tui.paths import Listing, completed, file_of, listing
from workbench.tui.widgets.keys import KeyLine
from workbench.tui.widgets.line_input import LineInput, settled
from workbench.tui.widgets.panel import Rows
from workbench.tui.widgets.text import fit, size

if TYPE_CHECKING:
    from textual.app import ComposeResult

PAUSE = 0.2
"""Seconds without typing before a file is read."""


class PathRows(Rows, can_focus=False):
    """The folder's entries that go on from what is typed."""

    listing = Listing("")

    def show(self, found: Listing) -> None:
        """Takes other entries."""
        self.listing, self.cursor = found, 0
        self.refresh()

    def count(self) -> int:
        """How many there are."""
        return len(self.listing.entries)

    def empty(self) -> str:
        """Why there are none."""
        return visible(self.listing.problem)

    def row(self, index: int, width: int) -> Text:
        """One of them, with its size."""
        entry = self.listing.entries[index]
        note = "" if entry.folder else size(entry.size)
        line = Text(fit(entry.name + ("/" if entry.folder else ""), max(width - 10, 8)) + fit(note, 10, right=True))
        if index == self.cursor:
            line.stylize("reverse")
        return line


class ImportScreen(ModalScreen[Offer]):
    """What the file offers; nothing if it was left with escape."""

    CSS_PATH = "import_file.tcss"
    HELP = (
        "Type the path of a file, or choose it: up and down, or a click, and tab to complete. JSON, JSONL and CSV; "
        "also CounterFact, EasyEdit and zsRE files. What is in it shows before it is taken; records that cannot be "
        "read are left out, and it is said why."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "read", "Import", id="import.read", priority=True, tooltip="Queue the edits of this file"),
        Binding("tab", "complete", "Complete", id="import.complete", priority=True, tooltip="Take the chosen name"),
        Binding("up", "choose(-1)", "Name before", id="import.previous", show=False, priority=True),
        Binding("down", "choose(1)", "Next name", id="import.next", show=False, priority=True),
        Binding("escape", "leave", "Back", id="import.back", priority=True),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._timer: Timer | None = None
        self._offer: tuple[Path, Offer] | None = None
        """The file that was read last, and what it offers."""
        self._answered: str | None = None
        """The path that enter was pressed on last: what was said of it stays until another is typed."""

    def compose(self) -> ComposeResult:
        """The path, what it may go on with, and what is in the file."""
        with Vertical(id="import"):
            yield LineInput(placeholder="path to the file", id="path", compact=True)
            yield PathRows(id="names")
            yield Static("", id="import-said", markup=False)
        yield KeyLine()

    def on_mount(self) -> None:
        """Writes the border, and looks into the present folder."""
        box = self.query_one("#import")
        box.border_title, box.border_subtitle = "Import edits", "JSON, JSONL, CSV; CounterFact, EasyEdit, zsRE"
        self._look()

    @on(Input.Changed, "#path")
    def _typed(self) -> None:
        self._look()
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(PAUSE, self._paused)

    def _paused(self) -> None:
        if self.query_one(Input).value != self._answered:
            self._preview()

    @work(exclusive=True, group="names")
    async def _look(self) -> None:
        rows, field = self.query_one(PathRows), self.query_one(Input)
        found = await asyncio.to_thread(listing, field.value)
        if field.value == found.typed:
            rows.show(found)

    @work(exclusive=True, group="file")
    async def _preview(self) -> None:
        """Says what is in the file while its path is typed; enter ends it."""
        path = await asyncio.to_thread(file_of, self.query_one(Input).value)
        if path is None:
            self._offer = None
            self._say("")
        else:
            await self._read(path)

    async def _read(self, path: Path) -> Offer:
        """What the file offers; nothing, with the reason said, if it cannot be read."""
        self._say("Reading ...")
        try:
            offer = await asyncio.to_thread(Offer.of_file, path)
        except WorkbenchError as error:
            self._offer = None
            self._say(f"✗ {error.message} {error.hint}".strip())
            return Offer()
        self._offer = (path, offer)
        self._say(preview(offer))
        return offer

    def _say(self, text: str) -> None:
        self.query_one("#import-said", Static).update(visible(text, keep="\n"))

    def action_choose(self, rows: int) -> None:
        """Moves along the names."""
        self.query_one(PathRows).action_move(rows)

    def action_complete(self) -> None:
        """Takes the name under the cursor into the path."""
        rows, field = self.query_one(PathRows), self.query_one(Input)
        if rows.count() and rows.listing.typed == field.value:
            field.value = completed(field.value, rows.listing.entries[rows.cursor])
            field.action_end()

    @on(Rows.Moved)
    def _moved(self) -> None:
        self.query_one(PathRows).refresh()

    @on(Rows.Chosen)
    def _clicked(self) -> None:
        self.action_complete()

    @work(exclusive=True, group="file")
    async def action_read(self) -> None:
        """Imports the file that is named; a folder is opened, and a beginning completed."""
        field, rows = self.query_one(Input), self.query_one(PathRows)
        await settled(field)
        self._answered = field.value
        path = await asyncio.to_thread(file_of, field.value)
        if path is None and rows.listing.typed != field.value:
            rows.show(await asyncio.to_thread(listing, field.value))
        if path is None and rows.count():
            self.action_complete()
        elif path is None:
            self._say(f"✗ There is no file {shortened(field.value, 200)}.")
        else:
            known = self._offer
            offer = known[1] if known and known[0] == path else await self._read(path)
            if offer.drafts:
                self.dismiss(offer)

    def action_leave(self) -> None:
        """Imports nothing."""
        self.dismiss(Offer())
