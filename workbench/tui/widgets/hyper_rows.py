"""Every hyper-parameter of one edit: its value, the model's own, what it takes and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType

from workbench.errors import UsageError
from workbench.recipe_words import Hyper, hypers_of, plain
from workbench.recipes import Recipe, chosen_recipe
from workbench.text import visible
from workbench.tui.draft import recipe_settings
from workbench.tui.widgets.panel import Rows
from workbench.tui.widgets.text import fit

CHANGED = "*"
NO_PROFILE = "the model's own settings show here"


class Choices:
    """The model's own settings, and what one edit changes of them. Only what can be made is ever in it.

    Args:
        ground: the model's profile.
        changes: settings by name, checked.

    Raises:
        UsageError: the changes cannot be made.
    """

    def __init__(self, ground: Recipe, changes: Mapping[str, Any]) -> None:
        self.ground, self.changes = ground, dict(changes)
        self.recipe = chosen_recipe(ground, self.changes)

    @property
    def hypers(self) -> tuple[Hyper, ...]:
        """What the method reads."""
        return hypers_of(self.recipe.method)

    def value(self, name: str) -> Any:
        """What it is now."""
        return self.recipe.to_json()[name]

    def default(self, name: str) -> Any:
        """What it is if nothing but the method is changed."""
        if name == "method":
            return self.ground.method
        method = {"method": self.changes["method"]} if "method" in self.changes else {}
        return chosen_recipe(self.ground, method).to_json()[name]

    def put(self, name: str, value: Any) -> None:
        """Changes one; another method lets go of what it does not read. Raises UsageError; then nothing is changed."""
        wanted = {**self.changes, name: value}
        if name == "method":
            read = {hyper.name for hyper in hypers_of(Recipe.from_json({"method": value}).method)}
            wanted = {other: kept for other, kept in wanted.items() if other in read}
        made = Choices(self.ground, wanted)
        same = made.value(name) == made.default(name)
        self.changes = {other: kept for other, kept in wanted.items() if not (same and other == name)}
        self.recipe = made.recipe

    def reset(self, name: str = "") -> None:
        """Takes back the change of one, or of all. Raises UsageError."""
        kept = {other: value for other, value in self.changes.items() if name and other != name}
        self.recipe = chosen_recipe(self.ground, kept)
        self.changes = kept

    @property
    def text(self) -> str:
        """The changes as a draft keeps them."""
        return " ".join(f"{name}={plain(value)}" for name, value in self.changes.items())

    @property
    def summary(self) -> str:
        """The settings in one line; what is changed is marked."""
        found = [f"{self.recipe.method}{CHANGED if 'method' in self.changes else ''}"]
        for hyper in self.hypers:
            if hyper.name not in ("method", "template_lengths"):
                mark = CHANGED if hyper.name in self.changes else ""
                found.append(f"{hyper.name} {plain(self.value(hyper.name))}{mark}")
        return "  ".join(found)


def summary_of(ground: Recipe | None, settings: str) -> str:
    """The settings of a draft in one line, or why they cannot be used; of an unknown model, what was set by hand."""
    try:
        choices = Choices(ground or Recipe(), recipe_settings(settings))
    except UsageError as error:
        return f"✗ {visible(error.message)}"
    return visible(choices.summary) if ground else visible(settings) or NO_PROFILE


class HyperRows(Rows):
    """One hyper-parameter a row. The screen that holds the rows does what the keys say."""

    HELP = (
        f"Every hyper-parameter of this edit. {CHANGED} marks what is not as the model's profile has it. "
        "What a method does not read is not listed."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,e", "screen.change", "Change", key_display="e", id="hyper.change", tooltip="Type another value"),
        Binding("space", "screen.next_choice", "Next choice", id="hyper.next", tooltip="Take the next of few choices"),
        Binding("d,delete", "screen.reset", "Default", key_display="d", id="hyper.reset", tooltip="Take the default"),
        Binding("D", "screen.reset_all", "All defaults", key_display="D", id="hyper.reset-all"),
    ]

    def __init__(self, choices: Choices, *, id: str | None = None) -> None:  # noqa: A002  textual's word
        super().__init__(id=id)
        self.choices = choices

    @property
    def selected(self) -> Hyper:
        """The one under the cursor."""
        return self.choices.hypers[self.validate_cursor(self.cursor)]

    def count(self) -> int:
        """How many the method reads."""
        return len(self.choices.hypers)

    def header(self, width: int) -> Text | None:
        """The names of the columns."""
        return Text(_columns(width, "  Setting", "Value", "Default", "Takes", "Meaning"), "bold")

    def row(self, index: int, width: int) -> Text:
        """One of them."""
        hyper = self.choices.hypers[index]
        mark = CHANGED if hyper.name in self.choices.changes else " "
        value, default = plain(self.choices.value(hyper.name)), plain(self.choices.default(hyper.name))
        cells = (f"{mark} {hyper.name}", value, default, hyper.range, hyper.meaning)
        return Text(_columns(width, *cells), "bold" if mark == CHANGED else "")


def _columns(width: int, name: str, value: str, default: str, takes: str, meaning: str) -> str:
    """The meaning has what is left; where that is little, the range is left to the line under the rows."""
    cells = [fit(name, 18), fit(value, 10), fit(default, 10)]
    if width >= 100:
        cells.append(fit(takes, 22))
    rest = width - sum(map(len, cells)) - len(cells)
    return " ".join((*cells, fit(meaning, max(rest, 0))))
