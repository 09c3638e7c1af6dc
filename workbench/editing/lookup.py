"""Texts to token rows: where the subject's last token is, and which ids the target has.

Positions come from the tokenizer's offset mapping and targets are joined as ids, so that BOS, merges across words and
characters of several bytes cannot shift anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.edits import SLOT, Chat, EditRequest
from workbench.errors import EditError, ModelError, RequestError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

KL_SUFFIX = " is a"
"""What follows the subject in the row that holds the divergence down."""

_ANCHOR = "a"
"""A word to put before a target, so that its leading space is tokenised as in running text."""


@dataclass(frozen=True)
class Row:
    """One tokenised text and the token that is looked up in it."""

    ids: tuple[int, ...]
    """Token ids, with what the tokenizer puts in front (BOS) and without what it puts behind (EOS)."""
    lookup: int
    """Index in `ids` of the subject's last token."""
    token: str
    """That token, as text."""


@dataclass(frozen=True)
class Texts:
    """One request as token rows: what the keys are read from and what the loss is made of."""

    rows: tuple[Row, ...]
    """The prompt behind each context template, the bare one first; without the target."""
    kl: Row
    """The row "{subject} is a" (ROME, section 3.1)."""
    target: tuple[int, ...]
    """The ids of the target."""


def texts_of(tokenizer: PreTrainedTokenizerBase, request: EditRequest, templates: Sequence[str]) -> Texts:
    """`request` behind every one of `templates`, in order.

    Raises:
        RequestError, EditError, ModelError: as `lookup_rows`, `kl_row` and `target_ids`.
    """
    rows = lookup_rows(tokenizer, request, templates)
    return Texts(rows, kl_row(tokenizer, request.subject), target_ids(tokenizer, request.target_new, request.chat))


def fill(template: str, request: EditRequest) -> tuple[str, tuple[int, int]]:
    """`template` with the prompt and the subject put in, and the subject's first and one-past-last character.

    In a chat all of it is the user's turn, with the chat's frame around it.

    Raises:
        RequestError: the template does not have exactly one slot, or the chat's frame is not known.
    """
    if template.count(SLOT) != 1:
        raise RequestError(
            "A context template must have one {}.", f"This one has {template.count(SLOT)}: {template!r}."
        )
    opening, closing = frame(request.chat)
    before, after = template.split(SLOT)
    before, after = opening + before, after + closing
    start, end = request.subject_span
    return before + request.text + after, (len(before) + start, len(before) + end)


def frame(chat: Chat | None) -> tuple[str, str]:
    """What stands before and after a prompt; nothing where it is raw text. Raises RequestError if it is not known."""
    if chat is None:
        return "", ""
    if not chat.known:
        raise RequestError("The chat template of the model has not been read.", "Ask through Engine.apply.")
    return chat.before, chat.after.rstrip(" ")


def lookup_rows(tokenizer: PreTrainedTokenizerBase, request: EditRequest, templates: Sequence[str]) -> tuple[Row, ...]:
    """One row a template, in order. Raises RequestError, EditError or ModelError as `fill` and `tokenise`."""
    raw = request.chat is None
    return tuple(tokenise(tokenizer, *fill(template, request), special=raw) for template in templates)


def kl_row(tokenizer: PreTrainedTokenizerBase, subject: str) -> Row:
    """The row "{subject} is a" (ROME, section 3.1). Raises as `tokenise`."""
    return tokenise(tokenizer, subject + KL_SUFFIX, (0, len(subject)))


def tokenise(tokenizer: PreTrainedTokenizerBase, text: str, span: tuple[int, int], *, special: bool = True) -> Row:
    """`text` as ids, with the last token that overlaps the characters `span` (white space at its ends left out).

    Without `special` the tokenizer puts nothing in front and nothing behind: a chat's frame has what is needed.

    Raises:
        ModelError: the tokenizer cannot say which characters a token stands for.
        EditError: no token stands for the subject.
    """
    if not tokenizer.is_fast:
        raise ModelError(
            "The model's tokenizer gives no offsets.", "Load it with its tokenizer.json (a fast tokenizer)."
        )
    encoded = tokenizer(text, return_offsets_mapping=True, return_special_tokens_mask=True, add_special_tokens=special)
    ids = _without_tail(encoded["input_ids"], encoded["special_tokens_mask"]) if special else encoded["input_ids"]
    subject = text[span[0] : span[1]]
    start = span[0] + len(subject) - len(subject.lstrip())
    end = span[0] + len(subject.rstrip())
    offsets: list[tuple[int, int]] = encoded["offset_mapping"][: len(ids)]
    hits = [i for i, (first, last) in enumerate(offsets) if first < last and first < end and last > start]
    if not hits:
        raise EditError(
            f"The tokenizer leaves nothing of the subject '{subject}'.", "Write the subject in other letters."
        )
    first, last = offsets[hits[-1]]
    return Row(tuple(ids), hits[-1], text[first:last])


def prompt_ids(tokenizer: PreTrainedTokenizerBase, text: str, chat: Chat | None = None) -> tuple[int, ...]:
    """The ids of a prompt that something is to follow: with what the tokenizer puts in front, not what it puts behind.

    In a chat: of the user's turn, up to where the answer begins.

    Raises:
        EditError: the prompt has no tokens.
        RequestError: the chat's frame is not known.
    """
    if chat is not None:
        opening, closing = frame(chat)
        return tuple(_plain_ids(tokenizer, opening + text + closing))
    encoded = tokenizer(text, return_special_tokens_mask=True)
    ids = _without_tail(encoded["input_ids"], encoded["special_tokens_mask"])
    if not ids:
        raise EditError("The tokenizer leaves nothing of the prompt.", "Write the beginning of a sentence.")
    return tuple(ids)


def target_ids(tokenizer: PreTrainedTokenizerBase, target: str, chat: Chat | None = None) -> tuple[int, ...]:
    """The ids of `target` as it follows a word: behind one space, never two, and without special tokens.

    In a chat: as it begins an answer, behind a space only if the template has one there.

    Raises:
        EditError: the target has no tokens.
        RequestError: the chat's frame is not known.
    """
    before, text = _ANCHOR, " " + target.lstrip(" ")
    if chat is not None:
        before, text = frame(chat)[1], " " * chat.after.endswith(" ") + target.lstrip(" ")
    anchor = _plain_ids(tokenizer, before)
    joined = _plain_ids(tokenizer, before + text)
    # A tokenizer that puts a space of its own in front of every text would give the target two.
    ids = joined[len(anchor) :] if joined[: len(anchor)] == anchor else _plain_ids(tokenizer, text)
    if not ids:
        raise EditError(f"The tokenizer leaves nothing of the target '{target}'.", "Write the target in other letters.")
    return tuple(ids)


def _plain_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def _without_tail(ids: list[int], special: Sequence[Any]) -> list[int]:
    """`ids` without the special tokens that the tokenizer put behind the text: the target is to follow the text."""
    end = len(ids)
    while end > 0 and special[end - 1]:
        end -= 1
    return ids[:end]
