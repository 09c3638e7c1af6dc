"""Asks for a request file and reads it beside the screen; gives its edits, or says what is wrong with it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from workbench.errors import WorkbenchError
from workbench.requests import read_requests
from workbench.text import visible
from workbench.tui.draft import Draft
from workbench.tui.queue import drafts_of
from workbench.tui.widgets.line_input import LineInput, settled

if TYPE_CHECKING:
    from textual.app import ComposeResult


class ImportScreen(ModalScreen[tuple[Draft, ...]]):
    """The file's edits as drafts; none if it was left with escape."""

    CSS_PATH = "import_file.tcss"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "read", "Read", id="import.read", priority=True),
        Binding("escape", "leave", "Back", id="import.back", priority=True),
    ]

    def compose(self) -> ComposeResult:
        """The path, and under it what is wrong with the file."""
        with Vertical(id="import"):
            yield Static("JSON, JSONL or CSV; also CounterFact, EasyEdit and zsRE files.", markup=False)
            yield LineInput(placeholder="path to the file", id="path")
            yield Static("", id="import-said", markup=False)

    def on_mount(self) -> None:
        """Writes the border."""
        box = self.query_one("#import")
        box.border_title, box.border_subtitle = "Import edits", "enter reads the file, escape leaves"

    async def action_read(self) -> None:
        """Reads the file that is named."""
        field = self.query_one(Input)
        await settled(field)
        if field.value.strip():
            self._read(Path(field.value.strip()))

    @work(exclusive=True)
    async def _read(self, path: Path) -> None:
        said = self.query_one("#import-said", Static)
        said.update("Reading ...")
        try:
            drafts = await asyncio.to_thread(_drafts, path)
        except WorkbenchError as error:
            said.update(visible(f"✗ {error.message} {error.hint}".strip()))
        except RuntimeError as error:
            said.update(visible(f"✗ {path} is not a path: {error}"))
        else:
            self.dismiss(drafts)

    def action_leave(self) -> None:
        """Imports nothing."""
        self.dismiss(())


def _drafts(path: Path) -> tuple[Draft, ...]:
    """The file's edits. Raises WorkbenchError, and RuntimeError for an unknown ~user."""
    return drafts_of(read_requests(path.expanduser()))
