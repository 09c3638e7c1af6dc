"""The stack between an engine and its screen: every row once, then only those that changed, a few hundred a line.

Both ends keep the list as it was told last. A reader that has missed a line notices, and asks for the whole.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from workbench import events as ev

if TYPE_CHECKING:
    from workbench.stack_rows import RowState

ROWS = 500
"""Rows of one line at most: 2,000 bytes each are a megabyte."""


class Teller:
    """The engine's end: makes of each StackChanged the lines that say it."""

    def __init__(self) -> None:
        self._rows: tuple[ev.EditRow, ...] | None = None
        self._version = 0

    def forget(self) -> None:
        """The next change is told whole."""
        self._rows = None

    def tell(self, changed: ev.StackChanged) -> Iterator[ev.StackDelta]:
        """The lines for `changed`; once begun, all of them must be sent."""
        before, self._rows = self._rows, changed.edits
        fresh = _fresh(before or (), changed.edits)
        states = tuple((state, sum(1 for _ in run)) for state, run in groupby(row.state for row in changed.edits))
        parts = [fresh[start : start + ROWS] for start in range(0, len(fresh), ROWS)] or [[]]
        for number, part in enumerate(parts, start=1):
            self._version += 1
            yield ev.StackDelta(
                now=dataclasses.replace(changed, edits=()),
                edits=tuple(changed.edits[index] for index in part),
                at=tuple(part),
                version=self._version,
                whole=before is None and number == 1,
                more=number < len(parts),
                length=len(changed.edits),
                states=states if number == len(parts) else (),
            )


def _fresh(before: Sequence[ev.EditRow], now: Sequence[ev.EditRow]) -> list[int]:
    """Where `now` has a row that `before` has not, but for its state."""
    return [
        index
        for index, row in enumerate(now)
        if index >= len(before) or not (row is before[index] or _same_but_state(row, before[index]))
    ]


def _same_but_state(one: ev.EditRow, other: ev.EditRow) -> bool:
    return one == (other if one.state == other.state else dataclasses.replace(other, state=one.state))


class Missed(ValueError):  # noqa: N818  says what it is
    """A line does not follow the last one that was read: the whole must be asked for."""


class Listener:
    """The screen's end: makes of the lines the StackChanged that they say."""

    def __init__(self) -> None:
        self._rows: list[ev.EditRow] = []
        self._version = 0

    def hear(self, event: ev.Event) -> ev.Event | None:
        """`event` itself if it is of another kind; the stack when its last line is here; None until then.

        Raises:
            Missed: a line is lost, or makes no sense after those before it; the next whole is taken again.
        """
        if not isinstance(event, ev.StackDelta):
            return event
        if not event.whole and event.version != self._version + 1:
            raise Missed(f"line {event.version} of the stack came after line {self._version}")
        self._version = event.version
        try:
            return self._take(event)
        except (IndexError, TypeError, ValueError) as error:
            self._version = -1
            raise Missed(f"line {event.version} of the stack makes no sense") from error

    def _take(self, delta: ev.StackDelta) -> ev.StackChanged | None:
        rows = [] if delta.whole else self._rows
        self._rows = rows = rows[: delta.length]
        for index, row in zip(delta.at, delta.edits, strict=True):
            if index == len(rows):
                rows.append(row)
            else:
                rows[index] = row
        if delta.more:
            return None
        _set_states(rows, delta.states, delta.length)
        return dataclasses.replace(delta.now, edits=tuple(rows), job=delta.job, seq=delta.seq, t=delta.t)


def _set_states(rows: list[ev.EditRow], states: Sequence[tuple[RowState, int]], length: int) -> None:
    """Puts the states into `rows`. Raises ValueError if they are not for so many."""
    if len(rows) != length or sum(count for _, count in states) != length:
        raise ValueError("rows are missing")
    start = 0
    for state, count in states:
        for index in range(start, start + count):
            if rows[index].state != state:
                rows[index] = dataclasses.replace(rows[index], state=state)
        start += count
