"""Comparing weights with what the edits recorded: used by replay and verify. Says bit-identical only where it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from workbench import events as ev
from workbench.cli.interrupt import interruptible
from workbench.cli.lines import verified_line
from workbench.cli.output import Output
from workbench.errors import VerificationError


class Comparison:
    """What a run of comparisons found."""

    def __init__(self, output: Output, *, strict: bool, each: bool) -> None:
        """`strict`: what cannot be compared counts as not verified. `each`: a line for every position."""
        self._output, self._strict, self._each = output, strict, each
        self.found: list[ev.Verified] = []

    def follow(self, begin: Callable[[Callable[[], bool]], Iterable[ev.Event]]) -> None:
        """Shows every comparison as it comes; `begin` gets what to ask whether to stop. Raises Interrupted."""
        for event in interruptible(begin):
            self._output.event(event, "verify")
            if isinstance(event, ev.Verified):
                self.found.append(event)
                if self._each or event.outcome == "different":
                    self._output.line(verified_line(event))

    def judge(self) -> None:
        """Writes the last line: bit-identical, and of how many edits, or that it cannot be said. Raises as `check`."""
        self.check()
        unknown = sum(v.outcome == "not comparable" for v in self.found)
        self._output.line(_summary(self.found, unknown))

    def check(self) -> None:
        """Whether all agrees.

        Raises:
            VerificationError: a weight differs; or, if strict, cannot be compared.
        """
        wrong = [v for v in self.found if v.outcome == "different"]
        unknown = [v for v in self.found if v.outcome == "not comparable"]
        if wrong:
            raise VerificationError(
                f"Not bit-identical: {len(wrong)} of {len(self.found)} weights differ, the first at position "
                f"{wrong[0].position}.",
                "An edit file or the base is not what it was when the edit was made.",
            )
        if unknown and self._strict:
            raise VerificationError(
                f"{len(unknown)} of {len(self.found)} weights cannot be compared: {unknown[0].detail or 'no record'}.",
                "Use the --dtype that the edits were made in, with no edit toggled off.",
            )


def _summary(found: list[ev.Verified], unknown: int) -> str:
    if not found:
        return "0 edits: the base as it is"
    last = max(found, key=lambda v: v.position)
    edits = f"{last.position} {'edit' if last.position == 1 else 'edits'}"
    if unknown:
        return f"rebuilt, {unknown} not comparable: {edits}, weight sha256 {last.actual}"
    return f"bit-identical: {edits}, weight sha256 {last.actual}"
