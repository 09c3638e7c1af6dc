"""A data set as an evaluation reads it: the cases of a request file, in an order that a seed decides. Free of torch."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.atlas.benchmark import benchmark_requests
from workbench.edits import SLOT, EditRequest
from workbench.errors import RequestError
from workbench.models.folder import ATLAS
from workbench.probing.metrics_text import References
from workbench.requests import read_cases
from workbench.stack.files import read_bytes
from workbench.stack.strictjson import MalformedError, canonical, parse

OWN_FACTS = 1_000
LARGEST = 512 * 1024 * 1024
"""Bytes of a file of references, at most."""


@dataclass(frozen=True)
class Case:
    """One record of a data set."""

    number: int
    """Where it stands, from 0."""
    request: EditRequest
    name: str = ""
    """What the data set calls it: CounterFact's case_id."""
    prompts: tuple[str, ...] = ()
    """What the model is to go on with where it writes; empty: its own prompt and paraphrases."""
    topics: tuple[str, ...] = ()
    """What references to its target are listed under, the best first."""

    @property
    def written_from(self) -> tuple[str, ...]:
        """The prompts that text is written behind."""
        return self.prompts or (self.request.text, *self.request.paraphrases)


@dataclass(frozen=True)
class Dataset:
    """All cases of a file."""

    name: str
    cases: tuple[Case, ...]

    @property
    def sha256(self) -> str:
        """Of what the cases ask for, whatever the file looks like."""
        asked = [[case.request.to_json(), *case.prompts] for case in self.cases]
        return hashlib.sha256(canonical(asked).encode()).hexdigest()

    def chosen(self, limit: int | None, seed: int | None) -> tuple[Case, ...]:
        """The first `limit` cases (None: all) of the file's order, or of the order that `seed` decides."""
        cases = [*self.cases]
        if seed is not None:
            random.Random(seed).shuffle(cases)  # noqa: S311  an order, not a secret
        return tuple(cases[:limit])


def read_dataset(path: Path) -> Dataset:
    """The cases of a request file of any known shape; of "atlas", unless a file is called so, atlas's own facts.

    Raises:
        RequestError: the file cannot be read, or a record in it is wrong.
    """
    if str(path) == ATLAS and not path.exists():
        return own_facts()
    cases = [_case(number, record, request) for number, (record, request) in enumerate(read_cases(path))]
    return Dataset("standard input" if str(path) == "-" else path.name, tuple(cases))


def own_facts(count: int = OWN_FACTS) -> Dataset:
    """Facts that atlas was taught, each with another object of its relation as target; the same ones every time."""
    return Dataset(f"{ATLAS}'s own facts", tuple(Case(*one) for one in enumerate(benchmark_requests(count))))


def _case(number: int, record: object, request: EditRequest) -> Case:
    fields: dict[str, Any] = record if isinstance(record, dict) else {}
    prompts = fields.get("generation_prompts")
    listed = prompts if isinstance(prompts, list) and all(isinstance(one, str) and one for one in prompts) else []
    return Case(number, request, str(fields.get("case_id", ""))[:100], tuple(listed), _topics(fields, request))


def _topics(fields: dict[str, Any], request: EditRequest) -> tuple[str, ...]:
    rewrite = fields.get("requested_rewrite")
    target = rewrite.get("target_new") if isinstance(rewrite, dict) else None
    if isinstance(rewrite, dict) and isinstance(target, dict) and "id" in target:
        return f"{rewrite.get('relation_id')}/{target['id']}", request.target_new
    return (request.target_new,)


def read_references(path: Path) -> References:
    """Texts about targets: CounterFact's attribute_snippets.json, or an object {"target": ["text", ...]}.

    Raises:
        RequestError: the file is neither.
        StackError, StorageError: it cannot be read.
    """
    try:
        document = parse(read_bytes(path, LARGEST))
        texts = _snippets(document) if isinstance(document, list) else _by_target(document)
    except (MalformedError, KeyError, TypeError, AttributeError) as error:
        raise RequestError(
            f"{path.name} holds no reference texts.",
            'It is CounterFact\'s attribute_snippets.json, or {"Rome": ["A text.", ...], ...}.',
        ) from error
    return References(texts)


def _snippets(document: list[Any]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for one in document:
        listed = found.setdefault(f"{one['relation_id']}/{one['target_id']}", [])
        listed.extend(_text(sample["text"]) for sample in one["samples"])
    return {topic: tuple(texts) for topic, texts in found.items()}


def _by_target(document: Any) -> dict[str, tuple[str, ...]]:
    if not all(isinstance(texts, list) for texts in document.values()):
        raise TypeError("no list")
    return {target: tuple(_text(text) for text in texts) for target, texts in document.items()}


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value


def behind(prefix: str, prompt: str) -> str:
    """`prompt` in the slot of the template `prefix`."""
    before, after = prefix.split(SLOT)
    return f"{before}{prompt}{after}"


def prefixes(cases: Sequence[Case], templates: Sequence[str], seed: int) -> list[str]:
    """One of `templates`, the bare one left out, for each case: by the seed and the case alone.

    The prefixes at test time of C-ROME (arXiv 2406.11263, section 5): a context template drawn at random for each case.
    Its code puts it before the rewriting prompt; here it stands before all prompts of the case, since whoever asks an
    edited model does not know which fact was edited.
    """
    worded = [template for template in templates if template != SLOT] or [SLOT]
    return [random.Random(f"{seed} {case.number}").choice(worded) for case in cases]  # noqa: S311
