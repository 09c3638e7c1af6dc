"""Asks what to write and where; asks again before anything gives way."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on, work
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from workbench.text import shortened, visible
from workbench.tui.screens.confirm import ConfirmScreen
from workbench.tui.widgets.keys import KeyLine
from workbench.tui.widgets.line_input import LineInput, settled
from workbench.tui.widgets.panel import Rows
from workbench.tui.widgets.text import fit, safe

if TYPE_CHECKING:
    from textual.app import ComposeResult


@dataclass(frozen=True)
class Target:
    """Something that can be written."""

    kind: str
    name: str
    detail: str
    path: str
    """Where, unless another place is named."""


@dataclass(frozen=True)
class Export:
    """What was chosen."""

    kind: str
    path: Path
    replace: bool
    """What stands there gives way."""


class Targets(Rows, can_focus=False):
    """What can be written."""

    def __init__(self, targets: tuple[Target, ...]) -> None:
        super().__init__(id="targets")
        self._targets = targets

    @property
    def selected(self) -> Target:
        """What is under the cursor."""
        return self._targets[self.cursor]

    def count(self) -> int:
        """How many there are."""
        return len(self._targets)

    def row(self, index: int, width: int) -> Text:
        """Its name, and what it is."""
        target = self._targets[index]
        line = Text(f"{fit(target.name, 10)} ").append(fit(target.detail, width - 11), "dim")
        if index == self.cursor:
            line.stylize("reverse")
        return line


class ExportScreen(ModalScreen[Export | None]):
    """What and where; None if it was left.

    Args:
        title: what it is of.
        targets: at least one.
        here: it is written on this machine, so that it can be seen what stands there.
    """

    CSS_PATH = "export.tcss"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "write", "Write it", id="export.write", priority=True),
        Binding("escape", "dismiss(None)", "Back", id="export.back", priority=True),
        Binding("up", "move(-1)", "Up", id="export.up", show=False, priority=True),
        Binding("down", "move(1)", "Down", id="export.down", show=False, priority=True),
    ]

    def __init__(self, title: str, targets: tuple[Target, ...], *, here: bool = True) -> None:
        super().__init__()
        self._title, self._targets, self._here = title, targets, here

    def compose(self) -> ComposeResult:
        """The list, a line for the path, and what is wrong with it."""
        with Vertical(id="export"):
            yield Targets(self._targets)
            yield LineInput(self._targets[0].path, placeholder="where to", id="path")
            yield Static("", id="export-said", markup=False)
        yield KeyLine()

    def on_mount(self) -> None:
        """Writes the border."""
        box = self.query_one("#export")
        box.border_title = safe(self._title).plain
        box.border_subtitle = "up and down choose, enter writes it, escape leaves"
        self.query_one(Targets).styles.height = len(self._targets)

    def action_move(self, rows: int) -> None:
        """Another kind; its own path follows, unless one was typed."""
        targets, field = self.query_one(Targets), self.query_one(LineInput)
        own = {target.path for target in self._targets}
        targets.cursor += rows
        if field.value in own:
            field.value = targets.selected.path

    @on(Targets.Moved)
    def _moved(self) -> None:
        self.action_move(0)

    @on(Targets.Chosen)
    async def _chosen(self) -> None:
        await self.action_write()

    async def action_write(self) -> None:
        """Gives what was chosen; asks first where something stands."""
        field = self.query_one(LineInput)
        await settled(field)
        if field.value.strip():
            self._take(field.value.strip())

    @work(exclusive=True)
    async def _take(self, written: str) -> None:
        try:
            path = Path(written).expanduser() if self._here else Path(written)
            there = not self._here or os.path.lexists(path)
        except (RuntimeError, ValueError) as error:
            self.query_one("#export-said", Static).update(visible(f"✗ That is not a place: {error}"))
            return
        replace = there and await self._may_replace(path)
        if replace or not (there and self._here):
            self.dismiss(Export(self.query_one(Targets).selected.kind, path, replace))

    async def _may_replace(self, path: Path) -> bool:
        name = shortened(visible(str(path)), 200)
        asked = f"{name} is there already. Replace it?" if self._here else f"Replace {name}, if it is there already?"
        return await self.app.push_screen_wait(ConfirmScreen(asked)) == "yes"
