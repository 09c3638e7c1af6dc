"""Facts that no edit is about, asked as sentences to be completed: what else the model still knows. Needs no network.

On atlas its own facts in templates that it never saw in training; on other models the common facts that ship, which
they may or may not know: what counts is the difference from the base.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.atlas.facts import facts, relations
from workbench.editing.cancel import check
from workbench.edits import MAX_TEXT, EditRequest
from workbench.engine.conflicts import same_words
from workbench.engine.core import Core
from workbench.engine.tuning_facts import common_requests
from workbench.errors import StackError, UsageError
from workbench.events import Event, HealthStep
from workbench.models.folder import ATLAS
from workbench.probing.answers import Question, read_answers
from workbench.stack.files import read_bytes
from workbench.stack.strictjson import MalformedError, parse

ASKED = 200
"""Facts that are asked."""
AT_ONCE = 100
LARGEST = 16 * 2**20
"""Bytes of a file of questions, at most."""


@dataclass(frozen=True)
class Item:
    """The beginning of a sentence, and how it goes on."""

    prompt: str
    answer: str


@dataclass(frozen=True)
class Cloze:
    """How a model completed them, now and as the base."""

    right: tuple[bool, ...]
    """Item by item: the model's likeliest answer is the right one."""
    right_base: tuple[bool, ...]

    @property
    def share(self) -> float | None:
        """Answered right; None: nothing was asked."""
        return sum(self.right) / len(self.right) if self.right else None

    @property
    def share_base(self) -> float | None:
        """The same of the base."""
        return sum(self.right_base) / len(self.right_base) if self.right else None

    @property
    def error(self) -> float:
        """Standard error of the difference; both were asked the same, so it is taken item by item."""
        return _error([now - before for now, before in zip(self.right, self.right_base, strict=True)])

    @property
    def error_now(self) -> float:
        """Standard error of `share`."""
        return _error(self.right)

    @property
    def error_base(self) -> float:
        """The same of `share_base`."""
        return _error(self.right_base)


def _error(values: Sequence[float]) -> float:
    """Standard error of a mean; 0 of fewer than two values."""
    count = len(values)
    if count < 2:
        return 0.0
    middle = sum(values) / count
    return math.sqrt(sum((value - middle) ** 2 for value in values) / (count - 1) / count)


def items_for(core: Core, edited: Iterable[EditRequest], seed: int, count: int = ASKED) -> list[Item]:
    """`count` facts about subjects that no request in `edited` speaks of; the same seed gives the same ones."""
    about = {same_words(one.subject) for one in edited}
    offered = _of_atlas() if core.loaded.name == ATLAS else _common()
    others = [item for subject, item in offered if same_words(subject) not in about]
    return random.Random(seed).sample(others, min(count, len(others)))  # noqa: S311  a sample, not a secret


def _of_atlas() -> list[tuple[str, Item]]:
    plain = {key: relation.held_out[0] for key, relation in relations().items() if relation.held_out}
    return [(f.subject, Item(plain[f.relation].replace("{}", f.subject), f.object)) for f in facts()]


def _common() -> list[tuple[str, Item]]:
    return [(one.subject, Item(one.text, one.target_true or "")) for one in common_requests()]


def read_items(file: Path) -> list[Item]:
    """The items of a JSONL file, one {"prompt", "answer"} a line.

    Raises:
        UsageError: it is none, with the line, or is not there, or larger than LARGEST.
        StorageError: it may not be read.
    """
    try:
        lines = read_bytes(file, LARGEST).split(b"\n")
    except StackError as error:
        raise UsageError(
            f"The questions in '{file}' cannot be read: {error.message}", "Give a file of JSON lines."
        ) from error
    found = [_item(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not found:
        raise UsageError(f"'{file}' is empty.", 'Write one {"prompt": ..., "answer": ...} a line.')
    return found


def _item(number: int, line: bytes) -> Item:
    try:
        document: Any = parse(line)
    except MalformedError as error:
        raise UsageError(f"Line {number} is not JSON.", 'Write one {"prompt": ..., "answer": ...} a line.') from error
    fields = document if isinstance(document, dict) else {}
    texts = [text for name in ("prompt", "answer") if isinstance(text := fields.get(name), str)]
    if len(texts) != 2 or not all(text.strip() and len(text) <= MAX_TEXT for text in texts):
        raise UsageError(f"Line {number} has no texts 'prompt' and 'answer'.", f"At most {MAX_TEXT} characters each.")
    return Item(*texts)


def complete(core: Core, items: Sequence[Item], cancelled: Callable[[], bool]) -> Generator[Event, None, Cloze]:
    """Asks all of the model as it is now and of the base, which is asked once. Raises Cancelled."""
    right: list[bool] = []
    base: list[bool] = []
    for start in range(0, len(items), AT_ONCE):
        check(cancelled)
        yield HealthStep(what="facts that were not edited", done=start, of=len(items))
        questions = [Question(one.prompt, (one.answer,)) for one in items[start : start + AT_ONCE]]
        said = read_answers(core.loaded.model, core.loaded.tokenizer, questions, top=1)
        right += [one.greedy[0] and not math.isnan(one.probabilities[0]) for one in said]
        base += [one.greedy[0] for one in core.base_answers.read(questions)]
    return Cloze(tuple(right), tuple(base))
