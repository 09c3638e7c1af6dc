"""Asking the model: next tokens, continuations, and all probes of a stack, on the base and as it is now."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager

from workbench.editing.lookup import target_ids
from workbench.engine.applying import broken_model
from workbench.engine.core import Core
from workbench.errors import UsageError
from workbench.events import Answered, Event, GenerationChunk, ProbeResult
from workbench.probing.answers import Question, read_answers
from workbench.probing.generation import continuation
from workbench.probing.probes import ask, probes_of, settle


@contextmanager
def at_side(core: Core, side: str) -> Iterator[None]:
    """The model on `side`, "base" or "stack", for as long as the block lasts. Raises UsageError for another."""
    if side == "stack":
        yield
    elif side == "base":
        with core.live.at_base():
            yield
    else:
        raise UsageError(f"There is no side '{side}'.", "Use base or stack.")


def answer(core: Core, prompt: str, target: str, sides: Sequence[str], top: int) -> Generator[Event, None, None]:
    """Yields one Answered a side. Raises UsageError for an empty prompt."""
    if not prompt.strip():
        raise UsageError("The prompt is empty.", "Write the beginning of a sentence.")
    loaded = core.loaded
    tokens = len(target_ids(loaded.tokenizer, target)) if target.strip() else None
    for side in sides:
        with at_side(core, side):
            reading = read_answers(loaded.model, loaded.tokenizer, [Question(prompt)], top=top)[0]
        yield Answered(prompt=prompt, side=side, top=reading.top, target_tokens=tokens)


def generate(
    core: Core,
    prompt: str,
    sides: Sequence[str],
    max_new: int,
    temperature: float,
    seed: int,
    cancelled: Callable[[], bool],
) -> Generator[Event, None, None]:
    """Yields an Answered and then the GenerationChunks of every side; the last chunk of a side is `done`."""
    yield from answer(core, prompt, "", sides, 8)
    loaded = core.loaded
    for side in sides:
        with at_side(core, side):
            for piece in continuation(
                loaded.model, loaded.tokenizer, prompt, max_new=max_new, temperature=temperature, seed=seed
            ):
                yield GenerationChunk(side=side, text=piece, prompt=prompt)
                if cancelled():
                    break
        yield GenerationChunk(side=side, text="", prompt=prompt, done=True)


def probe(core: Core, cancelled: Callable[[], bool]) -> Generator[Event, None, bool]:
    """Asks every probe of the applied edits: settled on the base, asked now; returns whether all hold."""
    loaded, held = core.loaded, True
    for edit in (edit for edit in core.stack.active if not edit.imported):
        if cancelled():
            return False
        with core.live.at_base():
            probes = settle(loaded.model, loaded.tokenizer, probes_of(edit.request))
        for result in ask(loaded.model, loaded.tokenizer, probes, edit=edit.id, side=str(core.stack.position)):
            held = held and bool(result.passed)
            yield result
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
