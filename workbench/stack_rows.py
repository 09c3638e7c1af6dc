"""The stack as a list shows it, in events: a row an edit, and the whole.

The events are part of the wire as those in `workbench.events` are, and are read from there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from workbench.event_base import Event

RowState = Literal["applied", "undone", "broken", "off", "other"]


@dataclass(frozen=True, kw_only=True)
class EditRow(Event):
    """One edit as a list shows it; part of StackChanged."""

    id: str
    number: int
    """Position in its line, from 1."""
    file: str
    state: RowState
    """other: not on the current line, but on another branch, or on none."""
    created: str
    """UTC, ISO 8601."""
    prompt: str
    subject: str
    target_new: str
    target_true: str | None = None
    method: str = ""
    chat: bool = False
    """The prompt was a user's turn of a chat."""
    layer: int = 0
    ratio: float | None = None
    """|ΔW| / |W|."""
    drift: float | None = None
    """|W − W0| / |W0| after this edit."""
    efficacy: bool | None = None
    """Of several requests: whether all of them hold."""
    paraphrases: tuple[int, int] | None = None
    """(held, asked)."""
    neighbours: tuple[int, int] | None = None
    perplexity: float | None = None
    note: str = ""
    names: tuple[str, ...] = ()
    """Its tags and, where there are several branches, those that end with it."""
    requests: int = 1
    """How many requests it is made of; the texts are the first one's."""
    efficacies: tuple[int, int] | None = None
    """(held, asked) of the requests, where there are several."""
    earlier: tuple[int, int] | None = None
    """(held, asked) of the earlier edits and their neighbours, right after this one was made."""


@dataclass(frozen=True, kw_only=True)
class StackChanged(Event):
    """The stack as it is on disk and in the model now."""

    folder: str
    base: str
    position: int
    edits: tuple[EditRow, ...] = ()
    """The current line, oldest first; those after `position` are undone."""
    drift: float = 0.0
    """|W − W0| / |W0| at the present position."""
    branches: int = 0
    """Edits on disk that are on no current line."""
    branch: str = "main"
    """Name of the current line."""
    names: tuple[str, ...] = ()
    """Names of all branches."""
    perplexity_base: float | None = None
    bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class StacksBeside(Event):
    """The other stacks in the folder that the open one is in, where the engine runs."""

    folder: str
    """That folder."""
    stacks: tuple[tuple[str, str, str], ...] = ()
    """Folder, what is in it in words, and why it cannot be opened on this model, or ""."""


@dataclass(frozen=True, kw_only=True)
class StackDelta(Event):
    """A part of what a change of the stack has changed."""

    now: StackChanged
    """All but the rows."""
    edits: tuple[EditRow, ...]
    """Rows that are new, or differ in more than their state."""
    version: int
    """Counts the lines of this kind."""
    whole: bool = False
    """Nothing of what was told before is kept."""
    more: bool = False
    """Another line with rows of the same change follows."""
    at: tuple[int, ...] = ()
    """Where in the line each of `edits` stands, from 0."""
    length: int = 0
    """How many rows the line has now."""
    states: tuple[tuple[RowState, int], ...] = ()
    """The states of all rows in order, each with how many follow one another."""
