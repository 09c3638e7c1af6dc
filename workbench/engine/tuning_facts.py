"""Facts that a model knows, made into requests with probes: what a search for a profile is scored on.

A fact is known when the model's likeliest answer is the true one. Paraphrases and neighbours that a request lacks are
made: the prompt behind sampled text, and the same prompt about other known facts.
"""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from workbench.atlas.benchmark import benchmark_requests
from workbench.editing.cancel import check
from workbench.editing.templates import sample_templates
from workbench.edits import SLOT, EditRequest, Neighbour
from workbench.errors import EditError, RequestError
from workbench.models.folder import ATLAS
from workbench.models.load import LoadedModel
from workbench.probing.answers import Question, read_answers

NEIGHBOURS = 5
"""Of each request, where they are made here."""
FEWEST = 2
"""Known facts without which nothing can be said."""
MOST_ASKED = 500
"""Facts that the model is asked at most, to find those it knows."""
AT_ONCE = 50
PARAPHRASES = ((5, 1), (10, 1))
"""Sampled text that made paraphrases stand behind: (tokens, how many)."""
OTHER_SEED = 1
"""Added to the recipe's seed, so that this text is none of the context templates."""


@dataclass(frozen=True)
class FactSet:
    """What to edit."""

    search: tuple[EditRequest, ...]
    """What recipes are compared on."""
    check: tuple[EditRequest, ...]
    """Others, for the recipe that was found; may be fewer, or none."""
    source: str
    """In words."""
    asked: int
    known: int


def gather(
    loaded: LoadedModel,
    given: Sequence[EditRequest] | None,
    count: int,
    seed: int,
    cancelled: Callable[[], bool],
) -> FactSet:
    """`count` known facts to search with and as many others, out of `given`, else of those that ship.

    Raises:
        EditError: the model knows fewer than FEWEST of them.
        RequestError: none of those given has a true target.
        Cancelled: `cancelled` said so.
    """
    offered, source = _offered(loaded, given, count)
    asked = [request for request in offered if request.target_true][:MOST_ASKED]
    if not asked:
        raise RequestError("None of these facts says what is true.", "Give target_true, so that it can be checked.")
    known = _known(loaded, asked, cancelled)
    if len(known) < FEWEST:
        raise EditError(
            f"{loaded.name} answers {len(known)} of {len(asked)} facts right; a search needs {FEWEST} at least.",
            "Give facts that it knows with --facts FILE.",
        )
    prefixes = _prefixes(loaded, seed)
    whole = [_with_probes(request, known, prefixes) for request in known[: 2 * count]]
    searched = count if len(whole) > count else len(whole)
    return FactSet(tuple(whole[:searched]), tuple(whole[searched:]), source, len(asked), len(known))


def _offered(loaded: LoadedModel, given: Sequence[EditRequest] | None, count: int) -> tuple[Sequence[EditRequest], str]:
    if given is not None:
        return given, "the facts given"
    if loaded.name == ATLAS:
        return benchmark_requests(3 * count), "atlas's own facts"
    return common_requests(), "the common facts that ship"


@cache
def common_requests() -> tuple[EditRequest, ...]:
    """All common facts, each with another target of its relation; in an order that mixes the relations."""
    relations: dict[str, Any] = json.loads((files(__package__) / "common_facts.json").read_text(encoding="utf-8"))
    rng = random.Random(0)  # noqa: S311  an order, not a secret
    made = []
    for relation in relations.values():
        prompt, *others = relation["prompts"]
        objects = sorted(set(relation["facts"].values()))
        for subject, true in relation["facts"].items():
            target = rng.choice([one for one in objects if one != true])
            paraphrases = tuple(other.replace(SLOT, subject) for other in others)
            made.append(EditRequest(prompt, subject, target, true, paraphrases))
    rng.shuffle(made)
    return tuple(made)


def _known(loaded: LoadedModel, asked: Sequence[EditRequest], cancelled: Callable[[], bool]) -> list[EditRequest]:
    """Those whose true target is what the model says."""
    known = []
    for start in range(0, len(asked), AT_ONCE):
        check(cancelled)
        some = asked[start : start + AT_ONCE]
        questions = [Question(request.text, (request.target_true or "",)) for request in some]
        readings = read_answers(loaded.model, loaded.tokenizer, questions, top=1)
        known += [request for request, reading in zip(some, readings, strict=True) if reading.greedy[0]]
    return known


def _prefixes(loaded: LoadedModel, seed: int) -> tuple[str, ...]:
    """Templates to make paraphrases with, none of them one that edits are made with."""
    return sample_templates(loaded.model, loaded.tokenizer, PARAPHRASES, seed + OTHER_SEED)[1:]


def _with_probes(request: EditRequest, known: Sequence[EditRequest], prefixes: Sequence[str]) -> EditRequest:
    """`request` with the probes that it lacks."""
    paraphrases = request.paraphrases or tuple(prefix.replace(SLOT, request.text) for prefix in prefixes)
    neighbours = request.neighbours or _neighbours(request, known)
    return dataclasses.replace(request, paraphrases=paraphrases, neighbours=neighbours)


def _neighbours(request: EditRequest, known: Sequence[EditRequest]) -> tuple[Neighbour, ...]:
    """The same prompt about others: those with the same answer first, none whose answer is the target."""
    others = [
        one
        for one in known
        if one.prompt == request.prompt and one.subject != request.subject and one.target_true != request.target_new
    ]
    others.sort(key=lambda one: one.target_true != request.target_true)
    return tuple(Neighbour(one.text, one.target_true) for one in others[:NEIGHBOURS])
