"""What of a stack leaves it as one file, and what may be replaced where it goes. Free of torch.

Command line and screen write exports by way of this; folders that need the model are `engine.exporting`'s.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from workbench.edits import IMPORTED
from workbench.errors import UsageError
from workbench.requests_export import Shape, requests_file
from workbench.stack import files

if TYPE_CHECKING:
    from workbench.stack.record import Edit
    from workbench.stack.view import StackView

Kind = Literal["bundle", "edit", "requests", "peft", "merged"]
KINDS: tuple[Kind, ...] = get_args(Kind)
FOLDERS = {"peft": "adapter_config.json", "merged": "config.json"}
"""Formats that are folders, and the file that shows that a folder is one."""


def check_free(out: Path, kind: str, *, replace: bool, hint: str = "Name another place, or replace it.") -> None:
    """Raises UsageError if something stands at `out` that may not be replaced; `hint` says how it could be."""
    if not os.path.lexists(out) or (kind in FOLDERS and out.is_dir() and not any(out.iterdir())):
        return
    if not replace:
        raise UsageError(f"'{out}' is there already.", hint)
    replaceable = (out / FOLDERS[kind]).is_file() if kind in FOLDERS else out.is_file()
    if out.is_symlink() or not replaceable:
        raise UsageError(f"'{out}' is something else than an export, and is left alone.", "Name another place.")


def write_requests(stack: StackView, out: Path, shape: Shape) -> tuple[int, int]:
    """Writes what the active edits ask for; how many requests that are, and how many edits of the line are left out.

    Raises:
        UsageError: no active edit has a request, or there are too many.
        StorageError: the disk would not take it.
    """
    asking = [edit for edit in stack.active if edit.recipe.method != IMPORTED]
    asked = [request for edit in asking for request in edit.requests]
    _write(out, requests_file(asked, shape))
    return len(asked), len(stack.line) - len(asking)


def write_edit(stack: StackView, out: Path, edit: Edit) -> None:
    """Writes one edit's file, as it is. Raises StackError, VerificationError, StorageError."""
    from workbench.stack.editfile import encode_edit

    _write(out, encode_edit(*stack.read(edit))[1])


def write_stack(stack: StackView, out: Path) -> int:
    """Writes the stack as a bundle; how many edits it holds. Raises StackError, VerificationError, StorageError."""
    from workbench.stack.bundle import write_bundle

    return write_bundle(stack, out)


def _write(out: Path, data: bytes) -> None:
    files.make_folder(out.parent)
    files.write_atomic(out, data)


@contextlib.contextmanager
def replacing(out: Path) -> Iterator[None]:
    """Puts a folder at `out` aside for as long as the block lasts; it is gone if the block ends well, else back."""
    if not out.is_dir():
        yield
        return
    out = out.resolve()
    aside = out.with_name(f".{out.name[:80]}.{secrets.token_hex(4)}{files.TEMPORARY}")
    with files.storage("replace", out):
        out.rename(aside)
        try:
            yield
        except BaseException:
            aside.rename(out)
            raise
        shutil.rmtree(aside)


def written_size(out: Path) -> int:
    """Bytes of the file, or of all files of the folder, at `out`. Raises StorageError."""
    with files.storage("read", out):
        return sum(path.stat().st_size for path in ([out] if out.is_file() else out.rglob("*")) if path.is_file())
