"""The model at any state of its stack for the length of a block: shown in memory only, put back whatever happens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from workbench.engine.core import Core
from workbench.engine.states import State, state_of
from workbench.errors import UsageError
from workbench.stack.names import BASE

PRESENT = "stack"
"""The state that the stack stands at, whatever its tags and branches are called."""


def find_state(core: Core, word: str) -> State:
    """The state that `word` names: "base", "stack", a position, an edit's id or its beginning, a branch or a tag.

    Raises:
        UsageError: it names nothing in this stack, or several things.
        StackError: an edit on the way there is missing.
    """
    if word == PRESENT:
        return State(word, core.stack, core.stack.applied)
    if not word.strip():
        raise UsageError("No state is named.", _known(core))
    try:
        return state_of(core.stack, word)
    except UsageError as error:
        raise UsageError(error.message, _known(core)) from error


def _known(core: Core) -> str:
    return f"Name base, stack, a position from 0 to {len(core.stack.line)}, an edit's id, a branch or a tag."


def name_of(core: Core, word: str) -> str:
    """How a measurement names its state: "base", a position for the present one, else the word itself."""
    return str(core.stack.position) if word == PRESENT else word


def digest(state: State) -> tuple[str, ...]:
    """Says which weights a state has: the ids of its active edits, which tell every byte of their updates."""
    return tuple(edit.id for edit in state.active)


@contextmanager
def at_state(core: Core, word: str) -> Iterator[State]:
    """The model in the state that `word` names, for as long as the block lasts; then it is what it was before.

    Raises:
        UsageError, StackError: as `find_state`.
        StackError, VerificationError: an edit's file is damaged.
        BaseMismatch: an edit does not fit the model.
    """
    state = find_state(core, word)
    if word == PRESENT:
        yield state
    elif word == BASE or not state.active:
        with core.live.at_base():
            yield state
    else:
        with _shown(core, state):
            yield state


@contextmanager
def _shown(core: Core, state: State) -> Iterator[None]:
    before = core.live.shown
    updates = core.updates(state.active)
    try:
        core.live.show(updates)
        yield
    finally:
        core.live.show(before)


def check_states(core: Core, words: Sequence[str]) -> None:
    """Raises what `at_state` raises for a word that names no state, before anything is asked of any."""
    for word in words:
        find_state(core, word)
