"""States of stacks as a person names them, and which edits stand in one and not in the other. Free of torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from workbench.errors import UsageError
from workbench.events import EditDiffers
from workbench.stack.record import Edit, Factors
from workbench.stack.view import StackView

NOW = "now"
"""The state that a stack stands at, unless a branch or tag is called so."""
MOST_DIGITS = 6
"""Longest word of digits that is a position, if the line is that long, and not the beginning of an id."""


@dataclass(frozen=True)
class State:
    """A line of edits, from the base to one of them, and the stack that holds their files."""

    name: str
    """As it was asked for."""
    stack: StackView
    edits: tuple[Edit, ...]
    """Oldest first, those that are toggled off included."""

    @property
    def active(self) -> tuple[Edit, ...]:
        """The edits that its weights are made of."""
        return tuple(edit for edit in self.edits if edit.id not in self.stack.off)

    def factors(self, edit: Edit) -> tuple[Factors, ...]:
        """The update of one of its edits. Raises StackError or VerificationError if the file is damaged."""
        return self.stack.factors(edit)


def state_of(stack: StackView, word: str) -> State:
    """The state that `word` names: a position of the line, an id or its beginning, a branch, a tag, "base" or "now".

    Raises:
        UsageError: it names nothing in this stack, or several things.
        StackError: an edit on the way there is missing.
    """
    if word.isdecimal() and len(word) <= MOST_DIGITS and (int(word) <= len(stack.line) or not stack.begins_id(word)):
        return State(word, stack, stack.line[: _position(stack, int(word))])
    if word == NOW and not {NOW} & {*stack.tags, *(branch.name for branch in stack.branches)}:
        return State(word, stack, stack.applied)
    return State(word, stack, stack.line_at(word))


def _position(stack: StackView, position: int) -> int:
    if position > len(stack.line):
        raise UsageError(f"There is no position {position}.", f"The line goes from 0 (the base) to {len(stack.line)}.")
    return position


def differences(a: State, b: State) -> tuple[EditDiffers, ...]:
    """The active edits that do not stand in both states under one id: first A's, in its order, then what B alone has.

    Two of them are one update at two places where their factors agree bit for bit, and one request with two updates
    where only what was asked for agrees.

    Raises:
        StackError, VerificationError: an edit's file is damaged.
    """
    own, other = {edit.id for edit in a.active}, {edit.id for edit in b.active}
    pairing = _Pairing([edit for edit in b.active if edit.id not in own], {**_known(a), **_known(b)})
    found = []
    for edit in a.active:
        if edit.id in other:
            continue
        partner = pairing.take(edit)
        found.append(_both(a, b, edit, partner) if partner else _one(edit, "A", _off_in(b, edit, "B")))
    return (*found, *(_one(edit, "B", _off_in(a, edit, "A")) for edit in pairing.left))


def same_update(first: Sequence[Factors], second: Sequence[Factors]) -> bool:
    """Whether two edits change the same modules by the same bytes."""
    bytes_of = [
        {one.module: (one.a.shape, one.a.tobytes(), one.b.tobytes()) for one in all_} for all_ in (first, second)
    ]
    return bytes_of[0] == bytes_of[1]


class _Pairing:
    """The edits of B that wait for their counterpart in A."""

    def __init__(self, waiting: Sequence[Edit], known: Mapping[str, Edit]) -> None:
        self._known = known
        self._waiting = {edit.id: edit for edit in waiting}
        self._by_root: dict[str, list[Edit]] = {}
        self._by_request: dict[object, list[Edit]] = {}
        for edit in waiting:
            self._by_root.setdefault(_root(edit, known), []).append(edit)
            self._by_request.setdefault(edit.requests, []).append(edit)

    @property
    def left(self) -> tuple[Edit, ...]:
        """Those that nothing was paired with, in order."""
        return tuple(self._waiting.values())

    def take(self, edit: Edit) -> Edit | None:
        """The counterpart of `edit`: by where it was copied from, else by its request."""
        candidates = [*self._by_root.get(_root(edit, self._known), ())]
        if not edit.imported:
            candidates += self._by_request.get(edit.requests, ())
        partner = next((one for one in candidates if one.id in self._waiting), None)
        return self._waiting.pop(partner.id) if partner else None


def _root(edit: Edit, known: Mapping[str, Edit]) -> str:
    """The id of the edit that `edit` was first copied from, as far as it can be followed."""
    return list(_origins(edit, known))[-1]


def _origins(edit: Edit, known: Mapping[str, Edit]) -> Iterator[str]:
    seen = {edit.id}
    yield edit.id
    origin = edit.copied_from
    while origin is not None and origin not in seen:
        seen.add(origin)
        yield origin
        origin = known[origin].copied_from if origin in known else None


def _known(state: State) -> dict[str, Edit]:
    return {edit.id: edit for edit in (*state.stack.others, *state.stack.line, *state.edits)}


def _off_in(state: State, edit: Edit, side: str) -> str:
    return f"toggled off in {side}" if edit.id in {one.id for one in state.edits} else ""


def _one(edit: Edit, side: str, detail: str) -> EditDiffers:
    request, in_a = edit.request, side == "A"
    return EditDiffers(
        how="only in A" if in_a else "only in B",
        prompt=request.prompt,
        subject=request.subject,
        target_new=request.target_new,
        edit_a=edit.id if in_a else "",
        number_a=edit.number if in_a else None,
        edit_b="" if in_a else edit.id,
        number_b=None if in_a else edit.number,
        detail=detail,
        requests=len(edit.requests),
    )


def _both(a: State, b: State, mine: Edit, theirs: Edit) -> EditDiffers:
    request = mine.request
    same = same_update(a.factors(mine), b.factors(theirs))
    return EditDiffers(
        how="moved" if same else "remade",
        prompt=request.prompt,
        subject=request.subject,
        target_new=request.target_new,
        edit_a=mine.id,
        number_a=mine.number,
        edit_b=theirs.id,
        number_b=theirs.number,
        detail="" if mine.requests == theirs.requests else f"B asks for {_asked(theirs)}",
        requests=len(mine.requests),
    )


def _asked(edit: Edit) -> str:
    return edit.request.target_new if len(edit.requests) == 1 else f"{len(edit.requests)} requests"
