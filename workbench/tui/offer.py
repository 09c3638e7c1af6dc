"""The edits that a file or a paste offers, before they are taken: how many can be read, what is wrong with others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from workbench.text import shortened, visible
from workbench.tui.draft import Draft
from workbench.tui.queue import drafts_of
from workbench.tui.widgets.text import counted, fit

if TYPE_CHECKING:
    from workbench.requests import Readable

SHOWN = 4
"""Edits that are shown where all records can be read."""
SHOWN_BESIDE, WRONG_SHOWN = 2, 3
"""Edits, and records that cannot be read, where there are such."""
HEAD = 4_000
"""Characters of a text that are looked at to tell what it may be."""
LINE = 68
"""Characters of a line about a record: it stays one line in 80 columns."""
ASKED_LINE = 54
"""The same in a question."""


@dataclass(frozen=True)
class Offer:
    """What may be queued."""

    drafts: tuple[Draft, ...] = ()
    left_out: int = 0
    """Records that cannot be read."""
    reasons: tuple[str, ...] = ()
    """Where the first of these are, and why."""

    @classmethod
    def of(cls, found: Readable) -> Self:
        """What was read, as drafts."""
        return cls(drafts_of(found.requests), found.left_out, found.reasons)

    @classmethod
    def of_file(cls, path: Path) -> Self:
        """What a file offers. Raises RequestError."""
        from workbench.requests import read_readable

        return cls.of(read_readable(path))

    @classmethod
    def of_text(cls, text: str) -> Self:
        """What a pasted text offers. Raises RequestError."""
        from workbench.requests import readable

        return cls.of(readable(_unified(text), "The pasted text"))

    @property
    def count(self) -> str:
        """As in 12 edits; 2 records cannot be read and are left out."""
        edits = counted(len(self.drafts), "edit")
        if not self.left_out:
            return edits
        cannot = "cannot be read and is left out" if self.left_out == 1 else "cannot be read and are left out"
        return f"{edits}; {counted(self.left_out, 'record')} {cannot}"

    @property
    def question(self) -> str:
        """Whether to queue them; under it what is wrong with the first records that are left out."""
        return "\n".join((f"Queue {self.count}?", *_wrong(self, ASKED_LINE)))

    @property
    def added(self) -> str:
        """As in 12 edits added, 2 records left out; record 3: the field 'subject' is not text."""
        more = f", {counted(self.left_out, 'record')} left out" if self.left_out else ""
        why = f"; {shortened(visible(self.reasons[0]), LINE).rstrip('.')}" if self.reasons else ""
        return f"{counted(len(self.drafts), 'edit')} added{more}{why}."


def may_be_records(text: str) -> bool:
    """Whether a pasted text may be records of requests, by how it begins: JSON, CSV with a header, lines of JSON."""
    begun = "".join(text[:HEAD].split())
    header, *rows = _unified(text.lstrip()[:HEAD]).split("\n")
    listed = rows and all(name in header.lower() for name in ("subject", "prompt", "target"))
    return begun.startswith(('{"', "[{")) or bool(listed) or any(row.lstrip().startswith('{"') for row in rows)


def _unified(text: str) -> str:
    """With every line break a newline: most terminals paste a carriage return in its place."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def preview(offer: Offer) -> str:
    """How many edits there are, the first few, and what is wrong with the first records that are not among them."""
    shown = SHOWN_BESIDE if offer.left_out else SHOWN
    lines = [f"✓ {offer.count}{'.' if offer.left_out else ';'} enter queues them."]
    if not offer.drafts:
        lines = [f"✗ None of its records can be read ({offer.left_out:,})."]
    lines += [f"  {_short(d.subject)}: {_short(d.prompt)} -> {_short(d.target_new)}" for d in offer.drafts[:shown]]
    if len(offer.drafts) > shown:
        lines.append(f"  and {len(offer.drafts) - shown:,} more")
    return "\n".join((*lines, *_wrong(offer)))


def _wrong(offer: Offer, line: int = LINE) -> list[str]:
    """A line for each of the first records that cannot be read; the last says how many more there are."""
    shown = offer.reasons[:WRONG_SHOWN]
    rest = offer.left_out - len(shown)
    more = f"  and {rest:,} more" if rest else ""
    rooms = [line] * (len(shown) - 1) + [line - len(more)]
    lines = [fit(f"✗ {visible(reason)}", room).rstrip() for reason, room in zip(shown, rooms, strict=False)]
    return [*lines[:-1], lines[-1] + more] if lines else []


def _short(text: str) -> str:
    return shortened(visible(text), 40)
