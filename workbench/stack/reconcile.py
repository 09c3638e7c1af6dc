"""On opening, the index, the journal and the edit files are made to agree; what was found and done is said.

The index is believed where it fits the files. Without it the journal's last state is taken, or else the longest line.
An edit that was saved but not yet indexed when a process died is adopted: nothing that reached the disk is lost.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from workbench.errors import StackError, StorageError, VerificationError
from workbench.stack.editfile import SUFFIX, read_edit
from workbench.stack.index import Index, read_index
from workbench.stack.journal import UNFINISHED, Entry, Journal
from workbench.stack.lineage import Found, line_of, longest_line, reached, rooted, scan
from workbench.stack.marks import retold
from workbench.stack.names import next_name
from workbench.stack.record import Base, Edit, ModuleInfo, same_matrix


@dataclasses.dataclass
class Opened:
    """A folder as it was found, put in agreement."""

    index: Index
    found: Found
    journal: Journal
    findings: list[str]
    adopted: list[Edit]
    """Edits that were on the disk but not on the line."""
    rebuilt: bool
    """The index is not the one on the disk, because that one is missing or damaged."""
    unfinished: str = ""
    """Why the journal's last entry is not of the state that the index tells; empty: it is."""
    abandoned: list[Path] = dataclasses.field(default_factory=list)
    """Files of a change of several edits that was cut off."""
    cut_short: bool = False
    """An applied edit is damaged or missing, so that the position stands before it."""


def reconcile(folder: Path, who: str = "", *, beside: bool = False) -> Opened:
    """Reads `folder` and makes sense of it; writes nothing.

    With `beside`, a writer is at work: what it has not committed yet is left out, and nothing is said of it.

    Raises:
        StackError: a newer workbench wrote the index.
        StorageError: the folder may not be read.
    """
    index, damage = read_index(folder)
    read = index.digest if index else ""
    journal = Journal(folder, who)
    found = scan(folder)
    opened = Opened(Index(), found, journal, [] if beside else [*journal.findings], [], False)
    if index is not None and not _fits(index, found):
        index, damage = None, "stack.json does not agree with what the edits say of themselves"
    if index is None:
        _rebuild(opened, damage)
    else:
        opened.index = index
    _drop_foreign(opened)
    _report_missing(opened)
    if beside:
        _leave_out_later(opened, read)
        return opened
    while (edit := _in_flight(opened)) is not None:
        _adopt(opened, edit)
    _report_unfinished(opened, read)
    _abandon(opened)
    return opened


def _fits(index: Index, found: Found) -> bool:
    """Whether a line has a base, and every edit of it that is there has the one before it as its parent."""
    if index.order and index.base is None:
        return False
    before: Sequence[str | None] = (None, *index.order)
    return all(found.edits[i].parent == p for i, p in zip(index.order, before, strict=False) if i in found.edits)


def _rebuild(opened: Opened, damage: str) -> None:
    edits, entries = opened.found.edits, opened.journal.effective
    line, position = _told(edits, entries) or (longest_line(edits), len(edits))
    base = None
    for edit in [edits[i] for i in line] or list(edits.values())[:1]:
        base = extended(base, edit)
    branch, marks = retold(entries, edits)
    opened.index = Index(
        order=line,
        position=min(position, len(line)),
        off=marks.off,
        notes=marks.notes,
        base=base,
        branch=branch,
        branches=marks.branches,
        tags=marks.tags,
    )
    opened.rebuilt = bool(edits) or bool(damage)
    if opened.rebuilt:
        count = f"{len(edits)} edit file{'s' * (len(edits) != 1)}"
        opened.findings.append(f"{damage or 'stack.json is missing'}; it was rebuilt from {count}.")


def extended(base: Base | None, edit: Edit) -> Base:
    """`base` with the modules of `edit` added; the base of `edit` if there is none yet."""
    if base is None:
        return bare(edit.base)
    return dataclasses.replace(base, modules={**bare(edit.base).modules, **base.modules})


def bare(base: Base) -> Base:
    """`base` without what single edits held its modules in."""
    stored = {name: ModuleInfo(shape=info["shape"], layout=info["layout"]) for name, info in base.modules.items()}
    return dataclasses.replace(base, modules=stored)


def leaving(index: Index, kept: int, *, name: str = "") -> Index:
    """`index` cut to its first `kept` edits, as a branch of its own if that leaves any edit or `name` is given."""
    if kept == len(index.order) and not name:
        return index
    branch = name or next_name(index.branch, {*index.tips, *index.tags})
    order = index.order[:kept]
    return dataclasses.replace(
        index, order=order, position=kept, branch=branch, branches={**index.branches, index.branch: index.tip}
    )


def belongs(base: Base, edit: Edit) -> bool:
    """Whether `edit` was made on `base`, on modules of the same shapes."""
    known = base.modules
    same = all(same_matrix(known[name], info) for name, info in edit.base.modules.items() if name in known)
    return same and edit.base.fingerprint == base.fingerprint


def _told(edits: Mapping[str, Edit], entries: Sequence[Entry]) -> tuple[tuple[str, ...], int] | None:
    """The newest state in the journal whose edits are all there: line and position."""
    whole = rooted(edits)
    for entry in reversed(entries):
        line = line_of(edits, entry.tip) if entry.tip is None or entry.tip in whole else None
        if line or (line == () and entry.branch and entry.what not in ("create", "rebuild", "settle")):
            return line, entry.position
    return None


def _drop_foreign(opened: Opened) -> None:
    base, found = opened.index.base, opened.found
    if base is None:
        return
    for edit in [edit for edit in found.edits.values() if not belongs(base, edit)]:
        found.drop(edit.id, f"It belongs to another base, {edit.base.name}.")


def _report_missing(opened: Opened) -> None:
    """Says which edits of the line are missing, and keeps the position before the first of them."""
    index, found = opened.index, opened.found
    missing = [(number, edit) for number, edit in enumerate(index.order, 1) if edit not in found.edits]
    names = _missing_names(opened) if missing else {}
    for number, edit in reversed(missing):
        name = names.get(edit) or names.get(edit[:8]) or f"edit {edit[:8]}"
        reason = found.broken.setdefault(name, "It is missing.").rstrip(".")
        reason = name + reason.removeprefix("It") if reason.startswith("It ") else reason
        if index.position >= number:
            index, opened.cut_short = dataclasses.replace(index, position=number - 1), True
        opened.findings.append(f"{reason}; the stack can be applied up to position {number - 1}.")
    opened.index = index


def _missing_names(opened: Opened) -> dict[str, str]:
    """The files that edits are, or were, in: by the start of the id if there is a broken one, else by id."""
    told = {entry.edit: entry.file for entry in reversed(opened.journal.entries) if entry.edit and entry.file}
    broken = {name.removesuffix(SUFFIX)[-8:]: name for name in opened.found.broken}
    return {edit: name for edit, name in told.items() if edit[:8] not in broken} | broken


def _in_flight(opened: Opened) -> Edit | None:
    """The edit that a process had saved, but not yet indexed, when it died; None if there is none for certain."""
    index, journal, edits = opened.index, opened.journal, opened.found.edits
    if not journal.found or any(edit not in edits for edit in index.order):
        return None
    last = journal.entries[-1] if journal.entries else None
    if last and last.what == "begin":
        return None
    known = journal.mentioned | set(index.order)
    if last and last.what in ("apply", "import", "adopt") and last.edit not in index.order:
        known.discard(str(last.edit))
    waiting = [edit for edit in edits.values() if edit.id not in known and edit.parent == index.applied_tip]
    return waiting[0] if len(waiting) == 1 else None


def _adopt(opened: Opened, edit: Edit) -> None:
    index, path = opened.index, opened.found.paths[edit.id]
    try:
        read_edit(path)
    except (StackError, StorageError, VerificationError) as error:
        opened.found.drop(edit.id, error.message)
        return
    index = leaving(index, index.position)
    order = (*index.order, edit.id)
    opened.index = dataclasses.replace(index, order=order, position=len(order), base=extended(index.base, edit))
    opened.adopted.append(edit)
    opened.findings.append(f"{path.name} was saved but not yet listed; it is applied at position {len(order)}.")


def _leave_out_later(opened: Opened, read: str) -> None:
    """Leaves out what came after the index whose digest is `read`, as far as the journal tells."""
    index, journal, found = opened.index, opened.journal, opened.found
    told = [at for at, entry in enumerate(journal.entries) if read and entry.index == read]
    if not told:
        return
    del journal.entries[told[-1] + 1 :]
    for ident in found.edits.keys() - journal.mentioned - set(index.order):
        del found.edits[ident], found.paths[ident]


def _report_unfinished(opened: Opened, read: str) -> None:
    """Holds the journal's last entry against the index, whose digest was `read` when it was read."""
    index, entries = opened.index, opened.journal.entries
    if not opened.journal.found and not opened.journal.unread and index.order:
        opened.findings.append("The journal is missing; a new one begins with the next change.")
    if opened.rebuilt or opened.adopted or not entries or any(i not in opened.found.edits for i in index.order):
        return
    last = entries[-1]
    if last.what == "begin":
        opened.unfinished = "cut off"
        opened.findings.append("A change of several edits was cut off; the stack is as it was before.")
    elif last.index != read if last.index else (last.tip, last.position) != (index.tip, index.position):
        known = index.tip is None or index.tip in opened.journal.mentioned
        opened.unfinished = UNFINISHED if known else "lost"
        what = f"The last change ({last.what}) was not finished" if known else "The journal lacks the last change"
        opened.findings.append(f"{what}; the stack stands at position {index.position}.")


def _abandon(opened: Opened) -> None:
    """Leaves out what a change of several edits had saved before it was cut off: all of it, or nothing."""
    if opened.unfinished not in ("cut off", UNFINISHED):
        return
    index, found, last = opened.index, opened.found, opened.journal.entries[-1]
    kept = reached(found.edits, index.tips.values()) | set(index.order)
    for ident in last.edits:
        if ident in found.edits and ident not in kept:
            opened.abandoned.append(found.paths.pop(ident))
            del found.edits[ident]
