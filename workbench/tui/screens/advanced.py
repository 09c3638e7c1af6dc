"""How one edit is made: every hyper-parameter, over the form. Leaving gives the changes back as a draft keeps them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Label, Static

from workbench.errors import UsageError
from workbench.recipe_words import plain, typed
from workbench.text import visible
from workbench.tui.widgets.hyper_rows import Choices, HyperRows
from workbench.tui.widgets.keys import KeyLine
from workbench.tui.widgets.line_input import LineInput, settled
from workbench.tui.widgets.panel import Rows

if TYPE_CHECKING:
    from textual.app import ComposeResult


class AdvancedScreen(ModalScreen[str]):
    """The changes as text: `steps=25 method=memit`; empty if there are none.

    Args:
        choices: the model's settings, and the present changes; changed in place.
        known: False while the model is loading: the defaults are the papers', not the model's.
    """

    CSS_PATH = "advanced.tcss"
    AUTO_FOCUS = "HyperRows"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "take", "Take it", id="advanced.take", priority=True),
        Binding("escape", "leave", "Back", id="advanced.back", priority=True),
    ]

    def __init__(self, choices: Choices, *, known: bool = True) -> None:
        super().__init__()
        self._choices, self._known = choices, known

    def compose(self) -> ComposeResult:
        """The rows, and under them what is selected, and a line to type in."""
        with Vertical(id="advanced"):
            yield HyperRows(self._choices, id="hypers")
            yield Static(id="hyper-more", markup=False)
            with Horizontal(id="hyper-typing"):
                yield Label("", id="hyper-name", markup=False)
                yield LineInput(id="hyper-value", compact=True, max_length=200)
            yield Static(id="hyper-said", markup=False)
        yield KeyLine()

    def on_mount(self) -> None:
        """Says where the defaults come from."""
        whose = "the model's profile" if self._known else "the papers: the model is still loading"
        self.query_one(HyperRows).name_it("Advanced: how this edit is made", f"defaults from {whose}")
        self._draw()

    @property
    def _rows(self) -> HyperRows:
        return self.query_one(HyperRows)

    @on(Rows.Moved)
    def _draw(self) -> None:
        rows = self._rows
        hyper, count = rows.selected, len(self._choices.changes)
        default = plain(self._choices.default(hyper.name))
        self.query_one("#hyper-more", Static).update(f"{hyper.name}: {hyper.meaning}.")
        self.query_one("#hyper-said", Static).update(
            f"It takes {hyper.range}; the default is {visible(default)}. {count or 'None'} changed."
        )
        rows.cursor = rows.validate_cursor(rows.cursor)
        rows.refresh()
        self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys of the rows only on them; taking only while one types."""
        typing = isinstance(self.focused, Input)
        if action == "take":
            return typing
        if action == "next_choice":
            return bool(self._rows.selected.choices)
        if action in ("reset", "reset_all"):
            changes = self._choices.changes
            return bool(changes) if action == "reset_all" else self._rows.selected.name in changes
        return super().check_action(action, parameters)

    def action_change(self) -> None:
        """Opens the line to type in."""
        hyper = self._rows.selected
        self.query_one("#hyper-name", Label).update(f"{hyper.name} = ")
        field = self.query_one("#hyper-value", Input)
        field.value = plain(self._choices.value(hyper.name))
        self.query_one("#hyper-typing").add_class("-open")
        self.set_focus(field)

    @on(Rows.Chosen)
    def _chosen(self) -> None:
        self.action_change()

    async def action_take(self) -> None:
        """Takes what is typed, or says why not and keeps it."""
        field = self.query_one("#hyper-value", Input)
        await settled(field)
        if self._put(typed(field.value.strip())):
            self._close()

    def action_next_choice(self) -> None:
        """The next of few choices."""
        hyper = self._rows.selected
        at = hyper.choices.index(self._choices.value(hyper.name))
        self._put(hyper.choices[(at + 1) % len(hyper.choices)])

    def action_reset(self) -> None:
        """Takes back the change of this one."""
        self._try(lambda: self._choices.reset(self._rows.selected.name))

    def action_reset_all(self) -> None:
        """Takes back all changes."""
        self._try(self._choices.reset)

    def action_leave(self) -> None:
        """From the line to the rows; from the rows back to the form."""
        if isinstance(self.focused, Input):
            self._close()
        else:
            self.dismiss(self._choices.text)

    def _close(self) -> None:
        self.query_one("#hyper-typing").remove_class("-open")
        self.set_focus(self._rows)
        self._draw()

    def _put(self, value: object) -> bool:
        return self._try(lambda: self._choices.put(self._rows.selected.name, value))

    def _try(self, change: Callable[[], None]) -> bool:
        try:
            change()
        except UsageError as error:
            self.query_one("#hyper-said", Static).update(visible(f"✗ {error.message} {error.hint}".strip()))
            return False
        self._draw()
        return True
