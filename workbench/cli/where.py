"""Which stack and which model a command line means. Free of torch."""

from __future__ import annotations

from pathlib import Path

from workbench.cli.options import Common
from workbench.errors import UsageError
from workbench.stack.place import STACKS, default_stack

ATLAS = "atlas"
"""The model that ships."""


def stack_folder(common: Common, positional: str | None = None) -> Path:
    """The stack that is meant: the argument, --stack, or the model's own.

    Raises:
        UsageError: the argument and --stack name two different folders.
    """
    if positional and common.stack and Path(positional) != common.stack:
        raise UsageError(f"Two stacks are named: '{positional}' and '{common.stack}'.", "Name one of them.")
    return Path(positional) if positional else common.stack or default_stack(common.model or ATLAS)


def existing_stack(common: Common, positional: str | None = None) -> Path:
    """As `stack_folder`, for commands that need one that is there.

    Raises:
        UsageError: there is no such folder; the hint names those that are.
    """
    folder = stack_folder(common, positional)
    if folder.is_dir():
        return folder
    if folder.exists():
        raise UsageError(
            f"'{folder}' is a file, and a stack is a folder.", "A bundle is listed by workbench import FILE --list."
        )
    raise UsageError(f"There is no stack at '{folder}'.", _others())


def _others() -> str:
    found = sorted(str(path.parent) for path in STACKS.glob("*/stack.json"))
    if found:
        return f"There is {', '.join(found[:5])}{' and more' if len(found) > 5 else ''}."
    return "workbench apply makes one; --stack names another folder."


def named_model(common: Common, positional: str | None = None) -> str:
    """The model that a command without a stack is about: the argument, --model, or atlas.

    Raises:
        UsageError: the argument and --model name two different models.
    """
    if positional and common.model and positional != common.model:
        raise UsageError(f"Two models are named: '{positional}' and '{common.model}'.", "Name one of them.")
    return positional or common.model or ATLAS


def model_of(common: Common, folder: Path) -> str:
    """The model to load: --model, else the one that the stack in `folder` is made for, else atlas.

    Raises:
        StackError: the stack cannot be read.
    """
    if common.model:
        return common.model
    if not folder.is_dir():
        return ATLAS
    from workbench.stack.store import Stack

    with Stack.open(folder) as stack:
        return stack.base.name if stack.base else ATLAS
