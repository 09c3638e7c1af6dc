"""Merging two stacks on one base: the union of their edits in a stated order, with what speaks against it said first.

What both lines begin with stays as it is; what either has beyond that follows, ours or theirs first. Nothing is
written while it is not decided what shall become of facts with two targets, and of probes that fail in the union.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from workbench.editing.cancel import check
from workbench.edits import EditRequest
from workbench.engine.conflicts import COSINE, KeyReport, key_conflicts, target_conflicts
from workbench.engine.core import Core
from workbench.engine.planting import plant
from workbench.engine.trial import failing_probes
from workbench.errors import BaseMismatch
from workbench.events import Conflict, Event, Merged, MergePlanned
from workbench.models.device import within_memory
from workbench.stack.reconcile import belongs
from workbench.stack.record import Edit, Factors
from workbench.stack.view import StackView

Order = Literal["ours-first", "theirs-first"]
Choice = Literal["ask", "both", "ours", "theirs"]
"""Who wins where two targets disagree; "ask": nobody yet, and nothing is written."""
Pair = tuple[Edit, tuple[Factors, ...]]


@dataclass(frozen=True)
class Side:
    """What is merged in."""

    name: str
    view: StackView
    line: tuple[Edit, ...]
    """From the base to the last applied edit."""
    undone: int = 0
    """Edits after it."""


@dataclass(frozen=True)
class Plan:
    """Which edits the union is made of."""

    common: tuple[Edit, ...]
    ours: tuple[Edit, ...]
    """Ours beyond what is common, those that are toggled off included."""
    theirs: tuple[Edit, ...]
    """Theirs beyond what is common, without what is toggled off there, or is ours again, made anew or not."""
    pairs: dict[str, Pair]
    """Every edit as its file has it, with its update, by id."""
    order: Order
    repeated: int
    off_theirs: int
    off: frozenset[str]
    """Ids toggled off in ours."""

    def active(self, edits: Iterable[Edit]) -> tuple[Edit, ...]:
        """Those of `edits` that count in the union."""
        return tuple(edit for edit in edits if edit.id not in self.off)

    def line(self, dropped: Collection[str] = ()) -> tuple[Edit, ...]:
        """The union, without the edits `dropped`."""
        first, second = (self.ours, self.theirs) if self.order == "ours-first" else (self.theirs, self.ours)
        return (*self.common, *(edit for edit in (*first, *second) if edit.id not in dropped))

    def updates(self, edits: Iterable[Edit]) -> dict[str, tuple[Factors, ...]]:
        """The updates of `edits`, by id."""
        return {edit.id: self.pairs[edit.id][1] for edit in edits}


def side_of(view: StackView, name: str, branch: str = "") -> Side:
    """The applied edits of a stack or a bundle, or all edits of one of its branches.

    Raises:
        UsageError: there is no such branch.
        StackError: an edit is missing.
    """
    if branch:
        return Side(name, view, view.line_at(branch))
    return Side(name, view, view.applied, len(view.line) - len(view.applied))


def plan_merge(core: Core, side: Side, order: Order) -> Plan:
    """Which edits to put together; every one of theirs is read and checked in full.

    Raises:
        BaseMismatch: an edit of theirs was made on another base.
        StackError, VerificationError: an edit is damaged.
    """
    stack = core.stack
    base = stack.base or core.base()
    for edit in side.line:
        if not belongs(base, edit):
            raise BaseMismatch(
                f"{side.name} holds edits of {edit.base.name}, not of {base.name}.", "Nothing was merged."
            )
    own = stack.applied
    alike = next((n for n, (a, b) in enumerate(zip(own, side.line, strict=False)) if a.id != b.id), None)
    split = min(len(own), len(side.line)) if alike is None else alike
    pairs = {edit.id: stack.read(edit) for edit in own}
    known = {_content(*pair) for pair in pairs.values()}
    origins = {key for edit in own for key in _origins(edit)}
    on = [edit for edit in side.line[split:] if edit.id not in side.view.off or side.view is stack]
    theirs = []
    for edit in on:
        raw, factors = side.view.read(edit)
        pair = (raw if side.view is stack else dataclasses.replace(raw, note=edit.note)), factors
        if (content := _content(*pair)) not in known and not _origins(edit) & origins:
            known.add(content)
            theirs.append(edit)
            pairs[edit.id] = pair
    return Plan(
        common=own[:split],
        ours=own[split:],
        theirs=tuple(theirs),
        pairs=pairs,
        order=order,
        repeated=len(on) - len(theirs),
        off_theirs=len(side.line) - split - len(on),
        off=stack.off,
    )


def _origins(edit: Edit) -> set[tuple[str, tuple[EditRequest, ...]]]:
    """What an edit shares with its copies, also those made anew: where it came from, and what it asks for."""
    return {(ident, edit.requests) for ident in (edit.id, edit.copied_from) if ident}


def merge(
    core: Core,
    side: Side,
    *,
    order: Order = "ours-first",
    choice: Choice = "ask",
    threshold: float = COSINE,
    resolve: bool = False,
    write: bool = True,
    cancelled: Callable[[], bool],
) -> Generator[Event, None, None]:
    """Reports every conflict and then makes the union the line, if nothing speaks against it or `choice` is made.

    Yields MergePlanned, Conflicts, a ProbeResult with the perplexity, what planting says, and Merged.

    Args:
        core: the model and our stack.
        side: what is merged in.
        order: whose edits come first.
        choice: whose edit goes where two have different targets; any choice also takes failing probes into account.
        threshold: |cos| of two keys from which they are reported.
        resolve: make the updates that move anew, each for the state that it comes to stand on.
        write: False: report only.
        cancelled: asked at every step.

    Raises:
        BaseMismatch, StackError, VerificationError, StorageError: nothing has changed.
        Cancelled: it was; nothing has changed.
    """
    plan = plan_merge(core, side, order)
    for edit, _ in plan.pairs.values():  # also what is off here: theirs alone may have it on
        core.live.adopt(edit)
    with within_memory():
        targets = target_conflicts(plan.active(plan.ours), plan.active(plan.theirs))
        keys = _key_conflicts(core, plan, threshold)
        yield _planned(core, side, plan, keys)
        yield from (*targets, *keys.pairs)
        line = plan.line(_losers(targets, choice))
        check(cancelled)
        failing = yield from _tried(core, side, plan, line, cancelled)
    undecided = choice == "ask" and bool(targets or failing)
    added: tuple[Edit, ...] = ()
    written = write and not undecided and bool(plan.theirs)
    if written:
        added = yield from _write(core, plan, line, resolve=resolve, cancelled=cancelled)
    yield Merged(
        written=written,
        added=tuple(edit.id for edit in added),
        targets=len(targets),
        keys=keys.count,
        probes=len(failing),
        needed=bool(plan.theirs),
        undecided=undecided,
        position=core.stack.position,
    )


def _key_conflicts(core: Core, plan: Plan, threshold: float) -> KeyReport:
    own, other = plan.active(plan.ours), plan.active(plan.theirs)
    return key_conflicts(core, own, other, plan.updates((*own, *other)), threshold=threshold)


def _losers(targets: Sequence[Conflict], choice: Choice) -> set[str]:
    """Ids of the edits that are left out."""
    if choice == "ours":
        return {conflict.theirs for conflict in targets}
    return {conflict.ours for conflict in targets} if choice == "theirs" else set()


def _tried(
    core: Core, side: Side, plan: Plan, line: Sequence[Edit], cancelled: Callable[[], bool]
) -> Generator[Event, None, list[Conflict]]:
    """Asks the probes of both sides, each side alone and all together; yields and returns those that fail."""
    if not plan.theirs:
        return []
    own = plan.active((*plan.common, *plan.ours))
    common = [edit for edit in plan.common if edit.id not in side.view.off]
    states = [[plan.pairs[edit.id][1] for edit in state] for state in (own, (*common, *plan.theirs), plan.active(line))]
    staying = {edit.id for edit in line}
    shared = {edit.id for edit in plan.common}
    edits = {
        "ours": [edit for edit in own if edit.id in staying],
        "theirs": [edit for edit in (*common, *plan.theirs) if edit.id in staying],
    }
    return (yield from failing_probes(core, edits, states, shared, cancelled))


def _write(
    core: Core, plan: Plan, line: Sequence[Edit], *, resolve: bool, cancelled: Callable[[], bool]
) -> Generator[Event, None, tuple[Edit, ...]]:
    now = core.stack.applied
    keep = next((n for n, (a, b) in enumerate(zip(now, line, strict=False)) if a.id != b.id), min(len(now), len(line)))
    additions = [plan.pairs[edit.id] for edit in line[keep:]]
    return (yield from plant(core, keep, additions, "merge", resolve=resolve, cancelled=cancelled))


def _planned(core: Core, side: Side, plan: Plan, keys: KeyReport) -> MergePlanned:
    return MergePlanned(
        ours=str(core.stack.folder),
        theirs=side.name,
        order=plan.order,
        common=len(plan.common),
        count_ours=len(plan.ours),
        count_theirs=len(plan.theirs),
        repeated=plan.repeated,
        off=plan.off_theirs,
        undone=side.undone + len(core.stack.line) - len(core.stack.applied),
        incomparable=len(keys.incomparable),
    )


def _content(edit: Edit, factors: Sequence[Factors]) -> bytes:
    """Says which update it is, wherever it stands: the request and every bit of the factors."""
    digest = hashlib.sha256(repr(edit.requests).encode("utf-8", "surrogatepass"))
    for one in sorted(factors, key=lambda f: f.module):
        digest.update(repr((one.module, one.a.shape, one.b.shape)).encode())
        digest.update(one.a.tobytes())
        digest.update(one.b.tobytes())
    return digest.digest()
