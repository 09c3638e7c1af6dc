"""Checking a stack in full: every file's schema and id, and that parents, numbers and weight hashes follow on."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.errors import StackError, StorageError, VerificationError
from workbench.stack.editfile import read_edit
from workbench.stack.index import Index
from workbench.stack.lineage import Found, of_itself
from workbench.stack.record import Edit


@dataclass(frozen=True)
class Checked:
    """What was found in one file."""

    file: str
    edit: str
    """Its id; empty where none can be read."""
    problems: tuple[str, ...] = ()
    """In words; empty: all is well."""

    @property
    def ok(self) -> bool:
        """Nothing is wrong."""
        return not self.problems


def audit(found: Found, index: Index) -> tuple[Checked, ...]:
    """One result a file, the line first and in its order, then branches, then what is broken."""
    rest = sorted(found.edits.keys() - set(index.order), key=lambda edit: found.paths[edit].name)
    ids = [edit for edit in index.order if edit in found.edits] + rest
    checked = [Checked(found.paths[i].name, i, tuple(_problems(found, found.edits[i]))) for i in ids]
    return (*checked, *(Checked(file, "", (reason,)) for file, reason in sorted(found.broken.items())))


def _problems(found: Found, edit: Edit) -> list[str]:
    try:
        read, _ = read_edit(found.paths[edit.id])
    except (StackError, StorageError, VerificationError) as error:
        return [of_itself(found.paths[edit.id].name, error.message)]
    if read != edit:
        return ["The file is another than when the stack was opened."]
    if edit.parent is None:
        return [] if edit.number == 1 else [f"It says it is number {edit.number}, but it has no parent."]
    if edit.parent not in found.edits:
        return ["Its parent is missing."]
    problems = []
    parent = found.edits[edit.parent]
    if edit.number != parent.number + 1:
        problems.append(f"It says it is number {edit.number}, but its parent is number {parent.number}.")
    return problems + _broken_chain(found, edit)


def _broken_chain(found: Found, edit: Edit) -> list[str]:
    """Modules whose hash before the edit is not the hash after the last edit before it that touched them."""
    problems = []
    for module, hashes in edit.weights.items():
        last = _last_on(found, edit, module)
        if last and _same_state(last, edit, module) and last.weights[module]["after"] != hashes["before"]:
            problems.append(f"Its weight hash of {module} does not follow on that of the edit before.")
    return problems


def _same_state(last: Edit, edit: Edit, module: str) -> bool:
    """Whether `edit` was made on what `last` left: same dtypes, same edits toggled off, `last` not among them."""
    held = last.base.dtype == edit.base.dtype and last.base.dtype_of(module) == edit.base.dtype_of(module)
    return held and last.off == edit.off and last.id not in edit.off


def _last_on(found: Found, edit: Edit, module: str) -> Edit | None:
    """The last edit before `edit` that touched `module`."""
    seen = {edit.id}
    parent = edit.parent
    while parent is not None and parent in found.edits and parent not in seen:
        seen.add(parent)
        if module in found.edits[parent].weights:
            return found.edits[parent]
        parent = found.edits[parent].parent
    return None
