"""Asks for a probe to watch: a prompt, the answer that is expected, and what kind of probe it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Label, Static

from workbench.contrasts import KINDS, AddedProbe
from workbench.edits import MAX_TEXT
from workbench.errors import UsageError
from workbench.text import visible
from workbench.tui.widgets.keys import KeyLine
from workbench.tui.widgets.line_input import LineInput, settled

if TYPE_CHECKING:
    from textual.app import ComposeResult

MEANS = {
    "efficacy": "must become likelier than what the base answers",
    "paraphrase": "the same, asked in other words",
    "neighbourhood": "must stay; without an answer, what the base says",
}


class AddProbeScreen(ModalScreen[AddedProbe | None]):
    """The probe; None if it was left.

    Args:
        prompt: what to begin with.
    """

    CSS_PATH = "add_probe.tcss"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "app.focus_next", "Next field", id="focus.next", show=False, priority=True),
        Binding("shift+tab", "app.focus_previous", "Field before", id="focus.previous", show=False, priority=True),
        Binding("enter", "add", "Add it", id="add-probe.add", priority=True),
        Binding("down", "kind(1)", "Next kind", id="add-probe.kind", priority=True, tooltip="Efficacy, paraphrase ..."),
        Binding("up", "kind(-1)", "Kind before", id="add-probe.kind-before", show=False, priority=True),
        Binding("escape", "dismiss(None)", "Back", id="add-probe.back", priority=True),
    ]

    def __init__(self, prompt: str = "") -> None:
        super().__init__()
        self._prompt, self._kind = prompt, 0

    def compose(self) -> ComposeResult:
        """Two lines, the kind, and what is wrong."""
        with Vertical(id="add-probe"):
            with Horizontal(classes="field"):
                yield Label("Prompt", classes="name")
                yield LineInput(self._prompt, placeholder="Tim Cook works for", id="prompt", max_length=MAX_TEXT)
            with Horizontal(classes="field"):
                yield Label("Expected", classes="name")
                yield LineInput(placeholder="Apple", id="expected", max_length=MAX_TEXT)
            with Horizontal(classes="field"):
                yield Label("Kind", classes="name")
                yield Static(id="kind", markup=False)
            yield Static("", id="add-probe-said", markup=False)
        yield KeyLine()

    def on_mount(self) -> None:
        """Writes the border."""
        box = self.query_one("#add-probe")
        box.border_title, box.border_subtitle = (
            "Add a probe",
            "enter adds it, up and down change its kind, escape leaves",
        )
        self.action_kind(0)

    def action_kind(self, step: int) -> None:
        """Another kind."""
        self._kind = (self._kind + step) % len(KINDS)
        kind = KINDS[self._kind]
        self.query_one("#kind", Static).update(f"◂ {kind} ▸  {MEANS[kind]}")

    async def action_add(self) -> None:
        """Gives the probe, or says what is wrong with it."""
        await settled(self.focused)
        prompt, expected = (self.query_one(f"#{name}", LineInput).value for name in ("prompt", "expected"))
        try:
            probe = AddedProbe(prompt.strip(), expected.strip(), KINDS[self._kind])
        except UsageError as error:
            self.query_one("#add-probe-said", Static).update(visible(f"✗ {error.message} {error.hint}".rstrip()))
        else:
            self.dismiss(probe)
