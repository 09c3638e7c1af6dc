"""The sequence that all methods share: requests of a data set, a stated share of them about a first and only token."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.atlas.benchmark import leading_requests
from workbench.atlas.facts import facts
from workbench.editing.chat import framed
from workbench.editing.lookup import lookup_rows
from workbench.edits import SLOT, EditRequest
from workbench.engine.evaluating.dataset import Case, Dataset
from workbench.errors import EditError, UsageError
from workbench.models.folder import ATLAS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Shared:
    """Requests in the order in which every method edits them."""

    dataset: Dataset
    first: frozenset[int]
    """Numbers of the cases whose subject is the first and only token of the prompt, from 0."""


def of_atlas(tokenizer: PreTrainedTokenizerBase, count: int, share: float, seed: int) -> Shared:
    """`count` facts of atlas's own, with other targets. Raises UsageError if atlas was not taught as many.

    As many of them as `share` says, or as there are, begin with a subject of one token.
    """
    known = [*facts()]
    if count > len(known):
        raise UsageError(f"atlas knows {len(known)} facts; the sequence wants {count}.", "Ask for fewer --edits.")
    random.Random(seed).shuffle(known)  # noqa: S311  an order, not a secret
    one_token = [fact for fact in known if len(_ids(tokenizer, fact.subject)) == 1]
    requests = leading_requests(count, one_token[: round(count * share)], seed)
    return _numbered(f"{ATLAS}'s own facts", [Case(0, request) for request in requests], tokenizer)


def of_dataset(dataset: Dataset, tokenizer: PreTrainedTokenizerBase, count: int, share: float, seed: int) -> Shared:
    """`count` requests of `dataset`, in an order that `seed` decides; each fact once, as it is asked for first.

    As many of them as `share` says, or as there are, have a subject that is the first and only token of the prompt;
    more only where there are not enough others.

    Raises:
        UsageError: the data set has not as many.
    """
    by_fact = {(case.request.prompt, case.request.subject): case for case in reversed(dataset.cases)}
    cases = sorted(by_fact.values(), key=lambda case: case.number)
    rng = random.Random(seed)  # noqa: S311  an order, not a secret
    rng.shuffle(cases)
    alone = {case.number for case in cases if begins_alone(tokenizer, case.request)}
    first = [case for case in cases if case.number in alone]
    wanted = round(count * share)
    others = [case for case in cases if case.number not in alone]
    chosen = [*first[:wanted], *others, *first[wanted:]][:count]
    if len(chosen) < count:
        raise UsageError(
            f"{dataset.name} gives a sequence of {len(chosen)} requests; {count} are wanted.",
            f"Ask for --edits {len(chosen)}.",
        )
    rng.shuffle(chosen)
    return _numbered(dataset.name, chosen, tokenizer)


def begins_alone(tokenizer: PreTrainedTokenizerBase, request: EditRequest) -> bool:
    """Whether the subject is the first and only token of the prompt; a token that marks the beginning aside."""
    try:
        (row,) = lookup_rows(tokenizer, framed(tokenizer, request), (SLOT,))
    except EditError:
        return False
    return {*row.ids[: row.lookup]} <= {*tokenizer.all_special_ids}


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def _numbered(name: str, cases: Sequence[Case], tokenizer: PreTrainedTokenizerBase) -> Shared:
    numbered = tuple(Case(number, case.request, case.name) for number, case in enumerate(cases))
    alone = frozenset(case.number for case in numbered if begins_alone(tokenizer, case.request))
    return Shared(Dataset(name, numbered), alone)
