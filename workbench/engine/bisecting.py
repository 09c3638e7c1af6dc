"""Bisect: a binary search along a line of edits for the one after which a probe's outcome is another.

Every position is materialised and asked, never computed from its neighbour. Both sides of the change that is named were
asked themselves, so it is a change whatever lies elsewhere. Afterwards the model is as it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Literal

from workbench.engine.core import Core
from workbench.engine.edit_probes import probes_of_edit
from workbench.engine.states import State
from workbench.errors import EditError, UsageError
from workbench.events import Bisected, BisectStep, Event, ProbeResult
from workbench.probing.probes import Probe, ask, keep_unstated, settle
from workbench.stack.record import Edit, Factors

Check = Callable[[Core], ProbeResult]
"""Asks the model as it is now; `passed` says whether the probe holds."""


def bisect(
    core: Core, line: State, low: int, high: int, check: Check, *, cancelled: Callable[[], bool]
) -> Generator[Event, None, Bisected | None]:
    """Searches the positions `low` to `high` of `line`; yields a ProbeResult and a BisectStep a position, and the end.

    Positions whose edit is toggled off are passed over: nothing changes there. At most 2 + ceil(log2(n)) positions are
    asked, n the edits between.

    Returns:
        What was found; None if it was cancelled.

    Raises:
        UsageError: no active edit lies between the positions.
        StackError, VerificationError, BaseMismatch: an edit is damaged, or does not fit the model.
    """
    search = _Search(core, line, low, high, check)
    before = core.live.shown
    try:
        return (yield from search.run(cancelled))
    finally:
        core.live.show(before)


def answer_check(prompt: str, expected: str = "", rival: str = "") -> Check:
    """Holds while `expected` is more likely than `rival`; without a rival, while it is the likeliest of all.

    What is left open is settled where the probe is first asked: the answer there must stay.

    Raises:
        UsageError: the prompt is empty, or there is a rival and nothing expected.
    """
    if not prompt.strip():
        raise UsageError("The probe is empty.", "Write the beginning of a sentence.")
    if rival and not expected:
        raise UsageError("A rival is given, but no answer that is expected.", "Give it with --expect.")
    return _AnswerCheck(Probe("efficacy", prompt, expected, rival))


def recorded_check(core: Core, edit: Edit, number: int) -> Check:
    """The `number`-th probe of an edit, from 1, held against the base as `workbench probe` does.

    Of several requests, those are first: number 57 asks whether the 57th holds.

    Raises:
        UsageError: the edit has no such probe.
    """
    probes = probes_of_edit(edit)
    if not 1 <= number <= len(probes):
        there = f"Its probes go from 1 to {len(probes)}." if probes else "It has none at all."
        raise UsageError(f"Edit {edit.number} has no probe {number}.", there)
    loaded = core.loaded
    with core.live.at_base():
        (probe,) = settle(loaded.model, loaded.tokenizer, [probes[number - 1]])
    return _AnswerCheck(probe)


def perplexity_check(core: Core, limit: float, *, times_base: bool = False) -> Check:
    """Holds while the perplexity on the model's held-out text is at most `limit`, or `limit` times the base's.

    Raises:
        EditError: the model has no held-out text.
    """
    base = core.perplexity_base()
    if base is None:
        raise EditError(
            f"{core.loaded.name} has no held-out text to measure perplexity on.",
            "Put held_out.txt, one text a line, into the model's folder.",
        )
    most = limit * base if times_base else limit

    def asked(core: Core) -> ProbeResult:
        value = core.perplexity()
        held = value is not None and value <= most
        return ProbeResult(kind="perplexity", prompt="held-out text", value=value, before=base, passed=held)

    return asked


def said(result: ProbeResult) -> str:
    """What was measured, in words."""
    if result.kind == "perplexity":
        return f"perplexity {_number(result.value)}, {_number(result.before)} in the base"
    if result.kind == "command":
        return result.answer
    parts = [f"answers {result.answer.strip() or result.answer!r} {_number(result.p_answer)}"] if result.answer else []
    for answer, p in ((result.expected, result.p_expected), (result.rival, result.p_rival)):
        if answer and p is not None:
            parts.append(f"p({answer.strip() or answer!r}) {_number(p)}")
    return ", ".join(parts)


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


class _AnswerCheck:
    """A probe of the next token; what it leaves open is settled where it is first asked."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe

    def __call__(self, core: Core) -> ProbeResult:
        loaded = core.loaded
        (self._probe,) = keep_unstated(loaded.model, loaded.tokenizer, [self._probe])
        return ask(loaded.model, loaded.tokenizer, [self._probe])[0]


class _Search:
    """One search: the positions that count, and the updates up to each."""

    def __init__(self, core: Core, line: State, low: int, high: int, check: Check) -> None:
        if not 0 <= low <= high <= len(line.edits):
            raise UsageError(
                f"Positions {low} to {high} are no part of the line.",
                f"It goes from 0 (the base) to {len(line.edits)}.",
            )
        self._core, self._line, self._check = core, line, check
        active = {edit.id for edit in line.active}
        self._stops = [low, *(p for p in range(low + 1, high + 1) if line.edits[p - 1].id in active)]
        if len(self._stops) == 1:
            raise UsageError(
                f"There is no active edit between position {low} and position {high}.",
                "Name other ends with --from and --to.",
            )
        self._updates: dict[str, tuple[Factors, ...]] = {}
        self._asked = 0

    def run(self, cancelled: Callable[[], bool]) -> Generator[Event, None, Bisected | None]:
        near, far = 0, len(self._stops) - 1  # indices into the positions that count
        if cancelled():
            return None
        side = yield from self._ask(near, near, far, 1 + _halvings(far))
        if cancelled():
            return None
        if side == (yield from self._ask(far, near, far, _halvings(far))):
            return (yield from self._end("holds" if side else "fails", near, far))
        while far - near > 1:
            if cancelled():
                return None
            middle = (near + far) // 2
            same = side == (yield from self._ask(middle, near, far, 0, side))
            near, far = (middle, far) if same else (near, middle)
        return (yield from self._end("broke" if side else "began", near, far))

    def _ask(self, stop: int, near: int, far: int, left: int, side: bool | None = None) -> Generator[Event, None, bool]:
        """Shows a position and asks; with `side`, the outcome at `near`, says what lies open afterwards."""
        position = self._stops[stop]
        self._show(position)
        result = replace(self._check(self._core), side=str(position), edit=self._id(position))
        self._asked += 1
        holds = bool(result.passed)
        if side is not None:
            near, far = (stop, far) if holds == side else (near, stop)
            left = _halvings(far - near)
        yield result
        yield BisectStep(
            position=position,
            edit=self._id(position),
            holds=holds,
            low=self._stops[near],
            high=self._stops[far],
            left=left,
            said=said(result),
        )
        return holds

    def _show(self, position: int) -> None:
        off = self._line.stack.off
        edits = [edit for edit in self._line.edits[:position] if edit.id not in off]
        for edit in edits:
            if edit.id not in self._updates:
                self._core.live.adopt(edit)
                self._updates[edit.id] = self._line.factors(edit)
        self._core.live.show([self._updates[edit.id] for edit in edits])

    def _id(self, position: int) -> str:
        return self._line.edits[position - 1].id if position else ""

    def _end(
        self, outcome: Literal["broke", "began", "holds", "fails"], near: int, far: int
    ) -> Generator[Event, None, Bisected]:
        low, high = self._stops[near], self._stops[far]
        changed = outcome in ("broke", "began")
        found = Bisected(
            outcome=outcome, low=low, position=high, edit=self._id(high) if changed else "", probes=self._asked
        )
        yield found
        return found


def _halvings(width: int) -> int:
    """How many more positions must be asked to narrow `width` edits to one."""
    return math.ceil(math.log2(width)) if width > 1 else 0
