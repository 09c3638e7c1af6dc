"""Verification and replay: every position materialised again and compared with what its edit recorded."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace as with_fields

from workbench.engine.core import Core
from workbench.errors import StackError, UsageError
from workbench.events import Event, Verified
from workbench.models.device import dtype_name
from workbench.stack.record import Edit, Factors

INTACT = "Put an intact copy of the file back; see workbench log."


def verify(core: Core, *, cancelled: Callable[[], bool]) -> Generator[Event, None, bool]:
    """Compares every position of the line.

    Raises:
        StackError, VerificationError: an edit file is damaged or missing; said after what can be compared.
    """
    agreed = yield from compare(core, len(core.stack.line), cancelled=cancelled)
    if core.stack.incomplete:
        raise StackError(core.stack.incomplete, INTACT)
    return agreed


def compare(core: Core, to: int, *, cancelled: Callable[[], bool]) -> Generator[Event, None, bool]:
    """Yields one Verified a position of the line up to `to`; the model is left alone; returns whether all agree.

    The weight before an edit is compared as well as the one after it: for the first edit of a module, the base's.

    Raises:
        StackError, VerificationError: an edit file is damaged.
    """
    shown: list[tuple[Factors, ...]] = []
    hashes: dict[str, str] = {}
    agreed = True
    for position, edit in enumerate(core.stack.line[:to], start=1):
        if cancelled():
            return False
        core.live.adopt(edit)
        before = {module: hashes.get(module) or core.live.would_be(module, shown) for module in edit.weights}
        if edit.id not in core.stack.off:
            shown.append(core.stack.factors(edit))
        hashes |= {module: core.live.would_be(module, shown) for module in edit.weights}
        verdict = _compare(core, edit, position, before, hashes)
        agreed = agreed and verdict.outcome == "bit-identical"
        yield verdict
    return agreed


def replay(core: Core, to: int | None, *, verify: bool, cancelled: Callable[[], bool]) -> Generator[Event, None, bool]:
    """Shows the line up to `to` in the model; with `verify` compares on the way.

    Raises:
        UsageError: the line has no position `to`.
        StackError, VerificationError: an edit file is damaged, or an applied one is missing.
    """
    if to is None and core.stack.cut_short:
        raise StackError(core.stack.incomplete, INTACT)
    end = core.stack.position if to is None else to
    line = core.stack.line
    if not 0 <= end <= len(line):
        raise UsageError(f"The stack has no position {end}.", f"It goes from 0 (the base) to {len(line)}.")
    agreed = (yield from compare(core, end, cancelled=cancelled)) if verify else True
    edits = [edit for edit in line[:end] if edit.id not in core.stack.off]
    for edit in edits:
        core.live.adopt(edit)
    core.live.show([core.stack.factors(edit) for edit in edits])
    return agreed


def _compare(core: Core, edit: Edit, position: int, before: dict[str, str], after: dict[str, str]) -> Verified:
    """The weights around `edit` against what it recorded; of several, the first that differs."""
    verdict = Verified(position=position, edit=edit.id, expected="", actual="", outcome="bit-identical")
    for module, recorded in edit.weights.items():
        verdict = with_fields(verdict, expected=recorded["after"], actual=after[module])
        here, there = dtype_name(core.live.parameter(module).dtype), edit.base.dtype
        if here != there:
            return with_fields(verdict, outcome="not comparable", detail=f"recorded in {there}, loaded in {here}")
        if core.stack.off & {e.id for e in core.stack.line[:position]}:
            return with_fields(verdict, outcome="not comparable", detail="an edit before it is toggled off")
        if before[module] != recorded["before"]:
            verdict = with_fields(verdict, expected=recorded["before"], actual=before[module])
            return with_fields(verdict, outcome="different", detail=f"the weight of {module} before it is another one")
        if after[module] != recorded["after"]:
            return with_fields(verdict, outcome="different", detail=f"the weight of {module} is another one")
    return verdict
