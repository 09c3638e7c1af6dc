"""The stack as a list, newest edit first, the base last. A sign and a word say what each edit is."""

from __future__ import annotations

from rich.text import Text

from workbench import events as ev
from workbench.text import and_more, visible
from workbench.tui.keynames import named
from workbench.tui.state import State
from workbench.tui.widgets.panel import Rows
from workbench.tui.widgets.text import compact, fit, number, pair, size, tick

SIGNS = {"applied": "●", "undone": "↶", "broken": "✗", "off": "◌", "other": "◇"}
STYLES = {"applied": "green", "undone": "dim", "broken": "red", "off": "dim", "other": "dim"}
NO_EDITS = "No edits yet. Press ctrl+n to write one, ctrl+r to run the queue."

PROMPT_FROM, PERPLEXITY_FROM, WHEN_FROM, DAY_FROM, MARKS_FROM = 86, 104, 70, 96, 56
"""Widths from which these columns are shown."""
TRAVEL_TIP = "Undo or redo up to the edit under the cursor"


class StackTable(Rows):
    """Edits of the current line and, last, the base. The cursor stays on its edit when the stack changes."""

    HELP = (
        "Each row is one safetensors file. The stack is rebuilt from the pristine weights, so undo is exact.\n\n"
        "● applied   ↶ undone, redo brings it back   ✗ file missing or damaged   ◌ switched off"
    )

    _stack: ev.StackChanged | None = None
    _base = ""
    _filter: tuple[str, ...] = ()
    _verifying = ""

    def on_mount(self) -> None:
        """Writes the border."""
        self.name_it("Stack (newest first)")

    def show(self, state: State) -> None:
        """Draws the stack of `state`."""
        base = state.model.fingerprint if state.model else ""
        verifying = f"verifying {len(state.verified)}" if state.doing == "verify" else ""
        if state.stack is self._stack and base == self._base and verifying == self._verifying:
            return
        old, self._stack, self._base, self._verifying = self._stack, state.stack, base, verifying
        if old is not self._stack:
            self._follow(old, before=self.selected)
        self.name_it(self._title(), self._summary())
        self.refresh()

    def narrow(self, text: str) -> None:
        """Shows only edits that hold every word of `text`, whatever the case, in what `searched` looks at."""
        before = self.selected
        self._filter = tuple(text.casefold().split())
        self._rows = self._filtered()
        self._index = {row.id: index for index, row in enumerate(self._rows)}
        self.cursor = self._index.get(before.id, 0) if before else self.validate_cursor(len(self._rows))
        self.name_it(self._title(), self._summary())
        self.refresh()

    @property
    def selected(self) -> ev.EditRow | None:
        """The edit under the cursor; None: the base, or nothing."""
        return self._rows[self.cursor] if self.cursor < len(self._rows) else None

    @property
    def position(self) -> int:
        """The position under the cursor; 0 is the base."""
        row = self.selected
        return row.number if row else 0

    _rows: tuple[ev.EditRow, ...] = ()
    _index: dict[str, int] = {}  # noqa: RUF012  replaced, never changed

    def count(self) -> int:
        """The edits that pass the filter, and the base."""
        return len(self._rows) + 1 if self._stack else 0

    def empty(self) -> str:
        """While the stack is not read."""
        return "The stack is not read yet."

    def header(self, width: int) -> Text | None:
        """The names of the columns."""
        if self._stack and not self._stack.edits:
            return Text(fit(named(NO_EDITS), width), "dim")
        return Text(_columns(width, *_HEAD), "bold")

    def row(self, index: int, width: int) -> Text:
        """An edit, or the base."""
        if index < len(self._rows):
            row = self._rows[index]
            return Text(_columns(width, *_cells(row)), STYLES[row.state])
        base = self._stack.base if self._stack else ""
        text = " ".join(part for part in (base, self._base and f"@{self._base[:8]}", " pristine weights") if part)
        return Text(fit(f"◦ base       0  {text}", width), "dim")

    def _filtered(self) -> tuple[ev.EditRow, ...]:
        rows = self._stack.edits[::-1] if self._stack else ()
        return tuple(row for row in rows if _holds(row, self._filter)) if self._filter else rows

    def _follow(self, old: ev.StackChanged | None, before: ev.EditRow | None) -> None:
        """Keeps the cursor on its edit; one that was on the newest applied edit goes along with a new one."""
        self._rows = self._filtered()
        self._index = {row.id: index for index, row in enumerate(self._rows)}
        grown = old is not None and self._stack is not None and len(self._stack.edits) > len(old.edits)
        if old is None or (grown and (before.number if before else 0) == old.position):
            self.cursor = self._at_position()
        elif before is not None and before.id in self._index:
            self.cursor = self._index[before.id]
        else:
            self.cursor = self.validate_cursor(len(self._rows) if before is None else self.cursor)
        self.post_message(self.Moved(self))

    def _at_position(self) -> int:
        position = self._stack.position if self._stack else 0
        return next((i for i, row in enumerate(self._rows) if row.number == position), len(self._rows))

    def _title(self) -> str:
        broken = sum(row.state == "broken" for row in self._stack.edits) if self._stack else 0
        return "Stack (newest first)" + (f"   ✗ {broken} broken: o leaves it out, v verifies" if broken else "")

    def _summary(self) -> str:
        if self._stack is None:
            return ""
        edits = len(self._stack.edits)
        files = edits + self._stack.branches
        parts = [visible(self._stack.folder), f"{files} file{'' if files == 1 else 's'}", size(self._stack.bytes)]
        if self._stack.position:
            parts.append(f"drift {compact(self._stack.drift)}")
        if self._verifying:
            parts.insert(0, f"{self._verifying} of {edits}")
        if self._filter:
            parts.insert(0, f"{len(self._rows)} of {edits} match")
        if len(self._stack.names) > 1:
            parts.insert(0, f"branch {self._stack.branch}")
        if self._stack.branches:
            parts.append(f"{self._stack.branches} elsewhere")
        return "   ".join(parts)


def searched(row: ev.EditRow) -> str:
    """What a filter looks at: state, subject, prompt, target, note, method, tags and id."""
    words = (row.state, row.subject, row.prompt, row.target_new, row.note, row.method, *row.names, row.id)
    return " ".join(words).casefold()


def _holds(row: ev.EditRow, words: tuple[str, ...]) -> bool:
    text = searched(row)
    return all(word in text for word in words)


def about(row: ev.EditRow) -> str:
    """The subject; of an edit of several requests, the first one's, and how many more there are."""
    return row.subject + and_more(row.requests)


Cells = tuple[str, str, str, str, str, str, str, str, str, str, str, str]
_HEAD: Cells = ("", "", "#", "When", "Subject", "Prompt", "Target", "ratio", "Eff", "Para", "Neigh", "ppl")


def _cells(row: ev.EditRow) -> Cells:
    held = f"{row.efficacies[0] / max(row.efficacies[1], 1):.0%}" if row.efficacies else tick(row.efficacy)
    counts = (held, pair(row.paraphrases), pair(row.neighbours), number(row.perplexity, 2))
    when = row.created[5:16].replace("T", " ")
    ratio = compact(row.ratio)
    names = "".join(f" #{name}" for name in row.names)
    texts = (about(row) + names, row.prompt, row.target_new.strip())
    return (SIGNS[row.state], row.state, str(row.number), when, *texts, ratio, *counts)


def _columns(width: int, *cells: str) -> str:
    """The cells side by side: what matters least goes first when it gets narrow."""
    sign, state, place, when, subject, prompt, target, ratio, efficacy, para, neigh, ppl = cells
    left = f"{sign:<1} {state:<7} {place:>4} "
    if width >= WHEN_FROM:
        left += fit(when[-5:], 6) if width < DAY_FROM else fit(when, 12)
    right = f" {ratio:>7}"
    if width >= MARKS_FROM:
        right += f" {efficacy:^4} {fit(para, 5, right=True)} {fit(neigh, 5, right=True)}"
    if width >= PERPLEXITY_FROM:
        right += f" {ppl:>7}"
    room = max(width - len(left) - len(right) - 4, 4)
    if width >= PROMPT_FROM:
        texts = [fit(subject, room * 3 // 10), fit(prompt, room - room * 3 // 10 - room * 3 // 10 - 1)]
        middle = " ".join(texts) + " -> " + fit(target, room * 3 // 10)
    else:
        middle = fit(subject, room - room * 2 // 5) + " -> " + fit(target, room * 2 // 5)
    return fit(left + middle + right, width)
