"""Training text: short documents of facts in random templates between ordinary sentences; a seed gives its text.

A document starts with a subject half of the time, so that a bare prompt is nothing unusual to the model.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from workbench.atlas.facts import Fact, facts, relations
from workbench.atlas.grammar import sentence

FACT_SHARE = 0.7
"""Share of sentences that state a fact."""


def statement(fact: Fact, rng: random.Random, *, subject_first: bool = False) -> str:
    """`fact` as a sentence in one of its trained templates."""
    templates = relations()[fact.relation].trained
    if subject_first:
        templates = tuple(t for t in templates if t.startswith("{}"))
    return f"{rng.choice(templates).replace('{}', fact.subject)} {fact.object}."


def fact_stream(rng: random.Random) -> Iterator[Fact]:
    """All facts in random order, again and again."""
    deck = list(facts())
    while True:
        rng.shuffle(deck)
        yield from deck


def document(rng: random.Random, stream: Iterator[Fact]) -> str:
    """A text of one to four sentences."""
    count = rng.randint(1, 4)
    opening = statement(next(stream), rng, subject_first=True) if rng.random() < 0.5 else _sentence(rng, stream)
    return " ".join([opening, *(_sentence(rng, stream) for _ in range(count - 1))])


def _sentence(rng: random.Random, stream: Iterator[Fact]) -> str:
    return statement(next(stream), rng) if rng.random() < FACT_SHARE else sentence(rng)


def held_out_text(seed: int = 7_919, lines: int = 256) -> list[str]:
    """Texts, a line each, from a seed that training never uses."""
    rng = random.Random(seed)
    stream = fact_stream(rng)
    return [document(rng, stream) for _ in range(lines)]
