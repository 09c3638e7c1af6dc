"""What a person asks for, and how it is made: requests, probes, recipes. Frozen, validated, and free of torch."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any, Literal, Self

from workbench.errors import RequestError
from workbench.recipes import BATCHED, IMPORTED, METHODS, SINGLE, Method, Recipe

__all__ = [
    "BATCHED",
    "IMPORTED",
    "MAX_PROBES",
    "MAX_TEXT",
    "METHODS",
    "SINGLE",
    "SLOT",
    "Chat",
    "EditRequest",
    "Method",
    "Neighbour",
    "ProbeKind",
    "Recipe",
    "chat_from_json",
    "imported_request",
    "with_slot",
]

ProbeKind = Literal["efficacy", "paraphrase", "neighbourhood", "generation", "perplexity"]

_HALF_PAIR = re.compile("[\ud800-\udfff]")
"""Half of a surrogate pair: no Unicode text holds one."""

SLOT = "{}"
"""Where the subject goes in a prompt template."""

MAX_TEXT = 4_000
"""Longest text of a request, in characters."""
MAX_PROBES = 200
"""Most paraphrases, and most neighbours, of one request."""


@dataclass(frozen=True)
class Neighbour:
    """A prompt about something else, whose answer must not change."""

    prompt: str
    expected: str | None = None
    """The right answer; None: whatever the base model says."""


@dataclass(frozen=True)
class Chat:
    """The user's turn of a chat: what the model's chat template puts around a prompt. Both empty: not yet known."""

    before: str = ""
    after: str = ""
    """Up to where the answer begins. A space at its end is the answer's first letter."""

    @property
    def known(self) -> bool:
        """Whether the template has been read."""
        return bool(self.before or self.after)


@dataclass(frozen=True)
class EditRequest:
    """A prompt template with exactly one `{}`, a subject, and what the model shall say.

    Braces other than the one `{}` of `prompt` are ordinary text: the slot is found by position, never by formatting.

    Raises:
        RequestError: on construction, with the field and the reason.
    """

    prompt: str
    subject: str
    target_new: str
    target_true: str | None = None
    paraphrases: tuple[str, ...] = ()
    """Whole prompts, without a slot, that mean the same."""
    neighbours: tuple[Neighbour, ...] = ()
    chat: Chat | None = None
    """The prompt is a user's turn, and the target the beginning of the answer; None: raw text that the target goes on.

    Its probes are asked in the same way."""

    def __post_init__(self) -> None:
        _check_prompt(self.prompt, self.subject)
        _check_text("subject", self.subject)
        _check_text("target", self.target_new)
        if self.target_true is not None:
            _check_text("true target", self.target_true)
        if len(self.paraphrases) > MAX_PROBES or len(self.neighbours) > MAX_PROBES:
            raise RequestError(f"More than {MAX_PROBES} probes of one kind.", "Keep the ones that matter.")
        for probe in (*self.paraphrases, *(n.prompt for n in self.neighbours)):
            _check_text("probe", probe)
        for neighbour in self.neighbours:
            if neighbour.expected is not None:
                _check_text("neighbour's answer", neighbour.expected)

    @classmethod
    def from_text(cls, prompt: str, subject: str, target_new: str, **more: Any) -> Self:
        """As the constructor, but a prompt without `{}` gets one where the subject stands, if that is one place.

        Raises:
            RequestError: the subject stands nowhere, or in several places.
        """
        return cls(with_slot(prompt, subject), subject, target_new, **more)

    @property
    def text(self) -> str:
        """The prompt with the subject in its place."""
        before, after = self.prompt.split(SLOT)
        return before + self.subject + after

    @property
    def subject_span(self) -> tuple[int, int]:
        """First and one-past-last character of the subject in `text`."""
        start = self.prompt.index(SLOT)
        return start, start + len(self.subject)

    def to_json(self) -> dict[str, Any]:
        """A plain document; `from_json` reads it back. One on raw text does not speak of chats."""
        document = dataclasses.asdict(self)
        if self.chat is None:
            del document["chat"]
        elif not self.chat.known:
            document["chat"] = True
        return document

    @classmethod
    def from_json(cls, document: object) -> Self:
        """Reads what `to_json` wrote. Raises RequestError with the field that is wrong."""
        if not isinstance(document, dict):
            raise RequestError("A request must be a JSON object.", "See workbench apply --help for the shapes.")
        for field in ("prompt", "subject", "target_new"):
            if not isinstance(document.get(field), str):
                raise RequestError(f"The request has no text '{field}'.", "It needs prompt, subject and target_new.")
        true = document.get("target_true")
        if true is not None and not isinstance(true, str):
            raise RequestError("The field 'target_true' must be text.", "Leave it out if there is none.")
        return cls(
            document["prompt"],
            document["subject"],
            document["target_new"],
            true,
            tuple(_texts(document.get("paraphrases", ()), "paraphrases")),
            tuple(_neighbours(document.get("neighbours", ()))),
            chat_from_json(document.get("chat")),
        )


def imported_request(name: str, what: str) -> EditRequest:
    """What stands in a record in place of a request where there was none; goes with the method IMPORTED.

    Args:
        name: what the person calls it.
        what: what it is: "rank 8 in 4 modules".

    Raises:
        RequestError: a text is empty or too long.
    """
    return EditRequest(prompt=f"LoRA adapter {SLOT}", subject=name, target_new=what)


def with_slot(prompt: str, subject: str) -> str:
    """`prompt` with `{}` in place of the subject, unless it has one already. Raises RequestError."""
    if SLOT in prompt or not subject:
        return prompt
    places = prompt.count(subject)
    if places == 0:
        raise RequestError(
            f"The subject '{subject}' is not in the prompt.", "Write {} in the prompt where the subject stands."
        )
    if places > 1:
        raise RequestError(
            f"The subject '{subject}' stands {places} times in the prompt.", "Write {} at the one that is meant."
        )
    return prompt.replace(subject, SLOT)


def _check_prompt(prompt: str, subject: str) -> None:
    _check_text("prompt", prompt)
    slots = prompt.count(SLOT)
    if slots == 0:
        raise RequestError("The prompt has no {} for the subject.", "Write {} where the subject stands.")
    if slots > 1:
        raise RequestError(f"The prompt has {slots} slots.", "Write {} once, where the subject stands.")
    if not subject.strip():
        raise RequestError("The subject is empty.", "Say who or what the fact is about.")


def _check_text(field: str, text: str) -> None:
    if not text.strip():
        raise RequestError(f"The {field} is empty.", f"Write the {field} as text.")
    if len(text) > MAX_TEXT:
        raise RequestError(f"The {field} is {len(text)} characters long.", f"At most {MAX_TEXT}.")
    if _HALF_PAIR.search(text):
        raise RequestError(f"The {field} is not valid Unicode.", "It holds half of a surrogate pair.")


def chat_from_json(value: object) -> Chat | None:
    """True for a chat whose template is still to be read; False or None for raw text. Raises RequestError."""
    if value is None or isinstance(value, bool):
        return Chat() if value else None
    if not isinstance(value, dict) or value.keys() != {"before", "after"}:
        raise RequestError("The field 'chat' must be true or false.", "True: the prompt is a user's turn of a chat.")
    for text in value.values():
        if not isinstance(text, str) or len(text) > MAX_TEXT or _HALF_PAIR.search(text):
            raise RequestError(f"The frame of the chat must be text of at most {MAX_TEXT} characters.")
    return Chat(value["before"], value["after"])


def _texts(value: object, field: str) -> list[str]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(v, str) for v in value):
        raise RequestError(f"The field '{field}' must be a list of texts.")
    return list(value)


def _neighbours(value: object) -> list[Neighbour]:
    if not isinstance(value, (list, tuple)):
        raise RequestError("The field 'neighbours' must be a list.")
    found = []
    for item in value:
        if isinstance(item, str):
            item = {"prompt": item}
        if not isinstance(item, dict) or not isinstance(item.get("prompt"), str):
            raise RequestError("A neighbour must be a text or have a 'prompt'.")
        expected = item.get("expected")
        if expected is not None and not isinstance(expected, str):
            raise RequestError("A neighbour's 'expected' must be text.")
        found.append(Neighbour(item["prompt"], expected))
    return found
