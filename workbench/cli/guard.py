"""The guard of `workbench apply`: its options, and who answers when an edit passes a limit."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import click

from workbench import settings
from workbench.cli.interrupt import Interrupt
from workbench.cli.output import Output
from workbench.errors import UsageError
from workbench.events import GuardTripped
from workbench.guards import MEASURES, OFF, Decision, Guard, of_settings, parse, told

KEYS: dict[str, Decision] = {"k": "keep", "d": "discard", "a": "continue"}
QUESTION = "k keep it, d discard it, a keep it and no longer ask about this:"
HINT = "--guard-answer keep takes such edits, --guard sets the limits, --no-guard takes them away."
_LOOK = 0.2
"""Seconds between two looks at whether Ctrl+C was pressed."""

HELP = "\n".join(
    [
        "\b",
        "Limits for --guard, the most that is let through (of division the least).",
        "An edit beyond one is not committed: on a terminal it is asked about,",
        "elsewhere discarded.",
        *(f"  {name:<10} {one.default:<4g} {one.meaning}" for name, one in MEASURES.items()),
    ]
)

Function = Callable[..., Any]


def guard_options(function: Function) -> Function:
    """--guard, --no-guard and --guard-answer, given to the command under these names."""
    for option in (
        click.option(
            "--guard-answer",
            type=click.Choice(["keep", "discard"]),
            help="What becomes of an edit beyond a limit. [default: asks on a terminal, else discard]",
        ),
        click.option("--no-guard", is_flag=True, help="No limits."),
        click.option("--guard", metavar="NAME=LIMIT,...", help="Other limits, as in ratio=0.25,perplexity=off."),
    ):
        function = option(function)
    return function


def chosen_guard(limits: str | None, off: bool) -> tuple[Guard, tuple[str, ...]]:
    """The user's own guard with `limits`, or none at all; and what cannot be used of the user's own.

    Raises:
        UsageError: `limits` are none, or both are given.
    """
    if off:
        if limits:
            raise UsageError("Both --guard and --no-guard are given.", "Give one of them.")
        return OFF, ()
    own, problems = of_settings(settings.read().guard)
    return own.changed(parse(limits or "")), problems


@dataclass
class Watcher:
    """A guard, and the answers to what it asks."""

    guard: Guard = field(default_factory=Guard)
    answer: str | None = None
    """What `--guard-answer` says."""
    problems: tuple[str, ...] = ()
    """What cannot be used of the user's settings."""
    _waived: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, given: dict[str, Any]) -> Watcher:
        """What the options say; checked before any model is loaded. Raises UsageError."""
        guard, problems = chosen_guard(given["guard"], given["no_guard"])
        return cls(guard, given["guard_answer"], problems)

    def decider(self, output: Output) -> Callable[[tuple[GuardTripped, ...]], Decision]:
        """Says what became of an edit, and asks where somebody can be asked."""

        def decide(tripped: tuple[GuardTripped, ...]) -> Decision:
            what = "; ".join(map(told, tripped))
            if {one.measure for one in tripped} <= self._waived:
                return "keep"
            if self.answer is None and not output.json and _somebody():
                answer = _ask(output, what)
            else:
                answer = cast("Decision", self.answer or "discard")
                output.tell(f"guard: {what}; {'kept' if answer == 'keep' else 'discarded'}.")
            if answer == "continue":
                self._waived |= {one.measure for one in tripped}
            return answer

        return decide


def _somebody() -> bool:
    """Whether a person reads what is asked and can answer."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _ask(output: Output, what: str) -> Decision:
    """The person's answer; discard after Ctrl+C, or where the terminal is gone."""
    while True:
        output.tell(f"guard: {what}.\n{QUESTION}")
        line = _line()
        if line is None:
            return "discard"
        if line[:1].lower() in KEYS:
            return KEYS[line[:1].lower()]


def _line() -> str | None:
    """A line from the terminal, "" if it is empty; None after Ctrl+C or at the end of what is typed."""
    interrupt = Interrupt.current
    while os.name != "nt" and not select.select([sys.stdin], [], [], _LOOK)[0]:
        if interrupt is not None and interrupt.pressed:
            return None
    line = sys.stdin.readline()
    return line.strip() if line else None
