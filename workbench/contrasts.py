"""Comparing two states of a stack: the probes that a person adds, and how far two answers lie apart.

The event is part of the wire as those in `workbench.events` are, and is read from there. Free of torch.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, Self, get_args

from workbench.edits import MAX_TEXT
from workbench.errors import UsageError
from workbench.event_base import Event

Kind = Literal["efficacy", "paraphrase", "neighbourhood"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MOST_ADDED = 1_000
"""Most probes that a person can add to one stack."""


@dataclass(frozen=True, kw_only=True)
class Compared(Event):
    """How far the next-token distributions of two states lie apart after one prompt."""

    prompt: str
    a: str
    """The state, as it was asked for."""
    b: str
    kl: float | None
    """KL(A ‖ B) in nats; None: infinite, or not a number."""
    kl_back: float | None
    """KL(B ‖ A)."""
    shared: int
    """How many of the `of` likeliest tokens both have."""
    of: int


@dataclass(frozen=True)
class AddedProbe:
    """A probe that a person watches besides those of the edits.

    Raises:
        UsageError: on construction, where a text is empty, too long or not valid Unicode, or the kind is none.
    """

    prompt: str
    expected: str = ""
    """The answer that must be likelier than the base's own; empty for a neighbour: whatever the base says."""
    kind: Kind = "efficacy"

    def __post_init__(self) -> None:
        if not self.prompt.strip():
            raise UsageError("The prompt is empty.", "Write the beginning of a sentence.")
        if self.kind not in KINDS:
            raise UsageError(f"There is no kind '{self.kind}'.", f"It is one of {', '.join(KINDS)}.")
        if self.kind != "neighbourhood" and not self.expected.strip():
            raise UsageError("The expected answer is empty.", "Only a neighbour may leave it to the base.")
        for text in (self.prompt, self.expected):
            if len(text) > MAX_TEXT or any("\ud800" <= c <= "\udfff" or c == "\0" for c in text):
                raise UsageError(f"A probe is valid Unicode of at most {MAX_TEXT} characters.")

    def to_json(self) -> dict[str, Any]:
        """A plain document; `from_json` reads it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: object) -> Self:
        """Reads what `to_json` wrote. Raises UsageError."""
        fields = document if isinstance(document, dict) else {}
        prompt, expected, kind = (fields.get(name) for name in ("prompt", "expected", "kind"))
        if not (isinstance(prompt, str) and isinstance(expected, str) and kind in KINDS):
            raise UsageError("A probe has a prompt, an expected answer and a kind.", f"Kinds: {', '.join(KINDS)}.")
        return cls(prompt, expected, kind)


def added_probes(value: object) -> tuple[AddedProbe, ...]:
    """A list of documents as probes. Raises UsageError."""
    if not isinstance(value, list) or len(value) > MOST_ADDED:
        raise UsageError(f"Added probes are a list of at most {MOST_ADDED}.")
    return tuple(AddedProbe.from_json(item) for item in value)
