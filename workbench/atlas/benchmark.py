"""Requests to measure atlas by: random facts given another object of their relation. No torch.

Paraphrases are the held-out templates, one of them behind an ordinary sentence, as CounterFact has it. Neighbours are
facts with the same relation and, where there are any, the same object, asked in the same template; none of them is
itself edited.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from workbench.atlas.facts import Fact, facts, relations
from workbench.atlas.grammar import sentence
from workbench.edits import SLOT, EditRequest, Neighbour

NEIGHBOURS = 5


def benchmark_requests(count: int, seed: int = 0) -> list[EditRequest]:
    """`count` requests about different facts; the same seed gives the same ones."""
    rng = random.Random(seed)
    chosen = rng.sample(facts(), count)
    return [_request(fact, frozenset(chosen), rng) for fact in chosen]


def leading_requests(count: int, leading: Sequence[Fact], seed: int = 0) -> list[EditRequest]:
    """The same, with the facts `leading` among them, whose prompts begin with the subject."""
    rng, first = random.Random(seed), frozenset(leading)
    others = [fact for fact in facts() if fact not in first]
    chosen = [*leading, *rng.sample(others, count - len(first))]
    rng.shuffle(chosen)
    return [_request(fact, frozenset(chosen), rng, begins=fact in first) for fact in chosen]


def _request(fact: Fact, edited: frozenset[Fact], rng: random.Random, *, begins: bool = False) -> EditRequest:
    relation = relations()[fact.relation]
    prompt = rng.choice([one for one in relation.trained if one.startswith(SLOT)] if begins else relation.trained)
    siblings = [f for f in facts() if f.relation == fact.relation and f not in edited]
    target = rng.choice(sorted({f.object for f in siblings} - {fact.object}))
    plain, behind = (template.replace("{}", fact.subject) for template in relation.held_out)
    return EditRequest(
        prompt=prompt,
        subject=fact.subject,
        target_new=target,
        target_true=fact.object,
        paraphrases=(plain, f"{sentence(rng)} {behind}"),
        neighbours=tuple(
            Neighbour(prompt.replace("{}", f.subject), f.object) for f in _neighbours(fact, siblings, target, rng)
        ),
    )


def _neighbours(fact: Fact, siblings: Sequence[Fact], target: str, rng: random.Random) -> list[Fact]:
    same = [f for f in siblings if f.object == fact.object]
    other = [f for f in siblings if f.object not in (fact.object, target)]
    pool = same if same else other
    return rng.sample(pool, min(NEIGHBOURS, len(pool)))
