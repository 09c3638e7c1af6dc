"""Requests as a user's turn of a chat: what the tokenizer's chat template puts around a prompt, taken from it once.

The frame is recorded with the request, so that an edit can be derived anew also where a template has changed since, or
says what day it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from workbench.edits import MAX_TEXT, Chat, EditRequest
from workbench.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_PROMPT, _ANSWER = "WORKBENCHPROMPT", "WORKBENCHANSWER"
"""Words that stand for the prompt and the answer while the template is read."""


def framed(tokenizer: PreTrainedTokenizerBase, request: EditRequest) -> EditRequest:
    """`request` with the frame that it is to have, if it is to have one and has none yet. Raises as `chat_of`."""
    if request.chat is None or request.chat.known:
        return request
    return replace(request, chat=chat_of(tokenizer))


def chat_of(tokenizer: PreTrainedTokenizerBase) -> Chat:
    """What the chat template of `tokenizer` puts around a user's words, up to where the answer begins.

    A model that may think aloud is told not to; a space that the template puts before an answer ends the frame.

    Raises:
        ModelError: there is no chat template, or it does not put the user's words into one place.
    """
    if not tokenizer.chat_template:
        raise ModelError("The model's tokenizer has no chat template.", "Leave out --chat to edit on raw text.")
    turn = {"role": "user", "content": _PROMPT}
    text = _rendered(tokenizer, [turn], add_generation_prompt=True)
    if text.count(_PROMPT) != 1:
        raise ModelError(
            "The model's chat template does not put a prompt into one place.", "Leave out --chat to edit on raw text."
        )
    before, after = text.split(_PROMPT)
    if len(before) > MAX_TEXT or len(after) > MAX_TEXT:
        raise ModelError(
            f"The model's chat template puts {len(before) + len(after)} characters around a prompt.",
            "Leave out --chat to edit on raw text.",
        )
    return Chat(before, after + _lead(tokenizer, turn, text))


def _lead(tokenizer: PreTrainedTokenizerBase, turn: dict[str, str], text: str) -> str:
    """The space, if any, that the template puts between `text`, where an answer is due, and the answer."""
    answer = {"role": "assistant", "content": _ANSWER}
    try:
        answered = _rendered(tokenizer, [turn, answer], add_generation_prompt=False)
    except ModelError:
        return ""  # a template that takes no answers puts nothing before one
    return " " if answered.startswith(f"{text} {_ANSWER}") else ""


def _rendered(tokenizer: PreTrainedTokenizerBase, turns: Sequence[dict[str, str]], **options: bool) -> str:
    templating: Any = tokenizer  # its return type depends on its arguments
    try:
        return str(templating.apply_chat_template(turns, tokenize=False, enable_thinking=False, **options))
    except Exception as error:  # a template is a program, and may fail in any way
        raise ModelError(
            f"The model's chat template cannot be used: {error}.", "Leave out --chat to edit on raw text."
        ) from error
