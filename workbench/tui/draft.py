"""A request as it is typed: plain text that may not be a request yet, and the reason why not, field by field."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any, Literal, Self

from workbench import events as ev
from workbench.edits import SLOT, EditRequest, Neighbour, Recipe, chat_from_json, with_slot
from workbench.errors import RequestError, UsageError
from workbench.recipe_words import typed

Field = Literal["subject", "prompt", "target_new", "settings"]

ARROW = "=>"
"""Stands between a neighbour and its right answer."""
CHAT = "chat"
"""Among the settings: whether the prompt is a user's turn. It is the request's own, not the profile's."""


@dataclass(frozen=True)
class Draft:
    """What a person has typed so far."""

    subject: str = ""
    prompt: str = ""
    """With `{}`, or with the subject written out."""
    target_new: str = ""
    target_true: str = ""
    """Empty: none."""
    paraphrases: str = ""
    """One a line, a line break in it as \\n; `{}` stands for the subject."""
    neighbours: str = ""
    """One a line, `prompt => answer` where the right answer is known."""
    settings: str = ""
    """Changes to the model's profile: `name=value name=value`; and `chat=true`, for a prompt that is a user's turn."""

    @property
    def empty(self) -> bool:
        """Nothing is typed."""
        return not any(asdict(self).values())

    @cached_property
    def checks(self) -> dict[Field, str]:
        """What is wrong, by field; empty if it can be made."""
        found: dict[Field, str] = {}
        for name in ("subject", "prompt", "target_new"):
            if not getattr(self, name).strip():
                found[name] = "empty"
        if "prompt" not in found and "subject" not in found:
            found |= self._check_slot()
        try:
            self.overrides()
        except UsageError as error:
            found["settings"] = error.message
        if not found:
            try:
                self.request()
            except RequestError as error:
                found["prompt"] = error.message
        return found

    def _check_slot(self) -> dict[Field, str]:
        try:
            slots = with_slot(self.prompt, self.subject.strip()).count(SLOT)
        except RequestError:
            places = self.prompt.count(self.subject.strip())
            return {"prompt": f"subject {places} times" if places else "no {} for the subject"}
        return {} if slots == 1 else {"prompt": f"{slots} slots, needs one"}

    @property
    def problem(self) -> str:
        """The first thing that is wrong, as a sentence; "" if it can be made."""
        labels = {"subject": "subject", "prompt": "prompt", "target_new": "target", "settings": "settings"}
        for name, reason in self.checks.items():
            return f"{labels[name]}: {reason}"
        return ""

    @property
    def slotted(self) -> str:
        """The prompt with `{}` in it where that can be told."""
        try:
            return with_slot(self.prompt, self.subject.strip())
        except RequestError:
            return self.prompt

    def request(self) -> EditRequest:
        """What is to be edited in. Raises RequestError."""
        subject = self.subject.strip()
        return EditRequest.from_text(
            self.prompt.strip(),
            subject,
            self.target_new.strip(),
            target_true=self.target_true.strip() or None,
            paraphrases=tuple(line.replace(SLOT, subject) for line in _lines(self.paraphrases)),
            neighbours=tuple(_neighbour(line) for line in _lines(self.neighbours)),
            chat=chat_from_json(self._settings().get(CHAT)),
        )

    def overrides(self) -> dict[str, Any]:
        """The changes to the profile, checked. Raises UsageError."""
        values = self._settings()
        chat_from_json(values.pop(CHAT, None))
        Recipe.from_json(values)
        return values

    def _settings(self) -> dict[str, Any]:
        return settings_of(self.settings)

    @property
    def chat(self) -> bool:
        """The prompt is a user's turn, as far as the settings can be read."""
        return f"{CHAT}=true" in self.settings.split()

    @property
    def recipe_settings(self) -> str:
        """The settings without `chat`."""
        return " ".join(part for part in self.settings.split() if not part.startswith(f"{CHAT}="))

    def makes(self, row: ev.EditRow) -> bool:
        """`row` is what this draft asks for."""
        try:
            request = self.request()
        except UsageError:
            return False
        return (request.prompt, request.subject, request.target_new) == (row.prompt, row.subject, row.target_new)

    @classmethod
    def from_request(cls, request: EditRequest, settings: str = "") -> Self:
        """`request` as one would have typed it."""
        neighbours = (_one_line(f"{n.prompt} {ARROW} {n.expected or ''}".rstrip()) for n in request.neighbours)
        return cls(
            request.subject,
            request.prompt,
            request.target_new,
            request.target_true or "",
            "\n".join(map(_one_line, request.paraphrases)),
            "\n".join(neighbours),
            with_chat(settings, request.chat is not None),
        )

    def to_json(self) -> dict[str, str]:
        """A plain document; `from_json` reads it back."""
        return {name: text for name, text in asdict(self).items() if text}

    @classmethod
    def from_json(cls, document: object) -> Self:
        """Reads what `to_json` wrote; unknown fields are dropped. Raises UsageError."""
        if not isinstance(document, dict):
            raise UsageError("a draft is not an object")
        values = {f.name: document[f.name] for f in fields(cls) if f.name in document}
        if not all(isinstance(value, str) for value in values.values()):
            raise UsageError("a draft has a field that is not text")
        return cls(**values)


def settings_of(text: str) -> dict[str, Any]:
    """Everything that `name=value name=value` sets, by name. Raises UsageError."""
    values: dict[str, Any] = {}
    for part in text.split():
        name, equals, value = part.partition("=")
        if not equals:
            raise UsageError(f"'{part}' is not name=value.")
        values[name] = typed(value)
    return values


def recipe_settings(text: str) -> dict[str, Any]:
    """As `settings_of`, without what is the request's own."""
    return {name: value for name, value in settings_of(text).items() if name != CHAT}


def with_chat(settings: str, chat: bool) -> str:
    """The settings, with `chat` or without."""
    return f"{settings} {CHAT}=true".strip() if chat else settings


def _lines(text: str) -> list[str]:
    return [line.strip().replace("\\n", "\n") for line in text.split("\n") if line.strip()]


def _one_line(text: str) -> str:
    return text.replace("\n", "\\n")


def _neighbour(line: str) -> Neighbour:
    prompt, arrow, expected = line.rpartition(ARROW)
    return Neighbour(prompt.strip(), expected.strip() or None) if arrow else Neighbour(line)
