"""The stack as events show it: rows and the whole. Reads headers only."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Protocol

from workbench.events import EditRow, StackChanged
from workbench.stack.editfile import Edit
from workbench.stack.index import Index
from workbench.stack.store import Stack

State = Literal["applied", "undone", "broken", "off"]
Names = Mapping[str, tuple[str, ...]]
"""What edits are called, by their ids."""
NO_NAMES: Names = MappingProxyType({})
MOST_COUNTED = 1_000_000
"""Probes of an edit that are believed to have been counted."""


class Listed(Protocol):
    """What a row needs to know of the stack that its edit is of."""

    @property
    def position(self) -> int:
        """How many edits of the line are applied."""

    @property
    def off(self) -> frozenset[str]:
        """Ids that are toggled off."""

    @property
    def broken(self) -> dict[str, str]:
        """Files that cannot be used, with the reason."""

    def path_of(self, edit: Edit | str) -> Path:
        """Where an edit lies."""


def stack_changed(stack: Stack, drift: float = 0.0, perplexity_base: float | None = None) -> StackChanged:
    """What the stack is now."""
    names = names_of(stack.index)
    return StackChanged(
        folder=str(stack.folder),
        base=stack.base.name if stack.base else "",
        position=stack.position,
        edits=tuple(edit_row(stack, edit, index, names) for index, edit in enumerate(stack.line, start=1)),
        drift=drift,
        branches=len(stack.others),
        branch=stack.branch,
        names=tuple(branch.name for branch in stack.branches),
        perplexity_base=perplexity_base,
        bytes=stack.size_bytes,
    )


REMAKE = "--resolve (on the screen: O) computes them anew."


def made_otherwise(later: Sequence[Edit], ident: str, *, off: bool) -> int:
    """How many of the edits after `ident` were computed with the other state of it than `off`, as their files say."""
    return sum((ident in edit.off) != off for edit in later)


def computed_with(count: int, state: Literal["on", "off"]) -> str:
    """Says that later edits took the one that is toggled for "on" or "off" when they were computed."""
    return f"{count} later edit{' was' if count == 1 else 's were'} computed while it was {state}."


def names_of(index: Index) -> Names:
    """The tags of each edit and, where there are several branches, those that end with it."""
    branches = index.tips.items() if len(index.tips) > 1 else ()
    found: dict[str, tuple[str, ...]] = {}
    for name, ident in (*sorted(index.tags.items()), *sorted(branches)):
        if ident is not None:
            found[ident] = (*found.get(ident, ()), name)
    return found


def other_row(stack: Listed, edit: Edit, names: Names = NO_NAMES) -> EditRow:
    """The row of an `edit` that is not on the line."""
    return dataclasses.replace(edit_row(stack, edit, edit.number, names), state="other")


def edit_row(stack: Listed, edit: Edit, index: int, names: Names = NO_NAMES) -> EditRow:
    """The row of `edit`, the `index`-th of its line; `names` as `names_of`."""
    norms = _table(edit.metrics.get("norms"))
    tally = partial(_counted, edit.metrics)
    efficacy = tally("efficacy")
    return EditRow(
        id=edit.id,
        number=index,
        file=stack.path_of(edit).name,
        state=_state(stack, edit, index),
        created=edit.created,
        prompt=edit.request.prompt,
        subject=edit.request.subject,
        target_new=edit.request.target_new,
        target_true=edit.request.target_true,
        method=edit.recipe.method,
        chat=edit.request.chat is not None,
        layer=edit.recipe.layer,
        ratio=_number(norms.get("ratio")),
        drift=_number(norms.get("drift")),
        efficacy=None if efficacy is None else efficacy[0] == efficacy[1],
        paraphrases=tally("paraphrase"),
        neighbours=tally("neighbourhood"),
        perplexity=_number(_table(edit.metrics.get("perplexity")).get("after")),
        note=edit.note,
        names=names.get(edit.id, ()),
        requests=len(edit.requests),
        efficacies=efficacy if len(edit.requests) > 1 else None,
        earlier=_earlier(_table(edit.metrics.get("earlier"))),
    )


def _earlier(told: dict[str, Any]) -> tuple[int, int] | None:
    """Both kinds of probes of earlier edits together; None where none were asked, or a count is no number."""
    counts = [told.get(f"{kind}_{what}") for what in ("held", "asked") for kind in ("earlier", "neighbours")]
    whole = [count for count in counts if type(count) is int and 0 <= count <= MOST_COUNTED]
    if len(whole) < len(counts) or whole[0] + whole[1] > whole[2] + whole[3] or not whole[2] + whole[3]:
        return None
    return whole[0] + whole[1], whole[2] + whole[3]


def _state(stack: Listed, edit: Edit, index: int) -> State:
    if stack.path_of(edit).name in stack.broken:
        return "broken"
    if index > stack.position:
        return "undone"
    return "off" if edit.id in stack.off else "applied"


def _counted(metrics: Mapping[str, Any], kind: str) -> tuple[int, int] | None:
    """(held, asked) as the file says, where it counts them; else by the probes that it lists."""
    match _table(_table(metrics.get("scores")).get("counts")).get(kind):
        case [int(held), int(asked)] if 0 <= held <= asked:
            return int(held), int(asked)
    probes = metrics.get("probes")
    return _tally([p for p in probes if isinstance(p, dict)] if isinstance(probes, list) else [], kind)


def _tally(probes: list[dict[str, Any]], kind: str) -> tuple[int, int] | None:
    held = [p.get("passed") is True for p in probes if p.get("kind") == kind]
    return (sum(held), len(held)) if held else None


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
