"""Asking the model: next tokens, continuations, and all probes of a stack, in whatever states of it are named."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace

from workbench.editing.chat import chat_of
from workbench.editing.lookup import target_ids
from workbench.edits import Chat
from workbench.engine.at_state import at_state, check_states
from workbench.engine.core import Core
from workbench.engine.edit_probes import probes_of_edit
from workbench.engine.measuring import broken_model
from workbench.engine.next_tokens import next_tokens
from workbench.errors import UsageError
from workbench.events import Answered, Compared, Event, GenerationChunk, ProbeResult
from workbench.probing.divergence import kl_divergence, shared_top, top_tokens
from workbench.probing.generation import continuation, counted_continuation
from workbench.probing.probes import ask

LONGEST = 0.3
"""Seconds after which no further token is asked for where one only wants to see what the model says."""
PROBES_AT_ONCE = 512
"""Probes of edits that are asked together."""


@dataclass(frozen=True)
class Sampling:
    """How a text goes on; the same in every state."""

    max_new: int = 40
    temperature: float = 0.0
    """0: greedy."""
    seed: int = 0
    top: int = 8
    """Next tokens that are said besides."""


def answer(
    core: Core, prompt: str, target: str, states: Sequence[str], top: int, chat: bool = False, go_on: int = 0
) -> Generator[Event, None, None]:
    """Yields one Answered a state.

    Args:
        core: model and stack.
        prompt: what is asked; with `chat` a user's turn of the model's chat template.
        target: how many tokens this has is said, as it would be edited in.
        states: where it is asked.
        top: next tokens that are said.
        chat: whether the prompt is in a chat.
        go_on: tokens that are said at most of how the text goes on, as far as it takes no longer than LONGEST.

    Raises:
        UsageError: the prompt is empty, or there is no such state.
        ModelError: there is no chat template.
        StackError, VerificationError, BaseMismatch: a state cannot be shown; the model holds what it held.
    """
    if not prompt.strip():
        raise UsageError("The prompt is empty.", "Write the beginning of a sentence.")
    check_states(core, states)
    tokenizer = core.loaded.tokenizer
    turn = chat_of(tokenizer) if chat else None
    tokens = len(target_ids(tokenizer, target, turn)) if target.strip() else None
    for word in states:
        said = top_tokens(tokenizer, next_tokens(core, word, prompt, turn), top)
        more = _going_on(core, word, prompt, turn, go_on) if go_on else ""
        yield Answered(prompt=prompt, side=word, top=said, target_tokens=tokens, goes_on=more)


def _going_on(core: Core, word: str, prompt: str, chat: Chat | None, most: int) -> str:
    """The likeliest `most` tokens behind the prompt as text, or as many as there are after LONGEST."""
    loaded, until, said = core.loaded, time.monotonic() + LONGEST, ""
    with at_state(core, word):
        for piece in continuation(loaded.model, loaded.tokenizer, prompt, max_new=most, chat=chat):
            said += piece
            if time.monotonic() > until:
                break
    return said


def _compared(core: Core, prompt: str, a: str, b: str, top: int) -> Compared:
    first, second = next_tokens(core, a, prompt), next_tokens(core, b, prompt)
    (kl,), (back,) = kl_divergence(first[None], second[None]), kl_divergence(second[None], first[None])
    shared, of = shared_top(first, second, top)
    return Compared(prompt=prompt, a=a, b=b, kl=kl, kl_back=back, shared=shared, of=of)


def generate(
    core: Core, prompt: str, states: Sequence[str], sampling: Sampling, cancelled: Callable[[], bool]
) -> Generator[Event, None, None]:
    """Yields what `answer` does, a Compared of the first two states, and then the GenerationChunks of every state.

    The last chunk of a state is `done`. Raises as `answer`.
    """
    yield from answer(core, prompt, "", states, sampling.top)
    if len(states) > 1:
        yield _compared(core, prompt, states[0], states[1], sampling.top)
    for word in dict.fromkeys(states):
        if cancelled():
            return
        yield from _continued(core, prompt, word, sampling, cancelled)


def _continued(
    core: Core, prompt: str, word: str, sampling: Sampling, cancelled: Callable[[], bool]
) -> Generator[Event, None, None]:
    loaded, tokens = core.loaded, 0
    with at_state(core, word):
        began = time.monotonic()
        for piece, tokens in counted_continuation(
            loaded.model,
            loaded.tokenizer,
            prompt,
            max_new=sampling.max_new,
            temperature=sampling.temperature,
            seed=sampling.seed,
        ):
            yield GenerationChunk(side=word, text=piece, prompt=prompt, tokens=tokens, seconds=time.monotonic() - began)
            if cancelled():
                break
        seconds = time.monotonic() - began
    yield GenerationChunk(side=word, text="", prompt=prompt, tokens=tokens, seconds=seconds, done=True)


def probe(core: Core, cancelled: Callable[[], bool]) -> Generator[Event, None, bool]:
    """Asks every probe of the applied edits: settled on the base, asked now; returns whether all hold."""
    loaded, held = core.loaded, True
    listed = [(edit.id, probe) for edit in core.stack.active for probe in probes_of_edit(edit)]
    for start in range(0, len(listed), PROBES_AT_ONCE):
        if cancelled():
            return False
        some = listed[start : start + PROBES_AT_ONCE]
        probes = core.base_answers.settle([probe for _, probe in some])
        results = ask(loaded.model, loaded.tokenizer, probes, side=str(core.stack.position))
        for (ident, _), result in zip(some, results, strict=True):
            held = held and bool(result.passed)
            yield replace(result, edit=ident)
    now = core.perplexity()
    if now is not None:
        yield ProbeResult(
            kind="perplexity",
            prompt="held-out text",
            value=now,
            before=core.perplexity_base(),
            side=str(core.stack.position),
        )
        yield from broken_model(now)
    return held
