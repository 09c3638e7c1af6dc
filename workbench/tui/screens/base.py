"""The frame that all places share: two lines of head, a body, one line of keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.reactive import Reactive
from textual.screen import Screen
from textual.widget import Widget

from workbench.tui.bench import Bench, bench
from workbench.tui.state import State
from workbench.tui.widgets.banner import Banner
from workbench.tui.widgets.head import Head
from workbench.tui.widgets.keys import KeyLine

if TYPE_CHECKING:
    from textual import events
    from textual.app import ComposeResult

WIDTHS = [(0, "-narrow"), (100, "-normal"), (120, "-wide")]
HEIGHTS = [(0, "-low"), (24, "-short"), (34, "-tall")]
"""Classes that a screen carries, by the columns and the rows it has at least."""
HELPED = "-helped"
"""Class of a screen beside which help is open."""


def _class_of(extent: int, classes: list[tuple[int, str]]) -> str:
    return max((least, name) for least, name in classes if extent >= least)[1]


class WorkbenchScreen(Screen[None]):
    """A place. Subclasses give `place`, `compose_body()`, and `show(state)` if they hold engine data.

    The screen carries the class -narrow under 100 columns, -wide from 120, else -normal; and -low under 24 rows, -tall
    from 34, else -short.
    """

    focused: Reactive[Widget | None] = Reactive(None, repaint=False)
    """Repainted are the parts that lose and get the focus, not all of the screen."""
    HORIZONTAL_BREAKPOINTS = WIDTHS
    VERTICAL_BREAKPOINTS = HEIGHTS

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "app.focus_next", "Next part", id="focus.next", show=False, priority=True),
        Binding("shift+tab", "app.focus_previous", "Part before", id="focus.previous", show=False, priority=True),
    ]
    """With priority, so that what is typed ahead of a slow terminal goes to the field it was meant for."""

    place: ClassVar[str] = ""
    """The place's name in the head: "edit", "live", "history", "compare", "log"."""

    _styled: bool | None = None
    """Whether the terminal had the focus when styles were computed last; None: they never were."""

    def on_compose(self) -> None:
        """The size is known before the parts are: they are styled and laid out for it at once, and once only."""
        size = self.app.size
        wide, high = _class_of(size.width, WIDTHS), _class_of(size.height, HEIGHTS)
        self.add_class(wide, high, update=False)
        self.app.stylesheet.apply(self)

    @property
    def bench(self) -> Bench:
        """The app, as screens know it."""
        return bench(self)

    def compose(self) -> ComposeResult:
        """Head, body, keys."""
        yield Head(self.place)
        yield Banner()
        with Container(id="body"):
            yield from self.compose_body()
        yield KeyLine()

    def compose_body(self) -> ComposeResult:
        """What is between head and keys."""
        yield from ()

    def on_mount(self) -> None:
        """Draws what is known before the first event."""
        self._styled = self.app.app_focus
        self.refresh_state(self.bench.state)

    def on_screen_resume(self, event: events.ScreenResume) -> None:
        """Catches up with what happened while another place was shown, and is drawn at once, not two frames later.

        Another theme, another size and what panels change reach a place that is not shown as well; only whether the
        terminal has the focus does not, and only then are all its styles computed anew.
        """
        if self.is_mounted:
            event.refresh_styles, self._styled = self._styled is not self.app.app_focus, self.app.app_focus
            self.refresh_state(self.bench.state)
            self.call_later(self._on_timer_update)

    def refresh_state(self, state: State) -> None:
        """The app calls this when the state changed: head, body, and which keys work."""
        head = self.query_one_optional(Head)
        if head is None:
            return  # the screen is being built, or taken down
        head.show(state)
        self.query_one(Banner).show(state)
        self.show(state)
        self.refresh_bindings()

    def free(self) -> bool | None:
        """Whether the engine takes a job now; None, so that keys are grey, while it does not."""
        return True if self.bench.state.engine == "idle" else None

    def show(self, state: State) -> None:
        """Hands `state` to the body's widgets."""
