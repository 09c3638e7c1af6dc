"""Jobs that trace: where in the model a fact lives, for one fact or as a mean over many."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from workbench.atlas.facts import facts as shipped_facts
from workbench.editing.chat import framed
from workbench.edits import Chat, EditRequest
from workbench.errors import EditError
from workbench.events import Event, Traced, TraceStep, Warning  # noqa: A004  the wire's word
from workbench.models.families import layer_count
from workbench.models.load import LoadedModel
from workbench.probing.answers import Answer, Question, read_answers
from workbench.probing.tracing import Restored, Trace, trace
from workbench.probing.tracing_average import GROUPS, LAST_SUBJECT, SUBJECT_GROUPS, Average
from workbench.probing.tracing_text import TraceText, embedding_spread, trace_text
from workbench.traces import TraceSettings

Cancelled = Callable[[], bool]

OPEN = "\0"
"""Stands for an answer that the model is to give."""
ASKED_AT_ONCE = 256
"""Facts that the model is asked for together."""


def trace_fact(
    loaded: LoadedModel,
    prompt: str,
    subject: str,
    answer: str,
    settings: TraceSettings,
    *,
    chat: bool = False,
    side: str = "base",
    cancelled: Cancelled,
) -> Generator[Event, None, Traced | None]:
    """Traces one fact in the model as it is now; yields TraceSteps and the Traced that it returns.

    Args:
        loaded: the model.
        prompt: with `{}` or the subject in it.
        subject: who or what the fact is about.
        answer: empty: what the model itself says.
        settings: how.
        chat: the prompt is a user's turn of a chat.
        side: the state that the model is in, for the record.
        cancelled: asked between batches; then nothing is returned.

    Raises:
        RequestError: prompt and subject make no sense.
        EditError, ModelError: as `probing.tracing.trace`; there is no chat template.
    """
    asked = EditRequest.from_text(prompt, subject, answer.strip() or OPEN, chat=Chat() if chat else None)
    request, wanted = yield from _settled(loaded, framed(loaded.tokenizer, asked))
    text = trace_text(loaded.tokenizer, request, wanted)
    sigma = settings.noise * _spread(loaded, [subject])
    found = yield from _steps(loaded, text, settings, sigma, subject, cancelled)
    if found is None:
        return None
    effects = found.restored - found.corrupted  # (tokens, layers)
    subject_rows = tuple(range(text.first, text.last + 1))
    traced = Traced(
        prompt=request.prompt,
        subject=subject,
        answer=request.target_new,
        rows=text.tokens,
        subject_rows=subject_rows,
        effects=_rows(effects),
        clean=found.clean,
        corrupted=found.corrupted,
        sigma=sigma,
        side=side,
        **_peak(effects, subject_rows),
        **_how(loaded, settings),
    )
    yield traced
    return traced


def trace_facts(
    loaded: LoadedModel,
    requests: Sequence[EditRequest],
    settings: TraceSettings,
    *,
    most: int = 100,
    side: str = "base",
    cancelled: Cancelled,
) -> Generator[Event, None, Traced | None]:
    """Traces the first `most` of `requests` that the model knows; the mean effect by group of tokens.

    What is true is a request's `target_true`; of one that has none, its `target_new`.

    Raises:
        EditError: the model knows none of them.
        ModelError: as `trace_fact`.
    """
    average = Average()
    sigma = settings.noise * _spread(loaded, [request.subject for request in requests])
    known, asked = _known(loaded, requests, most)
    for index, (request, answer) in enumerate(known, 1):
        text = trace_text(loaded.tokenizer, request, answer)
        place = (index, len(known))
        found = yield from _steps(loaded, text, settings, sigma, request.subject, cancelled, place)
        if found is None:
            return None
        average.add(text, found)
    effects = average.effects()
    traced = Traced(
        prompt="",
        subject="",
        answer="",
        rows=tuple(GROUPS[group] for group in average.groups),
        subject_rows=tuple(i for i, group in enumerate(average.groups) if group in SUBJECT_GROUPS),
        effects=_rows(effects),
        clean=average.clean,
        corrupted=average.corrupted,
        sigma=sigma,
        side=side,
        facts=average.facts,
        asked=asked,
        **_peak(effects, [average.groups.index(LAST_SUBJECT)]),
        **_how(loaded, settings),
    )
    yield traced
    return traced


def _settled(loaded: LoadedModel, request: EditRequest) -> Generator[Event, None, tuple[EditRequest, Answer]]:
    """`request` with what the model itself says as its target where that is open, and the answer's text or token."""
    is_open = request.target_new == OPEN
    asked = Question(request.text, () if is_open else (request.target_new,), request.chat)
    reading = read_answers(loaded.model, loaded.tokenizer, [asked], top=1)[0]
    said, p = reading.top[0]
    if is_open:
        return replace(request, target_new=said if said.strip() else repr(said)), (reading.likeliest,)
    if not reading.greedy[0]:
        yield Warning(
            message=f"The model does not say '{request.target_new}' here: its likeliest next token is {said!r} "
            f"({p:.3f}).",
            hint="Without an answer, what it says is traced.",
        )
    return request, request.target_new


def _known(
    loaded: LoadedModel, requests: Sequence[EditRequest], most: int
) -> tuple[list[tuple[EditRequest, str]], int]:
    """The first `most` requests whose true answer the model gives, with it, and how many were asked.

    Raises:
        EditError: it knows none.
    """
    known: list[tuple[EditRequest, str]] = []
    asked = 0
    for at in range(0, len(requests), ASKED_AT_ONCE):
        framing = (framed(loaded.tokenizer, request) for request in requests[at : at + ASKED_AT_ONCE])
        some = [(request, request.target_true or request.target_new) for request in framing]
        questions = [Question(request.text, (answer,), request.chat) for request, answer in some]
        readings = read_answers(loaded.model, loaded.tokenizer, questions, top=1)
        for fact, reading in zip(some, readings, strict=True):
            asked += 1
            if reading.greedy[0]:
                known.append(fact)
            if len(known) == most:
                return known, asked
    if not known:
        raise EditError(f"The model knows none of the {asked} facts.", "Their true answers go into target_true.")
    return known, asked


def _steps(
    loaded: LoadedModel,
    text: TraceText,
    settings: TraceSettings,
    sigma: float,
    subject: str,
    cancelled: Cancelled,
    place: tuple[int, int] = (1, 1),
) -> Generator[Event, None, Trace | None]:
    """One fact's trace, its progress as events; it is the fact `place[0]` of `place[1]`."""
    steps: Generator[Restored, None, Trace | None] = trace(loaded.model, text, settings, sigma, cancelled)
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            found: Trace | None = end.value
            return found
        yield TraceStep(done=step.done, of=step.of, subject=subject, index=place[0], facts=place[1])


def _spread(loaded: LoadedModel, subjects: Sequence[str]) -> float:
    """Standard deviation of the embeddings of subjects: those of atlas's facts and those at hand."""
    names = dict.fromkeys([*(fact.subject for fact in shipped_facts()), *subjects])
    return embedding_spread(loaded.model, loaded.tokenizer, names)


def _peak(effects: Tensor, rows: Sequence[int]) -> dict[str, Any]:
    """The row and layer of the largest effect among `rows`."""
    place = int(effects[list(rows)].argmax())
    return {"peak_row": rows[place // effects.shape[1]], "peak_layer": place % effects.shape[1]}


def _how(loaded: LoadedModel, settings: TraceSettings) -> dict[str, Any]:
    return {
        "kind": settings.kind,
        "window": settings.width(layer_count(loaded.model)),
        "samples": settings.samples,
        "noise": settings.noise,
        "seed": settings.seed,
    }


def _rows(effects: Tensor) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in effects.tolist())
