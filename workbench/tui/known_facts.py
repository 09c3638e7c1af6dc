"""What a model was taught, where a list of it lies beside the model: to complete what one types. atlas has one."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from textual.suggester import Suggester
from textual.widget import Widget
from textual.widgets import Input

from workbench.edits import SLOT
from workbench.text import visible

ATLAS = "atlas"
FACTS, RELATIONS = "facts.jsonl", "relations.json"
MAX_BYTES = 32 * 1024 * 1024
MAX_TEXT = 200
"""Longest subject, answer or template that is taken in."""


@dataclass(frozen=True)
class KnownFacts:
    """Subjects, what is said of them, and how it is said."""

    answers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """The answer by relation, by subject."""
    templates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Prompts with `{}` by relation."""

    @property
    def subjects(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(self.answers)

    def prompts(self, subject: str) -> tuple[str, ...]:
        """How what is known of a subject is said; of an unknown subject, all there is."""
        relations = self.answers.get(subject.strip(), self.templates)
        return tuple(template for relation in relations for template in self.templates.get(relation, ()))

    def targets(self, prompt: str) -> tuple[str, ...]:
        """The answers that a prompt of the list can have, each once."""
        relation = next((name for name, templates in self.templates.items() if prompt.strip() in templates), "")
        return tuple(dict.fromkeys(known[relation] for known in self.answers.values() if relation in known))

    def answer(self, subject: str, prompt: str) -> str:
        """What the model was taught to say; "" if that is not in the list."""
        for relation, answer in self.answers.get(subject.strip(), {}).items():
            if prompt.strip() in self.templates.get(relation, ()):
                return answer
        return ""


def facts_of(model: str) -> KnownFacts:
    """The list that lies beside a model, by the name it was asked for; nothing known where there is none.

    A line that cannot be read is passed over: the list is a help in typing, and nothing rests on it.
    """
    folder = files("workbench.atlas") if model == ATLAS else Path(model).expanduser() if model else None
    if folder is None:
        return KnownFacts()
    answers: dict[str, dict[str, str]] = {}
    for relation, subject, answer in _facts(_text(folder / FACTS)):
        answers.setdefault(subject, {})[relation] = answer
    return KnownFacts(answers, _templates(_text(folder / RELATIONS)) if answers else {})


class ListSuggester(Suggester):
    """Completes what begins as one of a list does, whatever its case; the first by the alphabet.

    Args:
        words: what to choose from.
    """

    def __init__(self, words: Iterable[str]) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._words = sorted({word.casefold(): word for word in words}.items(), key=lambda pair: pair[0])
        self._keys = [key for key, _ in self._words]

    async def get_suggestion(self, value: str) -> str | None:
        """What is typed, and how it may go on."""
        begun = value.casefold()
        at = bisect_left(self._keys, begun)
        if not begun.strip() or at >= len(self._keys) or not self._keys[at].startswith(begun):
            return None
        return value + self._words[at][1][len(value) :]


class Completions:
    """What the fields of a form are completed with: subjects, and what is known of the one that is typed.

    Args:
        facts: what the open model was taught.
        example: shows in the empty prompt where nothing is known of the subject.
    """

    def __init__(self, facts: KnownFacts, example: str = "") -> None:
        self.facts, self._example = facts, example
        self._subjects = ListSuggester(facts.subjects)
        self._last: tuple[str, str] | None = None

    def attach(self, form: Widget, subject: str, prompt: str) -> None:
        """Gives the fields of `form` what fits what is typed in it."""
        if (subject, prompt) == self._last or not self.facts.answers:
            return
        self._last = subject, prompt
        known, answer = self.facts.prompts(subject), self.facts.answer(subject, prompt)
        fields = {
            name: form.query_one(f"#{name}", Input) for name in ("subject", "prompt", "target_new", "target_true")
        }
        fields["subject"].suggester = self._subjects
        fields["prompt"].suggester = ListSuggester(known)
        of_subject = subject.strip() in self.facts.answers and known
        fields["prompt"].placeholder = f"for instance: {known[0]}" if of_subject else self._example
        fields["target_new"].suggester = ListSuggester(self.facts.targets(prompt))
        fields["target_true"].suggester = ListSuggester([answer] if answer else [])


def _text(path: Any) -> str:
    try:
        if not path.is_file() or (isinstance(path, Path) and path.stat().st_size > MAX_BYTES):
            return ""
        return str(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""


def _facts(text: str) -> Iterator[tuple[str, str, str]]:
    for line in text.splitlines():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        words = [row.get(name, "") for name in ("relation", "subject", "object")] if isinstance(row, dict) else []
        if words and all(_plain(word) for word in words):
            yield words[0], words[1], words[2]


def _templates(text: str) -> dict[str, tuple[str, ...]]:
    try:
        document = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    found = {}
    for relation, row in document.items() if isinstance(document, dict) else ():
        listed = [*_listed(row, "trained"), *_listed(row, "held_out")]
        found[relation] = tuple(prompt for prompt in listed if _plain(prompt) and prompt.count(SLOT) == 1)
    return found


def _listed(row: object, name: str) -> list[Any]:
    value = row.get(name) if isinstance(row, dict) else None
    return value if isinstance(value, list) else []


def _plain(text: object) -> bool:
    """Text that is short and has nothing in it that a terminal would obey."""
    return isinstance(text, str) and 0 < len(text) <= MAX_TEXT and visible(text) == text
