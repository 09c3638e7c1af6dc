"""The states of a stack that a person can choose: the base, the present, branches, tags and positions. No widgets."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from workbench import events as ev
from workbench.text import and_more

BASE, PRESENT = "base", "stack"


@dataclass(frozen=True)
class Choice:
    """A state as a list shows it."""

    word: str
    """What the engine is asked for."""
    name: str
    detail: str = ""

    @cached_property
    def searched(self) -> str:
        """What a filter looks at."""
        return f"{self.name} {self.detail} {self.word}".casefold()


def choices(stack: ev.StackChanged | None) -> tuple[Choice, ...]:
    """Every state that `stack` tells of: base and present, branches and tags, then positions, the newest first."""
    found = [Choice(BASE, "base", "the pristine weights")]
    if stack is None:
        return tuple(found)
    found.append(Choice(PRESENT, f"stack @{stack.position}", "as it stands, now and later"))
    if len(stack.names) > 1:
        found += [Choice(name, name, _branch(stack, name)) for name in stack.names]
    branches = {*stack.names}
    found += [
        Choice(tag, tag, f"tag of {_fact(row)}") for row in stack.edits for tag in row.names if tag not in branches
    ]
    found += [Choice(row.id, f"@{row.number}", _fact(row)) for row in reversed(stack.edits)]
    return tuple(found)


def narrowed(all_: tuple[Choice, ...], text: str) -> tuple[Choice, ...]:
    """Those that hold every word of `text`; if none does, `text` itself, for the engine to make sense of."""
    words = text.casefold().split()
    if not words:
        return all_
    found = tuple(choice for choice in all_ if all(word in choice.searched for word in words))
    named = text.strip()
    exact = tuple(choice for choice in found if choice.name == named or choice.name == f"@{named}")
    rest = tuple(choice for choice in found if choice not in exact)
    return (*exact, *rest) or (Choice(named, named, "a position, an id's beginning, a branch or a tag"),)


def name_of(stack: ev.StackChanged | None, word: str) -> str:
    """How a title names the state `word`: base, stack @3, @2 Steve Jobs, branch try-2, tag reviewed."""
    if word == PRESENT:
        return f"stack @{stack.position}" if stack else "stack"
    rows = stack.edits if stack else ()
    row = next((row for row in rows if row.id == word), None)
    if row is not None:
        return f"@{row.number} {row.subject}"
    if stack and word in stack.names:
        return f"branch {word}"
    return f"tag {word}" if any(word in row.names for row in rows) else f"@{word}" if word.isdecimal() else word


def made_of(stack: ev.StackChanged | None, word: str) -> tuple[str, ...]:
    """What the weights of the state `word` depend on, as far as `stack` tells: when it changes, so may they."""
    if stack is None or word == BASE:
        return ()
    ids = [row.id for row in stack.edits]
    off = [row.id for row in stack.edits if row.state == "off"]
    if word == PRESENT:
        return tuple(row.id for row in stack.edits[: stack.position] if row.state != "off")
    end = ids.index(word) + 1 if word in ids else int(word) if word.isdecimal() else len(ids)
    return tuple(ident for ident in ids[:end] if ident not in off)


def _branch(stack: ev.StackChanged, name: str) -> str:
    if name == stack.branch:
        return f"branch, the present one, {len(stack.edits)} edits to its end"
    return "branch"


def _fact(row: ev.EditRow) -> str:
    return f"edit {row.number}  {row.subject}{and_more(row.requests)} -> {row.target_new.strip()}"
