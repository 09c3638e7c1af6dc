"""What comes next after a prompt in one state of a stack, asked once a state and kept for a while."""

from __future__ import annotations

from torch import Tensor

from workbench.edits import Chat
from workbench.engine.at_state import at_state, digest, find_state
from workbench.engine.core import Core
from workbench.probing.answers import next_token_log_p

MOST = 32
"""Distributions that are kept; the one asked for longest ago gives way."""


def next_tokens(core: Core, word: str, prompt: str, chat: Chat | None = None) -> Tensor:
    """Log-probabilities of the next token after `prompt` in the state that `word` names: (vocabulary,), on the CPU.

    With `chat` the prompt is a user's turn of it.

    Raises:
        UsageError, StackError, VerificationError, BaseMismatch: as `at_state`.
        EditError: the prompt has no token, or more than the model reads.
    """
    key = digest(find_state(core, word)), prompt, chat
    kept = core.next_tokens
    found = kept.pop(key, None)
    if found is None:
        with at_state(core, word):
            found = next_token_log_p(core.loaded.model, core.loaded.tokenizer, [prompt], chat)[0]
    kept[key] = found  # to the end
    for oldest in [*kept][:-MOST]:
        del kept[oldest]
    return found
