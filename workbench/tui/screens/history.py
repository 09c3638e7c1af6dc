"""History: the stack as it is on disk, what each edit is, the ways back and forth, and the ways out."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.widgets import Input

from workbench import events as ev
from workbench.errors import WorkbenchError
from workbench.stack.editfile import read_header
from workbench.stack.files import storage
from workbench.text import visible
from workbench.tui.fact import row_fact
from workbench.tui.screens.base import WorkbenchScreen
from workbench.tui.screens.branches import BranchScreen
from workbench.tui.screens.export import ExportScreen, Target
from workbench.tui.screens.health import HealthScreen
from workbench.tui.screens.switch import SwitchScreen
from workbench.tui.screens.trace import TraceScreen
from workbench.tui.state import State
from workbench.tui.widgets.along import AlongStack
from workbench.tui.widgets.edit_detail import EditDetail, EditFile, base_facts, edit_facts
from workbench.tui.widgets.line_input import LineInput, settled
from workbench.tui.widgets.plot import Plot
from workbench.tui.widgets.shell import ShellPanel, stack_name, verdict
from workbench.tui.widgets.stack_table import TRAVEL_TIP, StackTable
from workbench.tui.widgets.text import size

NEEDS_IDLE = ("undo", "redo", "travel", "off_on", "resolve", "verify", "probe", "switch", "branches", "export")
"""Actions that need the engine at once."""


class HistoryScreen(WorkbenchScreen):
    """Newest edit first, the base last."""

    CSS_PATH = "history.tcss"
    AUTO_FOCUS = "StackTable"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("u", "undo", "Undo", id="history.undo", tooltip="Takes back the newest applied edit"),
        Binding("r", "redo", "Redo", id="history.redo", tooltip="Applies the oldest undone edit again"),
        Binding("T", "travel", "Travel here", id="history.travel", key_display="T", tooltip=TRAVEL_TIP),
        Binding("o", "off_on", "Off/on", id="history.toggle", tooltip="Leaves an edit out, or takes it in again"),
        Binding("O", "resolve", "Off/on and resolve", id="history.resolve", key_display="O", show=False),
        Binding("v", "verify", "Verify", id="history.verify", tooltip="Rebuilds every position and compares hashes"),
        Binding("n", "note", "Note", id="history.note"),
        Binding("enter", "enter", "Take it", id="history.enter", show=False, priority=True),
        Binding("enter", "details", "Details", id="history.details"),
        Binding("slash", "filter", "Filter", id="history.filter", key_display="/"),
        Binding(
            "x", "export", "Export", id="history.export", tooltip="A bundle, an adapter, a model, requests, one edit"
        ),
        Binding(
            "y", "copy_id", "Copy id", id="history.copy-id", tooltip="Copies the id, or the command under the cursor"
        ),
        Binding("R", "probe", "Re-run probes", id="history.probe", key_display="R"),
        Binding(
            "h", "health", "Health", id="history.health", tooltip="How much of the model and of the edits still holds"
        ),
        Binding(
            "c", "beside", "Commands, curves", id="history.commands", tooltip="What to type in a shell; the curves"
        ),
        Binding("b", "branches", "Branches", id="history.branches", tooltip="Goes over to another line, or begins one"),
        Binding("s", "switch", "Stacks", id="history.switch", tooltip="Opens another stack on this model"),
        Binding("ctrl+t", "trace", "Trace", id="trace.open", tooltip="Where in the model this fact lives"),
        Binding("escape", "leave", "Leave", id="history.leave", priority=True),
    ]
    place = "history"

    _read: tuple[str, EditFile | None, str] = ("", None, "")
    """Id of the edit whose file was read last, what it says, and why it was not read."""
    _reading = ""
    _verified: tuple[ev.Verified, ...] = ()
    """What was last told of verifying."""
    _exported: ev.Exported | None = None
    """What was last told of an export."""

    def compose_body(self) -> ComposeResult:
        """The list, the selected edit, drift and commands, and one line to type in."""
        with Container(id="history"):
            yield StackTable(id="stack")
            yield EditDetail(id="detail")
            yield AlongStack(id="drift")
            yield ShellPanel(id="shell")
        yield LineInput(id="line")

    def show(self, state: State) -> None:
        """Hands `state` to every panel."""
        self.query_one(StackTable).show(state)
        self.query_one(Plot).show(state)
        self._describe()
        if state.engine == "idle" and state.verified and state.verified != self._verified:
            self._verified = state.verified
            self.notify(verdict(state.verified), markup=False)
        if state.exported is not None and state.exported != self._exported:
            self._exported = state.exported
            self.notify(visible(_written(state.exported)), markup=False)

    @on(StackTable.Moved)
    def _moved(self) -> None:
        self._describe()
        self.refresh_bindings()

    @on(StackTable.Chosen)
    def _chosen(self) -> None:
        self.action_details()

    def _describe(self) -> None:
        """The selected edit, from the list at once and from its file as soon as that is read."""
        row, state, detail = self.query_one(StackTable).selected, self.bench.state, self.query_one(EditDetail)
        self.query_one(ShellPanel).show(state, row)
        if row is None:
            detail.describe("Base", base_facts(state.stack, state.model.fingerprint if state.model else ""))
            return
        known, file, unread = self._read
        if known != row.id:
            file, unread = None, ""
            self._start_reading(row)
        facts = edit_facts(row, file, unread, _verified(state, row), state.stack)
        detail.describe(f"Edit {row.number}", facts)

    def _start_reading(self, row: ev.EditRow) -> None:
        stack = self.bench.state.stack
        if self.bench.state.where != "here":
            self._read = (row.id, None, "The file lies where the engine runs.")
        elif stack is not None and self._reading != row.id:
            self._reading = row.id
            self._read_file(row.id, Path(stack.folder) / row.file)

    @work(exclusive=True, group="header")
    async def _read_file(self, edit_id: str, path: Path) -> None:
        """Reads an edit's file away from the screen's thread; what cannot be read is said in the detail."""
        try:
            self._read = (edit_id, await asyncio.to_thread(_file, path), "")
        except WorkbenchError as error:
            self._read = (edit_id, None, f"✗ {error.message} {error.hint}".rstrip())
        except ValueError as error:
            self._read = (edit_id, None, f"✗ {path.name} is no name of a file: {error}")
        self._reading = ""
        self._describe()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Greyed while the engine is busy, absent where there is nothing to act on."""
        typing = isinstance(self.focused, Input)
        if action == "leave":
            opened = self.query_one("#line").has_class("-open") or bool(self._beside)
            return typing or self.maximized is not None or opened
        if typing or action == "enter":
            return typing and action == "enter"
        if action in NEEDS_IDLE:
            return self.free() if self._can(action) else False
        if action == "trace":
            return row_fact(self.query_one(StackTable).selected) is not None
        if action == "copy_id":
            return self.query_one(ShellPanel).has_focus or self.query_one(StackTable).selected is not None
        if action == "note":
            return self.query_one(StackTable).selected is not None
        if action in ("health", "beside"):
            return self.bench.state.stack is not None
        return super().check_action(action, parameters)

    def _can(self, action: str) -> bool:
        """There is something for `action` to do, once the engine is free."""
        stack, table = self.bench.state.stack, self.query_one(StackTable)
        if action == "switch":
            return True
        if stack is None or not stack.edits:
            return False
        stopped = self.bench.state.engine == "stopped"
        possible = {
            "undo": stack.position > 0,
            "redo": stack.position < len(stack.edits) and not stopped,  # then r restarts the engine
            "travel": table.position != stack.position,
            "off_on": table.selected is not None and table.selected.state in ("applied", "off", "broken"),
            "resolve": table.selected is not None and table.selected.state in ("applied", "off"),
        }
        return possible.get(action, True)

    def action_undo(self) -> None:
        """Takes back the newest applied edit."""
        self.bench.send("undo", count=1)

    def action_redo(self) -> None:
        """Applies the oldest undone edit again."""
        self.bench.send("redo", count=1)

    def action_travel(self) -> None:
        """Goes to the position under the cursor."""
        self.bench.send("travel", to=self.query_one(StackTable).position)

    def action_off_on(self) -> None:
        """Leaves the selected edit out, or takes it in again; later edits keep their updates."""
        self._toggle(resolve=False)

    def action_resolve(self) -> None:
        """The same, and the applied edits after it are computed anew."""
        self._toggle(resolve=True)

    def _toggle(self, *, resolve: bool) -> None:
        row = self.query_one(StackTable).selected
        if row is not None:
            self.bench.send("toggle", edit=row.id, off=row.state != "off", resolve=resolve)

    def action_verify(self) -> None:
        """Rebuilds every position and compares hashes."""
        self.bench.send("verify")

    def action_trace(self) -> None:
        """Shows where the fact of the selected edit lives."""
        fact = row_fact(self.query_one(StackTable).selected)
        if fact is not None:
            self.app.push_screen(TraceScreen(fact))

    def action_probe(self) -> None:
        """Asks all probes again; Compare shows them."""
        if self.bench.send("probe"):
            self.notify("The probes are asked again; F5 shows them.")

    @work
    async def action_switch(self) -> None:
        """Opens another stack; the queue is then that stack's."""
        state = self.bench.state
        present = Path(state.stack.folder) if state.stack else None
        if present is None:
            return
        fingerprint = state.model.fingerprint if state.model else ""
        folder = await self.app.push_screen_wait(SwitchScreen(present, fingerprint, here=state.where == "here"))
        if folder is not None:
            self.bench.send("open", stack=str(folder))

    @work
    async def action_branches(self) -> None:
        """Goes over to another branch, to its end."""
        stack = self.bench.state.stack
        if stack is None:
            return
        wanted = await self.app.push_screen_wait(BranchScreen(stack))
        if wanted is not None and wanted.new:
            self.bench.send("branch", name=wanted.name)
        elif wanted is not None:
            self.bench.send("switch", name=wanted.name)

    def action_health(self) -> None:
        """Shows how healthy the stack is."""
        self.app.push_screen(HealthScreen())

    @work
    async def action_export(self) -> None:
        """Writes the stack, or something of it, for others."""
        state, row = self.bench.state, self.query_one(StackTable).selected
        if state.stack is None:
            return
        here = state.where == "here"
        screen = ExportScreen(
            "Export" if here else "Export, where the engine runs", targets(state.stack, row), here=here
        )
        chosen = await self.app.push_screen_wait(screen)
        if chosen is not None:
            edit = row.id if row and chosen.kind == "edit" else ""
            out = str(chosen.path.absolute() if here else chosen.path)
            self.bench.send("export", format=chosen.kind, out=out, edit=edit, replace=chosen.replace)

    _beside = ""
    """What has the place of the detail where there is no room for all: "commands", "curves", or "" for the detail."""

    def action_beside(self) -> None:
        """Goes to the commands for a shell, then to the curves, then back to the list."""
        self._show_beside({"": "commands", "commands": "curves", "curves": ""}[self._beside])
        found = {"commands": "#shell", "curves": "#drift"}.get(self._beside, "#stack")
        self.call_after_refresh(self.set_focus, self.query_one(found))

    def _show_beside(self, name: str) -> None:
        self._beside = name
        self.set_class(name == "commands", "-commands")
        self.set_class(name == "curves", "-curves")

    def action_copy_id(self) -> None:
        """Copies the command under the cursor, if that is where one is, else the selected edit's id."""
        panel, row = self.query_one(ShellPanel), self.query_one(StackTable).selected
        if panel.has_focus and panel.selected is not None:
            self.app.copy_to_clipboard(panel.selected.line)
            self.notify("The command is copied.")
        elif row is not None:
            self.app.copy_to_clipboard(row.id)
            self.notify(f"Id of edit {row.number} copied.")

    def action_details(self) -> None:
        """Gives the selected edit the whole screen, and back."""
        if self.maximized:
            self.minimize()
            self.set_focus(self.query_one(StackTable))
            return
        detail = self.query_one(EditDetail)
        self.set_focus(detail)
        self.maximize(detail)

    def action_filter(self) -> None:
        """Opens the line, to narrow the list."""
        self._open("filter: part of a subject, prompt, target, note or id", "")

    def action_note(self) -> None:
        """Opens the line, to write a note to the selected edit."""
        row = self.query_one(StackTable).selected
        if row is not None:
            self._open(f"note to edit {row.number}: enter saves, escape leaves", row.note, note=row)

    _noting: ev.EditRow | None = None

    def _open(self, placeholder: str, value: str, note: ev.EditRow | None = None) -> None:
        self._noting = note
        line = self.query_one("#line", Input)
        line.placeholder = placeholder
        line.value = value
        line.add_class("-open")
        self.set_focus(line)

    @on(Input.Changed, "#line")
    def _typed(self, event: Input.Changed) -> None:
        if self._noting is None:
            self.query_one(StackTable).narrow(event.value)

    async def action_enter(self) -> None:
        """Takes what is in the line: a filter, or a note."""
        line = self.query_one("#line", Input)
        await settled(line)
        if self._noting is not None:
            if not self.bench.send("note", edit=self._noting.id, text=line.value.strip()):
                self.notify("The engine is busy. Your note is still here: press enter again.", severity="warning")
                return
            self._close()
        self.set_focus(self.query_one(StackTable))

    def action_leave(self) -> None:
        """Closes what is open: the whole-screen detail, else the line and its filter."""
        if self.maximized:
            self.minimize()
        elif self._beside:
            self._show_beside("")
        else:
            self._close()
        self.set_focus(self.query_one(StackTable))

    def _close(self) -> None:
        self._noting = None
        line = self.query_one("#line", Input)
        line.value = ""
        line.remove_class("-open")
        self.query_one(StackTable).narrow("")


def targets(stack: ev.StackChanged, row: ev.EditRow | None) -> tuple[Target, ...]:
    """What of `stack` can be written, and where unless another place is named; `row`: the selected edit."""
    name = stack_name(stack)
    found = [
        Target("bundle", "bundle", "every edit on every branch, in one file", f"{name}.zip"),
        Target("peft", "PEFT", "the present state as a LoRA adapter", f"{name}-lora"),
        Target("merged", "merged", "the whole model with the edits in it", f"{name}-merged"),
        Target("requests", "requests", "what the active edits ask for, as JSON", f"{name}-requests.json"),
    ]
    if row is not None:
        found.append(Target("edit", "one edit", f"edit {row.number}, its file as it is", row.file))
    return tuple(found)


def _written(found: ev.Exported) -> str:
    what = "request" if found.format == "requests" else "edit"
    return f"{found.out} is written: {found.count} {what}{'' if found.count == 1 else 's'}, {size(found.bytes)}."


def _file(path: Path) -> EditFile:
    """An edit's own file. Raises StackError, StorageError."""
    edit = read_header(path)
    with storage("read", path):
        return EditFile(edit, path.stat().st_size)


def _verified(state: State, row: ev.EditRow) -> ev.Verified | None:
    return next((v for v in reversed(state.verified) if v.edit == row.id), None)
