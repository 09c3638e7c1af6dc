"""Verification and replay: every position materialised again and compared with what its edit recorded."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
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


def verify_branches(core: Core, *, cancelled: Callable[[], bool]) -> Generator[Event, None, bool]:
    """Compares every edit that is not on the line, each once, on the line that leads to it. As `verify` otherwise."""
    others = core.stack.others
    parents = {edit.parent for edit in others}
    seen = {edit.id for edit in core.stack.line}
    agreed = True
    for tip in (edit for edit in others if edit.id not in parents):
        line = core.stack.line_at(tip.id)
        for event in compare(core, len(line), line=line, cancelled=cancelled):
            if isinstance(event, Verified) and event.edit not in seen:
                seen.add(event.edit)
                agreed = agreed and event.outcome == "bit-identical"
                yield event
    return agreed


def compare(
    core: Core, to: int, *, line: Sequence[Edit] | None = None, cancelled: Callable[[], bool]
) -> Generator[Event, None, bool]:
    """Yields one Verified a position of the line up to `to`; the model is left alone; returns whether all agree.

    `line` is another line than the current one.

    Each edit is put on the state that it was made on: the edits before it without those that were toggled off then. The
    weight before it is compared as well as the one after it; for the first edit of a module, the base's.

    Raises:
        StackError, VerificationError: an edit file is damaged.
    """
    state = _Recorded(core)
    agreed = True
    for position, edit in enumerate((core.stack.line if line is None else line)[:to], start=1):
        if cancelled():
            return False
        core.live.adopt(edit, hold=False)
        before, after = state.around(edit)
        verdict = _compare(core, edit, position, before, after)
        agreed = agreed and verdict.outcome == "bit-identical"
        yield verdict
    return agreed


class _Recorded:
    """The state that each edit of a line was made on, one after the other."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._before: list[tuple[Edit, tuple[Factors, ...]]] = []
        self._off: frozenset[str] = frozenset()
        self._shown: list[tuple[Factors, ...]] = []
        self._hashes: dict[tuple[str, str], str] = {}

    def around(self, edit: Edit) -> tuple[dict[str, str], dict[str, str]]:
        """sha256 of the weights that `edit` changes before and after it, by module."""
        if edit.off != self._off:
            self._off, self._hashes = edit.off, {}
            self._shown = [factors for earlier, factors in self._before if earlier.id not in edit.off]
        live, factors = self._core.live, self._core.stack.factors(edit)
        own = edit.base.dtype == dtype_name(self._core.loaded.dtype)  # if not, nothing can be compared
        held = {module: edit.base.dtype_of(module) if own else "" for module in edit.weights}
        before = {at[0]: self._hashes.get(at) or live.would_be(at[0], self._shown, at[1]) for at in held.items()}
        self._before.append((edit, factors))
        self._shown.append(factors)
        after = {module: live.would_be(module, self._shown, dtype) for module, dtype in held.items()}
        self._hashes = {at: sha for at, sha in self._hashes.items() if at[0] not in held}
        self._hashes |= {at: after[at[0]] for at in held.items()}
        return before, after


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
    off = [edit.id for edit in line[:end] if edit.id in core.stack.off]
    if verify and end and frozenset(off) != line[end - 1].off:
        yield _unrecorded(core, line[end - 1], end, len(off))
        return False
    return agreed


def _unrecorded(core: Core, last: Edit, position: int, off: int) -> Verified:
    """Says that no edit recorded the state at `position`, because other edits are off than when its last was made."""
    module = next(iter(last.weights))
    detail = f"{off} edit{' is' if off == 1 else 's are'} toggled off, and no edit recorded the weights of that state"
    if not off:
        detail = "edits are on that were off when the last one was made, so nothing recorded the weights of this state"
    return Verified(
        position=position,
        edit="",
        expected="",
        actual=core.live.hashes([module])[module],
        outcome="not comparable",
        detail=detail,
    )


def _compare(core: Core, edit: Edit, position: int, before: dict[str, str], after: dict[str, str]) -> Verified:
    """The weights around `edit` against what it recorded; of several, the first that differs."""
    verdict = Verified(position=position, edit=edit.id, expected="", actual="", outcome="bit-identical")
    for module, recorded in edit.weights.items():
        verdict = with_fields(verdict, expected=recorded["after"], actual=after[module])
        here, there = dtype_name(core.loaded.dtype), edit.base.dtype
        if here != there:
            return with_fields(verdict, outcome="not comparable", detail=f"recorded in {there}, loaded in {here}")
        if before[module] != recorded["before"]:
            verdict = with_fields(verdict, expected=recorded["before"], actual=before[module])
            return with_fields(verdict, outcome="different", detail=f"the weight of {module} before it is another one")
        if after[module] != recorded["after"]:
            return with_fields(verdict, outcome="different", detail=f"the weight of {module} is another one")
    return verdict
