"""Joining: a stack takes in another one of the same base, with its edits, branches, tags and notes; ids are kept.

Nothing here is ever lost by it: a name that stands for something else here goes on standing for it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from workbench.stack.index import Index
from workbench.stack.journal import What
from workbench.stack.lineage import line_of
from workbench.stack.names import is_name, next_name
from workbench.stack.reconcile import extended
from workbench.stack.record import Edit
from workbench.stack.store import Stack
from workbench.stack.view import StackView

Outcome = Literal["new", "grown", "same", "ahead", "branch"]


@dataclass(frozen=True)
class Joined:
    """What came of it."""

    outcome: Outcome
    """Ours became theirs, grew to it, was the same, has gone on from it, or holds it as a branch now."""
    added: int
    """Edits that were not here."""
    branch: str = ""
    """The branch that their line became."""
    left: tuple[str, ...] = ()
    """Their branches and tags whose names stand for something else here."""


def join(ours: Stack, theirs: StackView, what: What, *, name: str) -> Joined:
    """Takes in `theirs`, all or nothing.

    Where ours is empty it becomes theirs. Where our line is the beginning of theirs it grows, and stands where theirs
    stands if all of it was applied. Where both have gone on, their line becomes a branch called `name`, or the like.

    Raises:
        BaseMismatch: theirs belongs to another base.
        StackError, VerificationError: an edit of theirs is damaged or missing; nothing has changed.
        StorageError: the disk would not take it; nothing has changed.
    """
    edits = {edit.id: edit for view in (theirs, ours) for edit in (*view.line, *view.others)}
    plan = _Plan(ours.index, theirs.index, edits)
    outcome, branch, left = plan.settle(name)
    here = {edit.id for edit in (*ours.line, *ours.others)}
    wanted = [ident for ident in plan.reached() if ident not in here]
    finished = plan.finished(wanted)
    if finished != ours.index:
        ours.adopt(finished, (theirs.read(edits[ident]) for ident in wanted), what, text=name)
    return Joined(outcome, len(wanted), branch, left)


class _Plan:
    """The index as it shall be."""

    def __init__(self, ours: Index, theirs: Index, edits: Mapping[str, Edit]) -> None:
        self.ours, self.theirs, self.edits = ours, theirs, edits
        self.index = ours

    def settle(self, name: str) -> tuple[Outcome, str, tuple[str, ...]]:
        """Decides about the line, the branches and the tags; says the outcome, the branch and what was left out."""
        if not self.ours.order and not self.ours.branches and not self.ours.tags:
            self.index = dataclasses.replace(self.theirs, base=self.ours.base or self.theirs.base)
            return "new", "", ()
        partner = self.ours.branch if self.ours.branch in self.theirs.tips else self.theirs.branch
        outcome, branch = self._line(name) if partner == self.ours.branch else self._branch(partner, name)
        left = [*self._branches(partner), *self._tags()]
        return outcome, branch, tuple(left)

    def _line(self, name: str) -> tuple[Outcome, str]:
        """Lets our line grow to the one of the same name, or makes that a branch."""
        wanted = self.theirs.tips[self.ours.branch]
        relation = self._relation(self.ours.tip, wanted)
        if relation == "grown":
            order, position = self._ids(wanted), self.ours.position
            if position == len(self.ours.order):
                position = self.theirs.position if self.ours.branch == self.theirs.branch else len(order)
            self.index = dataclasses.replace(self.index, order=order, position=position)
        return (relation, "") if relation != "branch" else self._beside(name, wanted)

    def _branch(self, partner: str, name: str) -> tuple[Outcome, str]:
        """Their line, where our line has another name: the branch of that name grows, or begins."""
        wanted = self.theirs.tips[partner]
        if partner not in self.ours.branches:
            return self._beside(partner, wanted)
        relation = self._relation(self.ours.branches[partner], wanted)
        if relation == "branch":
            return self._beside(name, wanted)
        if relation == "grown":
            self.index = dataclasses.replace(self.index, branches={**self.index.branches, partner: wanted})
        return relation, partner

    def _beside(self, name: str, tip: str | None) -> tuple[Outcome, str]:
        """Makes their line a branch."""
        branch = self._branch_for(name, tip)
        self.index = dataclasses.replace(self.index, branches={**self.index.branches, branch: tip})
        return "branch", branch

    def _branch_for(self, name: str, tip: str | None) -> str:
        """`name`, if it is free or a branch that `tip` goes on from; else a name like it."""
        name = name if is_name(name) else "theirs"
        before = self.ours.branches.get(name, tip)
        if name not in self._taken or (name in self.ours.branches and self._relation(before, tip) in ("same", "grown")):
            return name
        return next_name(name, self._taken)

    @property
    def _taken(self) -> set[str]:
        return {*self.index.tips, *self.index.tags}

    def _branches(self, partner: str) -> Iterator[str]:
        """Takes the other branches over; yields the names of those left out."""
        for name, tip in self.theirs.tips.items():
            if name == partner:
                continue
            mine = self.index.branches.get(name)
            if name in self._taken and (name not in self.index.branches or self._relation(mine, tip) == "branch"):
                yield name
            elif name not in self._taken or self._relation(mine, tip) == "grown":
                self.index = dataclasses.replace(self.index, branches={**self.index.branches, name: tip})

    def _tags(self) -> Iterator[str]:
        for name, ident in self.theirs.tags.items():
            if name not in self._taken:
                self.index = dataclasses.replace(self.index, tags={**self.index.tags, name: ident})
            elif self.index.tags.get(name) != ident:
                yield name

    def _relation(self, mine: str | None, other: str | None) -> Outcome:
        """What has to be done to `mine`, the tip of a line here, to have what leads to `other`."""
        if mine == other:
            return "same"
        own, new = self._ids(mine), self._ids(other)
        if new[: len(own)] == own:
            return "grown"
        return "ahead" if own[: len(new)] == new else "branch"

    def _ids(self, tip: str | None) -> tuple[str, ...]:
        return line_of(self.edits, tip) or ()

    def reached(self) -> list[str]:
        """Ids of all edits that a branch or tag leads to, parents first."""
        ends = [*self.index.tips.values(), *self.index.tags.values()]
        return list(dict.fromkeys(ident for end in ends for ident in self._ids(end)))

    def finished(self, added: Sequence[str]) -> Index:
        """The index with base, notes and what is toggled off, now that `added` come in."""
        base, known = self.index.base, {*added, *self.ours.order, *self.reached()}
        for ident in added:
            base = extended(base, self.edits[ident])
        off = [ident for ident in self.theirs.off if ident in set(added)]
        notes = {ident: text for ident, text in self.theirs.notes.items() if ident in known}
        kept = [ident for ident in self.ours.off if ident not in off]
        return dataclasses.replace(self.index, base=base, off=(*kept, *off), notes={**notes, **self.ours.notes})
