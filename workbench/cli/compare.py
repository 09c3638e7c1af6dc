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

    def __init__(self, output: Output, *, strict: bool) -> None:
        """`strict`: what cannot be compared counts as not verified."""
        self._output, self._strict = output, strict
        self.found: list[ev.Verified] = []

    @property
    def differs(self) -> bool:
        """One weight is not what its edit recorded."""
        return any(v.outcome == "different" for v in self.found)

    def follow(self, begin: Callable[[Callable[[], bool]], Iterable[ev.Event]]) -> None:
        """Shows every comparison as it comes; `begin` gets what to ask whether to stop. Raises Interrupted."""
        for event in interruptible(begin):
            self._output.event(event, "verify")
            if isinstance(event, ev.Verified):
                self.found.append(event)
                self._output.line(verified_line(event))

    def finish(self) -> int:
        """The last line, and the exit code.

        Raises:
            VerificationError: a weight differs; or, if strict, could not be compared.
        """
        wrong = [v for v in self.found if v.outcome == "different"]
        unknown = [v for v in self.found if v.outcome == "not comparable"]
        if wrong:
            raise VerificationError(
                f"Not bit-identical: {len(wrong)} of {len(self.found)} weights differ, the first at position "
                f"{wrong[0].position}.",
                "The edit file, the base or this machine's arithmetic is not what it was.",
            )
        if unknown and self._strict:
            raise VerificationError(
                f"{len(unknown)} of {len(self.found)} weights cannot be compared: {unknown[0].detail or 'no record'}.",
                "Use the --dtype that the edits were made in.",
            )
        if unknown or not self.found:
            self._output.line("rebuilt, not compared")
        else:
            self._output.line(_identical(self.found))
        return self._output.done(0)


def _identical(found: list[ev.Verified]) -> str:
    last = max(found, key=lambda v: v.position)
    edits = last.position
    return f"bit-identical: {edits} {'edit' if edits == 1 else 'edits'}, weight sha256 {last.actual}"
