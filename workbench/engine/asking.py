"""Asking the model: next tokens, continuations, and all probes of a stack, on the base and as it is now."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from workbench.editing.lookup import target_ids
from workbench.engine.applying import broken_model
from workbench.engine.core import Core
from workbench.errors import UsageError
from workbench.events import Answered, Event, GenerationChunk, ProbeResult
from workbench.probing.answers import Question, read_answers
from workbench.probing.generation import continuation
from workbench.probing.probes import ask, probes_of

EDITS_AT_ONCE = 32
"""Edits whose probes are asked together."""


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
    edits = [edit for edit in core.stack.active if not edit.imported]
    for start in range(0, len(edits), EDITS_AT_ONCE):
        if cancelled():
            return False
        some = edits[start : start + EDITS_AT_ONCE]
        listed = [(edit.id, probe) for edit in some for probe in probes_of(edit.request)]
        probes = core.base_answers.settle([probe for _, probe in listed])
        results = ask(loaded.model, loaded.tokenizer, probes, side=str(core.stack.position))
        for (ident, _), result in zip(listed, results, strict=True):
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
