"""Every probe in two states of the stack: what is expected, what each answered, what changed, what fails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType

from workbench import events as ev
from workbench.tui.state import Run, State
from workbench.tui.watched import FILTERS, Filter, Watched, judged, recorded, summary, watched
from workbench.tui.widgets.panel import Rows
from workbench.tui.widgets.text import fit, number, tick

EDIT_FROM, CHANGE_FROM, ANSWERS_FROM = 90, 76, 104
"""Widths from which these columns are shown."""
FILTER_WORDS = {"neighbourhood": "neighbours", "paraphrase": "paraphrases", "added": "added ones"}


@dataclass(frozen=True)
class Asked:
    """What the probes were last asked for."""

    words: tuple[str, str]
    """A and B, as the engine was asked."""
    names: tuple[str, str]
    """The same as the screen calls them."""
    stale: bool = False
    """The stack has changed since."""


class ProbeTable(Rows):
    """The results of the last probe command; before one, those of the last edit."""

    HELP = (
        "Every probe of every edit that is active in A or B, and those added with a, asked in both.\n\n"
        "An efficacy or paraphrase probe holds when the new answer is likelier than the true one; a neighbour when its "
        "answer has not given way; held-out perplexity within the guard's limit.\n\n"
        "The number beside a tick is p(expected); from 110 columns on, the answer that was given and its p."
    )

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f", "screen.filter", "Filter", id="probes.filter", tooltip="All, failing, or of one kind"),
        Binding("delete", "screen.remove_probe", "Remove", id="probes.remove", show=False, tooltip="An added probe"),
    ]

    _results: tuple[ev.ProbeResult, ...] = ()
    _said: object = None
    _asked: Asked | None = None
    _stack: ev.StackChanged | None = None
    _added = 0
    _busy = False
    _of_run = ""
    _again = False
    _all: tuple[Watched, ...] = ()
    _rows: tuple[Watched, ...] = ()
    _filter: Filter = "all"

    def on_mount(self) -> None:
        """Writes the border."""
        self.name_it("Probes across the stack")

    def show(self, state: State, asked: Asked | None = None, added: int = 0, perplexity: float | None = None) -> None:
        """Draws the probes of `state`: those of the states that were `asked`, else those of the last edit.

        `added` is how many probes a person has added; `perplexity` how much it may rise over the base's, as a share.
        """
        again = () if asked else asked_again(state)
        results = state.probes if asked else again or (state.run.probes if state.run else ())
        busy, title = state.doing == "probe", _of_again(again) or of_run(state.run)
        said = asked, added, busy, perplexity, title
        if said == self._said and results == self._results and state.stack is self._stack:
            return
        if state.stack is not self._stack:
            rows = state.stack.edits if state.stack else ()
            self._numbers = {row.id: str(row.number) for row in rows}
        self._results, self._stack, self._said = results, state.stack, said
        self._asked, self._added, self._busy, self._of_run, self._again = asked, added, busy, title, bool(again)
        found = watched(results, *asked.words) if asked else recorded(results)
        self._all = judged(found, perplexity)
        self._narrow()

    _numbers: dict[str, str] = {}  # noqa: RUF012  replaced, never changed

    @property
    def rows(self) -> tuple[Watched, ...]:
        """All probes, whatever the filter."""
        return self._all

    @property
    def names(self) -> tuple[str, str]:
        """What the two states are called."""
        return self._asked.names if self._asked else ("base", "then") if self._again else ("before", "after")

    @property
    def filter(self) -> Filter:
        """What is shown."""
        return self._filter

    def next_filter(self) -> None:
        """Goes on to the next kind of probes, and round."""
        self._filter = FILTERS[(FILTERS.index(self._filter) + 1) % len(FILTERS)]
        self._narrow()

    def _narrow(self) -> None:
        before = self.selected
        self._rows = tuple(row for row in self._all if row.passes(self._filter))
        keys = [(row.edit, row.kind, row.prompt) for row in self._rows]
        at = (before.edit, before.kind, before.prompt) if before else None
        self.cursor = keys.index(at) if at in keys else self.validate_cursor(self.cursor)
        self.name_it(self._title(), self._summary())
        self.refresh()

    @property
    def selected(self) -> Watched | None:
        """The probe under the cursor."""
        return self._rows[self.cursor] if self.cursor < len(self._rows) else None

    def to_failing(self, step: int) -> bool:
        """Moves the cursor to the next failing probe after it (before it if `step` is -1), round the end."""
        found = [i for i, row in enumerate(self._rows) if row.passed is False]
        if not found:
            return False
        if step > 0:
            self.cursor = next((i for i in found if i > self.cursor), found[0])
        else:
            self.cursor = next((i for i in reversed(found) if i < self.cursor), found[-1])
        return True

    @property
    def has_failing(self) -> bool:
        """Whether any probe that is shown does not hold."""
        return any(row.passed is False for row in self._rows)

    def count(self) -> int:
        """How many probes are shown."""
        return len(self._rows)

    def empty(self) -> str:
        """How to get some."""
        if self._busy:
            return "Asking the probes ..."
        if self._all:
            return f"No probe is {FILTER_WORDS.get(self._filter, self._filter)}; f shows others."
        if self._asked:
            return "Nothing was asked: no edit with probes is active in A or B. a adds a probe."
        added = f" and the {self._added} that were added" if self._added else ""
        return f"No probes yet. Escape, then R asks those of the edits{added} in A and B; a adds one."

    def header(self, width: int) -> Text | None:
        """The names of the columns."""
        names = ("A  " + self.names[0], "B  " + self.names[1]) if self._asked else self.names
        return Text(_columns(width, ("Edit", "Kind", "Prompt", "expect", *names, "change")), "bold")

    def row(self, index: int, width: int) -> Text:
        """One probe."""
        row = self._rows[index]
        edit = self._numbers.get(row.edit, "-" if row.kind == "perplexity" else "?" if row.edit else "+")
        return Text(_columns(width, probe_cells(row, edit, wide=width >= ANSWERS_FROM)), _style(row))

    def _title(self) -> str:
        if not self._asked:
            return self._of_run if self._all else "Probes across the stack"
        stale = "   the stack has changed: R asks again" if self._asked.stale else ""
        return "Probes across the stack" + stale

    def _summary(self) -> str:
        asking = f"asking, {len(self._results)} answers so far" if self._busy and self._asked else ""
        shown = (
            "" if self._filter == "all" else f"{len(self._rows)} shown: {FILTER_WORDS.get(self._filter, self._filter)}"
        )
        return "   ".join(part for part in (asking, shown, summary(self._all)) if part)


def asked_again(state: State) -> tuple[ev.ProbeResult, ...]:
    """What the applied edits' probes answered when they were asked from History, if that was after the last edit."""
    places = {result.side for result in state.probes}
    newer = state.run is None or all(result.t >= state.run.started.t for result in state.probes)
    return state.probes if newer and len(places) == 1 and places.pop().isdecimal() else ()


def _of_again(results: tuple[ev.ProbeResult, ...]) -> str:
    return f"Probes of the edits applied at position {results[0].side}, asked again" if results else ""


def of_run(run: Run | None) -> str:
    """What the probes of `run` tell of."""
    if run is None or run.committed:
        return "Probes of the last edit, when it was made"
    if run.running:
        return "Probes of the edit that is being made"
    return "Probes of an edit that was not kept"


Cells = tuple[str, str, str, str, str, str, str]


def probe_cells(row: Watched, edit: str, *, wide: bool) -> Cells:
    """Edit, kind, prompt, what is expected, A, B, change; with `wide` the answers that were given."""
    a, b = _said(row.a, wide=wide, judged=False), _said(row.b, wide=wide, judged=True)
    change = "-" if row.change is None else f"{row.change:+.2f}" if abs(row.change) >= 0.005 else "0.00"
    return edit, row.word, row.prompt or row.word, row.expected.strip(), a, b, change


def _said(result: ev.ProbeResult | None, *, wide: bool, judged: bool) -> str:
    """What one state answered; in A, where edits are not expected to hold, only what does hold is ticked."""
    if result is None:
        return ""
    mark = tick(result.passed) if result.passed or (judged and result.passed is False) else ""
    if result.kind == "perplexity":
        return f"{number(result.value, 2)} {mark}".strip()
    if wide and result.answer:
        return f"{fit(result.answer.strip() or '␣', 12)} {number(result.p_answer, 2)} {mark}"
    return f"{mark or ' '} {number(result.p_expected, 2)} {result.answer.strip()}".rstrip()


def _style(row: Watched) -> str:
    return "red" if row.passed is False else ""


def _columns(width: int, cells: Cells) -> str:
    """The cells side by side; edit and change go first when it gets narrow."""
    edit, kind, prompt, expected, a, b, change = cells
    left = (f"{edit:>4}  " if width >= EDIT_FROM else "") + fit(kind, 10) + " "
    side = 20 if width >= ANSWERS_FROM else 13
    right = f" {fit(a, side)} {fit(b, side)}"
    if width >= CHANGE_FROM:
        right += f" {fit(change, 6, right=True)}"
    room = max(width - len(left) - side * 2 - 2 - (7 if width >= CHANGE_FROM else 0) - 1, 8)
    expect = min(room // 3, 14)
    return fit(f"{left}{fit(prompt, room - expect)} {fit(expected, expect)}{right}", width)
