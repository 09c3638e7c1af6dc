"""What a causal trace is about, of a draft or of an edit."""

from __future__ import annotations

from dataclasses import dataclass

from workbench import events as ev
from workbench.edits import IMPORTED
from workbench.tui.draft import Draft


@dataclass(frozen=True)
class Fact:
    """What is traced."""

    prompt: str
    """With `{}`."""
    subject: str
    chat: bool = False
    """The prompt is a user's turn of a chat."""


def draft_fact(draft: Draft) -> Fact | None:
    """What `draft` is about; None while prompt and subject are not yet written."""
    ready = not {"subject", "prompt"} & draft.checks.keys()
    return Fact(draft.slotted.strip(), draft.subject.strip(), draft.chat) if ready else None


def row_fact(row: ev.EditRow | None) -> Fact | None:
    """What an edit of the stack is about; None for the base, and for an update that was made elsewhere."""
    return None if row is None or row.method == IMPORTED else Fact(row.prompt, row.subject, row.chat)
