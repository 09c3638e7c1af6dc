"""How the earlier edits of a stack hold once a new one is in the model: so few rows that every edit can ask them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import islice, zip_longest
from typing import TypeVar

from workbench.edits import EditRequest
from workbench.engine.conflicts import facts, same_words
from workbench.engine.core import Core
from workbench.events import EarlierProbed
from workbench.probing.probes import Probe, ask, probes_of
from workbench.stack.record import Edit

ROWS = 32
"""Prompts that are asked after an edit, at most."""
EDITS = 16
"""Requests of earlier edits that are asked, at most; what they leave of `ROWS` is for neighbours."""

T = TypeVar("T")
Asked = tuple[int, Probe]
"""A probe, and the number of its edit."""


def probe_earlier(core: Core, new: Sequence[EditRequest]) -> EarlierProbed | None:
    """Asks the requests of the applied edits in the model as it is now; None where there is nothing to ask.

    Of more than `EDITS` requests an even sample is asked, the oldest and the newest among them. Answers that a request
    leaves open are the base's. What a later edit is about again, one of `new` first, is not asked.
    """
    known = standing(core.stack.active, new)
    if not known:
        return None
    asked = chosen(even_sample(known, EDITS), {same_words(one.text) for one in (*new, *(it for _, it in known))})
    probes = core.base_answers.settle([probe for _, probe in asked])
    results = ask(core.loaded.model, core.loaded.tokenizer, probes)
    held = {"efficacy": 0, "neighbourhood": 0}
    lost: list[int] = []
    for (number, probe), result in zip(asked, results, strict=True):
        held[probe.kind] += bool(result.passed)
        if probe.kind == "efficacy" and not result.passed:
            lost.append(number)
    own = sum(probe.kind == "efficacy" for _, probe in asked)
    return EarlierProbed(
        earlier=len(known),
        earlier_asked=own,
        earlier_held=held["efficacy"],
        neighbours_asked=len(asked) - own,
        neighbours_held=held["neighbourhood"],
        lost=tuple(dict.fromkeys(lost)),
    )


def standing(edits: Sequence[Edit], new: Sequence[EditRequest]) -> list[tuple[int, EditRequest]]:
    """The requests of `edits` that no later one, and none of `new`, puts another in place of; with their numbers."""
    seen = {fact for request in new for fact in facts(request)}
    found = []
    for edit in reversed([edit for edit in edits if not edit.imported]):
        for request in reversed(edit.requests):
            about = facts(request)
            if not about & seen:
                found.append((edit.number, request))
            seen |= about
    return found[::-1]


def chosen(requests: Sequence[tuple[int, EditRequest]], edited: Collection[str] = ()) -> list[Asked]:
    """The probe of every request, then neighbours, the first of each before the second of any, up to `ROWS`.

    A neighbour that is itself one of the prompts `edited`, as `same_words` has them, is not asked.
    """
    probes = [(number, probes_of(request)) for number, request in requests]
    own = [(number, all_[0]) for number, all_ in probes]
    neighbours = [
        [(number, one) for one in all_ if one.kind == "neighbourhood" and same_words(one.prompt) not in edited]
        for number, all_ in probes
    ]
    by_turns = (one for turn in zip_longest(*neighbours) for one in turn if one is not None)
    return [*own, *islice(by_turns, max(0, ROWS - len(own)))]


def even_sample(items: Sequence[T], most: int) -> list[T]:
    """At most `most` of `items`, in order, evenly spread, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]
