"""The guard as the screen keeps it: the person's limits, what a run no longer asks about, what has been answered."""

from __future__ import annotations

from collections.abc import Mapping

from workbench import events as ev
from workbench import settings
from workbench.guards import Guard, of_settings
from workbench.tui.state import Run, State

SECTION = "guard"
"""Of the settings."""


class Guarding:
    """Limits, and the answers of one run of the queue."""

    def __init__(self) -> None:
        self.limits, self.problems = of_settings(settings.read().guard)
        self._waived: frozenset[str] = frozenset()
        self._answered: ev.GuardAsked | None = None
        self.put_off: ev.GuardAsked | None = None
        """The question that was closed without an answer: it is asked again at a key only."""

    @property
    def guard(self) -> Guard:
        """What the next edit is held to."""
        return self.limits.without(sorted(self._waived))

    def begin(self) -> None:
        """A run begins: everything is asked about again."""
        self._waived = frozenset()

    def question(self, state: State) -> ev.GuardAsked | None:
        """What the engine waits to be told; None: nothing."""
        asked = state.run.asked if state.run and state.run.running else None
        return None if asked is self._answered else asked

    def answer(self, run: Run, answer: str) -> None:
        """The question of `run` is answered; continue waives what tripped for the rest of the run."""
        self._answered = run.asked
        if answer == "continue":
            self._waived |= {one.measure for one in run.tripped}

    def keep(self, values: Mapping[str, float | None]) -> None:
        """Takes new limits and remembers them.

        Raises:
            UsageError: a value is none that a limit can have. StorageError: the disk would not take it.
        """
        self.limits = self.limits.changed(values)
        own = self.limits.to_json().items()
        settings.remember(SECTION, {name: False if value is None else value for name, value in own})
