"""One line with the settings of an edit; enter opens all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from workbench.errors import UsageError
from workbench.recipes import Recipe
from workbench.tui.draft import settings_of
from workbench.tui.state import State
from workbench.tui.widgets.hyper_rows import CHANGED, Choices, summary_of

if TYPE_CHECKING:
    from textual import events


class AdvancedLine(Widget, can_focus=True):
    """The method and every hyper-parameter, as many as fit; those that are changed come first."""

    DEFAULT_CSS = """
    AdvancedLine { height: 1; }
    AdvancedLine:focus { text-style: reverse; }
    """
    HELP = f"How the edit is made. {CHANGED} marks what is not as the model's profile has it; enter opens all settings."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,space", "open", "Open", id="form.advanced", tooltip="Every hyper-parameter of this edit"),
    ]

    settings: reactive[str] = reactive("")
    """The changes, as a draft keeps them, without `chat`."""
    ground: reactive[Recipe | None] = reactive(None)
    """The model's profile; None: not known yet."""

    class Opened(Message):
        """All settings are wanted."""

    class Changed(Message):
        """Other settings are wanted."""

    def show(self, state: State) -> None:
        """Takes in the model's profile."""
        self.ground = profile_of(state)

    @property
    def problem(self) -> str:
        """Why the settings cannot be used, or ""."""
        try:
            self._choices()
        except UsageError as error:
            return error.message
        return ""

    def choices(self) -> Choices:
        """The settings, to be changed; without changes if they cannot be used."""
        return Choices(self.ground or Recipe(), {}) if self.problem else self._choices()

    def _choices(self) -> Choices:
        return Choices(self.ground or Recipe(), settings_of(self.settings))

    def render(self) -> Text:
        """The line, cut to the width."""
        line = Text(f"▸ Advanced  {summary_of(self.ground, self.settings)}", no_wrap=True)
        line.truncate(self.size.width, overflow="ellipsis")
        return line

    def watch_settings(self) -> None:
        """Says so."""
        self.post_message(self.Changed())

    def action_open(self) -> None:
        """Opens all settings."""
        self.post_message(self.Opened())

    def on_click(self, event: events.Click) -> None:
        """As enter."""
        event.stop()
        self.action_open()


def profile_of(state: State) -> Recipe | None:
    """The model's own settings; None while they are not known, or are of a kind that is not known here."""
    if state.model is None:
        return None
    try:
        return Recipe.from_json(state.model.recipe)
    except UsageError:
        return None
