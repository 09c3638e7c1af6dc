"""Verification and replay: every position materialised again and compared with what its edit recorded."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace as with_fields

from workbench.engine.core import Core
from workbench.errors import UsageError
from workbench.events import Event, Verified
from workbench.models.device import dtype_name
from workbench.stack.record import Edit, Factors


def compare(core: Core, to: int, *, cancelled: Callable[[], bool]) -> Generator[Event, None, bool]:
    """Yields one Verified a position of the line up to `to`; the model is left alone; returns whether all agree.

    Raises:
        StackError, VerificationError: an edit file is damaged.
    """
    shown: list[tuple[Factors, ...]] = []
    agreed = True
    for position, edit in enumerate(core.stack.line[:to], start=1):
        if cancelled():
            return False
        core.live.adopt(edit.base)
        if edit.id not in core.stack.off:
            shown.append(core.stack.factors(edit))
        verdict = _compare(core, edit, position, shown)
        agreed = agreed and verdict.outcome == "bit-identical"
        yield verdict
    return agreed


def replay(core: Core, to: int | None, *, verify: bool, cancelled: Callable[[], bool]) -> Generator[Event, None, bool]:
    """Shows the line up to `to` in the model; with `verify` compares on the way.

    Raises:
        UsageError: the line has no position `to`.
        StackError, VerificationError: an edit file is damaged.
    """
    end = core.stack.position if to is None else to
    line = core.stack.line
    if not 0 <= end <= len(line):
        raise UsageError(f"The stack has no position {end}.", f"It goes from 0 (the base) to {len(line)}.")
    agreed = (yield from compare(core, end, cancelled=cancelled)) if verify else True
    edits = [edit for edit in line[:end] if edit.id not in core.stack.off]
    for edit in edits:
        core.live.adopt(edit.base)
    core.live.show([core.stack.factors(edit) for edit in edits])
    return agreed


def _compare(core: Core, edit: Edit, position: int, shown: list[tuple[Factors, ...]]) -> Verified:
    """What the weights would be after `shown`, against what `edit` recorded."""
    for module, recorded in edit.weights.items():
        actual = core.live.would_be(module, shown)
        here, there = dtype_name(core.live.parameter(module).dtype), edit.base.dtype
        verdict = Verified(
            position=position, edit=edit.id, expected=recorded["after"], actual=actual, outcome="bit-identical"
        )
        if here != there:
            return with_fields(verdict, outcome="not comparable", detail=f"recorded in {there}, loaded in {here}")
        if core.stack.off & {e.id for e in core.stack.line[:position]}:
            return with_fields(verdict, outcome="not comparable", detail="an edit before it is toggled off")
        if actual != recorded["after"]:
            return with_fields(verdict, outcome="different", detail=f"the weight of {module} is another one")
    return verdict
