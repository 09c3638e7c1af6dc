"""What can be imported: an edit file, a bundle, another stack's folder, an adapter's folder. Free of torch.

A source is opened and checked before anything is done with it. What a stranger wrote decides neither where a file
goes nor what it is called.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from workbench.errors import BaseMismatch, StackError, UsageError
from workbench.stack import files
from workbench.stack.bundle import Bundle, is_bundle
from workbench.stack.editfile import SUFFIX, read_edit
from workbench.stack.joining import Joined, join
from workbench.stack.reconcile import belongs
from workbench.stack.record import Base, Edit, Factors
from workbench.stack.store import Stack
from workbench.stack.view import StackView

Kind = Literal["edit", "bundle", "stack", "adapter"]
Pair = tuple[Edit, tuple[Factors, ...]]

ADAPTER = "adapter_config.json"
"""The file that shows that a folder is an adapter."""


@dataclass(frozen=True)
class Source:
    """Something to import."""

    path: Path
    """As it was named."""
    kind: Kind
    view: StackView | None = None
    """The stack, of a bundle or a folder."""
    single: Pair | None = None
    """The edit, of an edit file."""

    @property
    def name(self) -> str:
        """What it is called in sentences."""
        return self.path.resolve().name or str(self.path)

    @property
    def edits(self) -> tuple[Edit, ...]:
        """The edits it would add: of a stack, those that are applied and not toggled off; an adapter has none yet."""
        if self.view:
            return self.view.active
        return (self.single[0],) if self.single else ()

    @property
    def left_behind(self) -> int:
        """How many edits of a stack are not among them: undone, off, or on other branches."""
        return len(self.view.line) + len(self.view.others) - len(self.edits) if self.view else 0

    def pairs(self, without: Collection[str] = ()) -> Iterator[Pair]:
        """Its edits and their updates, checked in full, except those with these ids; later notes become their own."""
        if self.single and self.single[0].id not in without:
            yield self.single
        if self.view:
            wanted = [edit for edit in self.view.active if edit.id not in without]
            yield from (_noted(edit.note, *self.view.read(edit)) for edit in wanted)

    def check_base(self, base: Base) -> None:
        """Raises BaseMismatch if one of its edits was made on another base than `base`."""
        for edit in self.edits:
            if not belongs(base, edit):
                where = f"{self.name} was made on {edit.base.name} ({edit.base.fingerprint[:12]})"
                raise BaseMismatch(
                    f"{where}, not on {base.name} ({base.fingerprint[:12]}).",
                    f"Nothing was imported. Use --model {edit.base.name} and a stack of its own.",
                )


def open_source(path: Path) -> Source:
    """Opens what is at `path`, and checks an edit file or a bundle in full.

    Raises:
        UsageError: there is nothing, or nothing that can be imported.
        StackError, VerificationError: it is damaged or hostile.
        StorageError: it may not be read.
    """
    real = path.resolve()
    if not real.exists():
        raise UsageError(f"There is nothing at '{path}'.", "Name a file or a folder.")
    if real.is_dir():
        if (real / ADAPTER).exists():
            return Source(path, "adapter")
        return Source(path, "stack", view=_stack(real))
    if is_bundle(real):
        return Source(path, "bundle", view=Bundle.open(real))
    if real.suffix.lower() != SUFFIX:
        raise UsageError(
            f"'{path}' is neither an edit file nor a bundle.", "Request files are read by workbench apply."
        )
    return Source(path, "edit", single=read_edit(real))


def is_empty(folder: Path) -> bool:
    """Whether a stack at `folder` would be a new one, or is one without edits. Raises StackError, StorageError."""
    if not folder.is_dir():
        return True
    stack = Stack.open(folder)
    return not (stack.line or stack.others or stack.incomplete or stack.broken)


def take(folder: Path, view: StackView) -> Joined:
    """Makes the new or empty stack at `folder` what `view` is, ids kept, all or nothing.

    Raises:
        BaseMismatch: the empty stack belongs to another base.
        StackError, VerificationError: an edit of `view` is damaged.
        StackBusy, StorageError: the stack could not take it.
    """
    if view.incomplete:
        raise StackError(view.incomplete, "Get the missing files; nothing was imported.")
    if folder.exists():
        return _take(folder, view)
    with files.folder_atomic(folder) as unfinished:
        return _take(unfinished, view)


def _noted(note: str, edit: Edit, factors: tuple[Factors, ...]) -> Pair:
    """`edit` with `note` in its own record; another note makes it a copy."""
    if note == edit.note:
        return edit, factors
    return dataclasses.replace(edit, note=note, made_by={**edit.made_by, "copied_from": edit.id}), factors


def _take(folder: Path, view: StackView) -> Joined:
    with Stack.open(folder, write=True, base=view.base) as stack:
        return join(stack, view, "import", name="")


def _stack(folder: Path) -> Stack:
    stack = Stack.open(folder)
    if not stack.line and not stack.others:
        raise UsageError(f"There are no edits in '{folder.name}'.", "Name the folder that holds the edit files.")
    if stack.incomplete:
        raise StackError(stack.incomplete, "Get the missing files; nothing was imported.")
    return stack
