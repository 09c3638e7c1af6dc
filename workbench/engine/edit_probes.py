"""Which probes of an edit are asked: all there are of a few requests; of many, the efficacy of all and a stated sample.

The sample follows from how many requests there are and from a seed, so that whoever has the file asks the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from workbench.edits import EditRequest
from workbench.probing.probes import Probe, probes_of
from workbench.stack.record import Edit

EVERY = 64
"""Requests of an edit whose paraphrases and neighbours are asked, at most."""

Owned = tuple[int, Probe]
"""A probe, and which request of the edit it belongs to, from 0."""


def sample(count: int, seed: int) -> tuple[int, ...]:
    """EVERY of `count` places, or all if there are no more, ascending: those whose sha256 with the seed is lowest."""
    if count <= EVERY:
        return tuple(range(count))
    drawn = sorted(range(count), key=lambda place: hashlib.sha256(f"{seed} {place}".encode()).digest())
    return tuple(sorted(drawn[:EVERY]))


def owned_probes(requests: Sequence[EditRequest], seed: int = 0) -> list[Owned]:
    """The efficacy of every request first, in order; then what else those of the sample ask to be watched."""
    own: list[Owned] = []
    others: list[Owned] = []
    sampled = {*sample(len(requests), seed)}
    for place, request in enumerate(requests):
        first, *rest = probes_of(request)
        own.append((place, first))
        others += [(place, probe) for probe in rest if place in sampled]
    return own + others


def probes_of_edit(edit: Edit) -> list[Probe]:
    """The probes of an edit, in the order of `owned_probes`; of an imported one none."""
    return [] if edit.imported else [probe for _, probe in owned_probes(edit.requests, edit.recipe.seed)]
