"""Training text: facts in random templates between ordinary sentences. The same seed gives the same text.

A text starts with a subject half of the time, so that a bare prompt looks to the model as it does in mid-text.
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


def sentences(rng: random.Random, stream: Iterator[Fact]) -> Iterator[str]:
    """The sentences of one endless text."""
    if rng.random() < 0.5:
        yield statement(next(stream), rng, subject_first=True)
    while True:
        if rng.random() < FACT_SHARE:
            yield statement(next(stream), rng)
        else:
            yield sentence(rng)


def held_out_text(seed: int = 7_919, lines: int = 200) -> list[str]:
    """Lines of three sentences from a seed that training never uses: atlas's held-out text."""
    rng = random.Random(seed)
    stream = fact_stream(rng)
    drawn = []
    for _ in range(lines):
        text = sentences(rng, stream)
        drawn.append(" ".join(next(text) for _ in range(3)))
    return drawn
