"""Listing what can be imported: every file in it checked in full, none of it unpacked, and no model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workbench import events as ev
from workbench.cli.lines import SHORT_HASH, count, log_line
from workbench.cli.output import Output

if TYPE_CHECKING:
    from workbench.stack.record import Base, Edit
    from workbench.stack.sources import Source

REQUEST_SUFFIXES = (".json", ".jsonl", ".ndjson", ".csv", ".tsv")


def list_source(source: Source, output: Output) -> None:
    """A line for every edit of `source`, and what it is.

    Raises:
        StackError, VerificationError, UsageError: something in it is damaged, hostile, or cannot be imported.
    """
    if source.kind == "adapter":
        _list_adapter(source, output)
        return
    for row in _rows(source):
        output.line(log_line(row))
        output.document(ev.to_line(row))
    output.tell(f"{source.path}: {_what(source)}; every id and checksum agrees")


def is_request_file(path: Path) -> bool:
    """Whether `path` is called as request files are."""
    return path.suffix.lower() in REQUEST_SUFFIXES and path.is_file()


def _rows(source: Source) -> Iterator[ev.EditRow]:
    """The rows of all edits, the line first; every edit has been checked in full by then."""
    from workbench.engine.views import edit_row, names_of, other_row

    if source.view is None:
        yield from (edit_row(_Alone(edit), edit, edit.number) for edit in source.edits)
        return
    if source.kind == "stack":  # opening a bundle has checked all of it
        for edit in (*source.view.line, *source.view.others):
            source.view.read(edit)
    names = names_of(source.view.index)
    for number, edit in enumerate(source.view.line, start=1):
        yield edit_row(source.view, edit, number, names)
    for edit in source.view.others:
        yield other_row(source.view, edit, names)


def _what(source: Source) -> str:
    """As in: bundle of 12 edits on atlas (7c368c013147), position 12, branches main and trial."""
    if source.view is None:
        return f"edit on {_base(source.edits[0].base)}"
    view = source.view
    base = f" on {_base(view.base)}" if view.base else ""
    edits = count(len(view.line) + len(view.others))
    branches = ", ".join(branch.name for branch in view.branches)
    tags = f", tags {', '.join(view.tags)}" if view.tags else ""
    return f"{source.kind} of {edits}{base}, position {view.position}, branches {branches}{tags}"


def _base(base: Base) -> str:
    return f"{base.name} ({base.fingerprint[:SHORT_HASH]}, {base.dtype})"


def _list_adapter(source: Source, output: Output) -> None:
    from workbench.stack.adapter import read_adapter_files

    _, factors = read_adapter_files(source.path.resolve())
    for one in factors:
        output.line(f"{one.module}  rank {one.a.shape[0]}")
    output.tell(f"{source.path}: LoRA adapter of {len(factors)} modules; it would become one edit")


@dataclass(frozen=True)
class _Alone:
    """An edit file as if it were a stack of its own."""

    edit: Edit
    off: frozenset[str] = frozenset()

    @property
    def position(self) -> int:
        """Applied."""
        return self.edit.number

    @property
    def broken(self) -> dict[str, str]:
        """Nothing."""
        return {}

    def path_of(self, edit: Edit | str) -> Path:
        """What it would be called."""
        from workbench.stack.editfile import file_name

        return Path(file_name(self.edit if isinstance(edit, str) else edit))
