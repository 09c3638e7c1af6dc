"""Every probe across the stack: what is expected, what the base gave, what the model gives now."""

from __future__ import annotations

from rich.text import Text

from workbench.events import ProbeResult, StackChanged
from workbench.tui.state import State
from workbench.tui.widgets.panel import Rows
from workbench.tui.widgets.probes import failing
from workbench.tui.widgets.text import fit, number, tick

WORDS = {"neighbourhood": "neighbour", "perplexity": "held-out"}
EDIT_FROM, CHANGE_FROM = 90, 76
"""Widths from which these columns are shown."""


class ProbeTable(Rows):
    """The results of the last probe command; before one, those of the last edit."""

    HELP = (
        "Every probe of every applied edit, asked on the base and on the stack.\n\n"
        "An efficacy or paraphrase probe holds when the new answer is likelier than the true one; "
        "a neighbour holds when its answer has not given way."
    )

    _probes: tuple[ProbeResult, ...] = ()
    _stack: StackChanged | None = None

    def on_mount(self) -> None:
        """Writes the border."""
        self.name_it("Probes across the stack")

    def show(self, state: State) -> None:
        """Draws the probes of `state`."""
        probes = state.probes or (state.run.probes if state.run else ())
        probes = tuple(probe for probe in probes if probe.kind != "generation")
        if probes != self._probes or state.stack is not self._stack:
            self._probes, self._stack = probes, state.stack
            self.cursor = self.validate_cursor(self.cursor)
            self.name_it(self._title(state), self._summary())
            self.refresh()

    @property
    def selected(self) -> ProbeResult | None:
        """The probe under the cursor."""
        return self._probes[self.cursor] if self.cursor < len(self._probes) else None

    def to_failing(self, step: int) -> bool:
        """Moves the cursor to the next failing probe after it (before it if `step` is -1), round the end."""
        found = failing(self._probes)
        if not found:
            return False
        if step > 0:
            self.cursor = next((i for i in found if i > self.cursor), found[0])
        else:
            self.cursor = next((i for i in reversed(found) if i < self.cursor), found[-1])
        return True

    @property
    def has_failing(self) -> bool:
        """Whether any probe does not hold."""
        return bool(failing(self._probes))

    def count(self) -> int:
        """How many probes."""
        return len(self._probes)

    def empty(self) -> str:
        """How to get some."""
        return "No probes yet. Escape, then R asks every probe of the applied edits."

    def header(self, width: int) -> Text | None:
        """The names of the columns."""
        return Text(_columns(width, ("Edit", "Kind", "Prompt", "expect", "base", "stack", "change")), "bold")

    def row(self, index: int, width: int) -> Text:
        """One probe."""
        probe = self._probes[index]
        return Text(
            _columns(width, probe_cells(probe, self._number(probe.edit))), "red" if probe.passed is False else ""
        )

    def _title(self, state: State) -> str:
        if not state.probes:
            return "Probes of the last edit, when it was made" if self._probes else "Probes"
        at, now = state.probes[-1].side, str(state.stack.position if state.stack else 0)
        return "Probes across the stack" + ("" if at == now else f" as it was @{at}; R asks again")

    def _number(self, edit: str) -> str:
        rows = self._stack.edits if self._stack else ()
        return next((str(row.number) for row in rows if row.id == edit), "-")

    def _summary(self) -> str:
        judged = [probe for probe in self._probes if probe.passed is not None]
        return f"{sum(p.passed is True for p in judged)} of {len(judged)} pass" if judged else ""


Cells = tuple[str, str, str, str, str, str, str]


def probe_cells(probe: ProbeResult, edit: str) -> Cells:
    """Edit, kind, prompt, what is expected, base, stack, change."""
    kind = WORDS.get(probe.kind, probe.kind)
    if probe.kind == "perplexity":
        now, digits = probe.value, 2
        said = f"{tick(probe.passed)} {number(now, 2)}" if probe.passed is not None else number(now, 2)
    else:
        now, digits = probe.p_expected, 2
        said = f"{tick(probe.passed)} {number(now, 2)} {probe.answer.strip()}"
    known = now is not None and probe.before is not None
    change = f"{now - probe.before:+.2f}" if known and now is not None and probe.before is not None else "-"
    prompt = probe.prompt or ("perplexity" if probe.kind == "perplexity" else "")
    return edit, kind, prompt, probe.expected.strip(), number(probe.before, digits), said, change


def _columns(width: int, cells: Cells) -> str:
    """The cells side by side; edit and change go first when it gets narrow."""
    edit, kind, prompt, expected, base, stack, change = cells
    left = (f"{edit:>4}  " if width >= EDIT_FROM else "") + fit(kind, 10) + " "
    right = f" {fit(base, 7)} {fit(stack, 24 if width >= EDIT_FROM else 16)}"
    if width >= CHANGE_FROM:
        right += f" {fit(change, 6, right=True)}"
    room = max(width - len(left) - len(right) - 1, 8)
    expect = min(room // 3, 14)
    return fit(f"{left}{fit(prompt, room - expect)} {fit(expected, expect)}{right}", width)
