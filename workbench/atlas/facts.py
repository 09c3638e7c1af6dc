"""The facts atlas was taught: who, where, what, and the templates that say it. No torch.

Subjects and objects are Wikidata's (CC0, by way of T-REx and ParaRel, MIT). The templates were written for this
project; those under `held_out` were never trained on.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class Relation:
    """A kind of fact, and the ways to say it."""

    id: str
    """Wikidata's property id."""
    name: str
    trained: tuple[str, ...]
    """Templates with one `{}`, seen in training; the object follows."""
    held_out: tuple[str, ...]
    """Templates never seen in training."""


@dataclass(frozen=True)
class Fact:
    """A subject, what is said of it, and the answer."""

    relation: str
    subject: str
    object: str


@cache
def relations() -> dict[str, Relation]:
    """All relations by id, in the file's order."""
    raw = json.loads(_text("relations.json"))
    return {key: Relation(key, row["name"], tuple(row["trained"]), tuple(row["held_out"])) for key, row in raw.items()}


@cache
def facts() -> tuple[Fact, ...]:
    """All facts, grouped by relation; a subject has one object a relation."""
    return tuple(Fact(**json.loads(line)) for line in _text("facts.jsonl").splitlines())


def _text(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")
