"""The events of sharing: what went out, what came in, and what two stacks are together.

They are part of the wire as those in `workbench.events` are, and are read from there. Free of torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from workbench.event_base import Event


@dataclass(frozen=True, kw_only=True)
class Exported(Event):
    """Something of a stack was written for others."""

    format: str
    """"bundle", "edit", "requests", "peft" or "merged"."""
    out: str
    count: int
    """How many edits, or requests, it holds."""
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Imported(Event):
    """Edits of others were taken into the stack, all or none."""

    sources: tuple[str, ...]
    """Where they came from."""
    added: tuple[str, ...]
    """Ids that they have here."""
    skipped: int
    """How many were there already."""
    position: int


@dataclass(frozen=True, kw_only=True)
class Pushed(Event):
    """A stack is in a repository on the Hub."""

    repo: str
    revision: str
    commit: str
    count: int
    """How many edits it holds."""
    sent: int
    """How many of them were not there yet."""
    bytes: int
    """Of all that was sent."""
    url: str
    card: bool = True
    """Whether README.md is made by workbench; False: somebody wrote one, and it stays."""


@dataclass(frozen=True, kw_only=True)
class Pulled(Event):
    """A stack came from a repository on the Hub."""

    repo: str
    revision: str
    commit: str
    folder: str
    count: int
    """How many edits its line holds."""
    added: int
    """How many edits were not here yet."""
    outcome: Literal["new", "grown", "same", "ahead", "branch"]
    """The stack here became it, grew to it, was the same, has gone on from it, or holds it as a branch now."""
    branch: str = ""
    """The branch that it became."""
    left: tuple[str, ...] = ()
    """Branches and tags of it that were left out, because other ones have their names here."""


@dataclass(frozen=True, kw_only=True)
class MergePlanned(Event):
    """What a merge would put together."""

    ours: str
    theirs: str
    """The stack, bundle or branch that is merged in."""
    order: str
    """"ours-first" or "theirs-first"."""
    common: int
    """Edits that both lines begin with."""
    count_ours: int
    """Edits of ours after those."""
    count_theirs: int
    repeated: int
    """Edits of theirs left out because ours has the same update."""
    off: int = 0
    """Edits of theirs left out because they are toggled off there."""
    undone: int = 0
    """Edits of either side left out because they are undone."""
    incomparable: int = 0
    """Edits whose keys could not be held against others."""


@dataclass(frozen=True, kw_only=True)
class Conflict(Event):
    """Two edits, or an edit and the union, that do not go together."""

    kind: Literal["target", "key", "probe"]
    """The same subject and relation with two targets; keys that are nearly one; a probe that fails in the union."""
    ours: str = ""
    """Id of our edit; empty where a probe of theirs fails."""
    theirs: str = ""
    prompt: str = ""
    """What was asked, the subject in its place; ours, where the two differ."""
    other_prompt: str = ""
    """Theirs, where the two differ."""
    target_ours: str = ""
    target_theirs: str = ""
    module: str = ""
    cosine: float | None = None
    """Of the keys, under the inverse of C."""
    answer: str = ""
    """What the union answers."""
    p_alone: float | None = None
    """Probability of what is expected, where its side stands alone."""
    p_union: float | None = None


@dataclass(frozen=True, kw_only=True)
class Merged(Event):
    """What came of a merge; all of it is written, or nothing."""

    written: bool
    added: tuple[str, ...]
    """Ids of the edits that were put in place, as they stand in the line now."""
    targets: int
    """Facts with two targets."""
    keys: int
    """Pairs of keys beyond the threshold; not all of them need have been listed."""
    probes: int
    """Probes that fail in the union."""
    needed: bool
    """Whether theirs had anything that ours has not."""
    undecided: bool
    """Whether there are conflicts of targets or probes about which nobody has chosen yet."""
    position: int
