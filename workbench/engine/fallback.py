"""What becomes of a stack with a damaged edit applied: it is opened at the last position that can be built."""

from __future__ import annotations

from collections.abc import Generator

from workbench.engine.core import Core
from workbench.errors import BaseMismatch, StackError, VerificationError
from workbench.events import Event, Warning  # noqa: A004  the wire's word


def rebuild(core: Core, *, fall_back: bool) -> Generator[Event, None, None]:
    """As `Core.rebuild`; with `fall_back` the stack goes back to before the first damaged edit, and that is said.

    Nothing is lost: the edits from there on are undone, and the damaged one can be left out.

    Raises:
        StackError, VerificationError: an edit is damaged, and the stack may not or cannot be moved.
        BaseMismatch: an edit does not fit the model.
    """
    try:
        core.rebuild()
    except BaseMismatch:
        raise
    except (StackError, VerificationError) as error:
        position = _first_damaged(core)
        if position is None or not (fall_back and core.writable):
            raise
        yield from _go_back(core, position, error.message)


def _go_back(core: Core, position: int, reason: str) -> Generator[Event, None, None]:
    damaged, undone = core.stack.applied[position], core.stack.position - position
    core.stack.travel(position)
    core.stack.blame(damaged, reason)
    core.rebuild()
    yield Warning(
        message=f"The stack was opened at position {position}, the last one that can be built: "
        f"{undone} edit{' is' if undone == 1 else 's are'} undone.",
        hint=f"o in History leaves edit {position + 1} out; then go on behind it. Or put an intact copy back.",
    )


def _first_damaged(core: Core) -> int | None:
    """How many edits are applied before the first one that cannot be read; None: all can."""
    for position, edit in enumerate(core.stack.applied):
        try:
            if edit.id not in core.stack.off:
                core.stack.factors(edit)
        except (StackError, VerificationError):
            return position
    return None
