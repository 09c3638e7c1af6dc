"""Before an edit is made: what is likely to go wrong with it, how badly, and what can be done.

Source of the first-token rule: *The Fall of ROME* (arXiv 2406.11263): collapse comes from subjects that are the first
token, whose key is unlike every key with text before it.
"""

from __future__ import annotations

import shlex
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace

from workbench.editing.chat import framed
from workbench.editing.lookup import Row, lookup_rows, target_ids
from workbench.edits import SLOT, EditRequest, Recipe
from workbench.engine.conflicts import facts, same_words
from workbench.engine.core import Core
from workbench.engine.preflight_keys import key_findings
from workbench.errors import EditError, RequestError
from workbench.events import Event, Preflight
from workbench.models.device import within_memory
from workbench.probing.answers import Question, read_answers

TOLD = 64
"""Requests of one batch that are looked at before it is made; `workbench apply --check` looks at all."""
LONG, VERY_LONG = 4, 9
"""Tokens of a target from which it is said, and warned of."""


def preflight(core: Core, request: EditRequest, recipe: Recipe, *, quick: bool = False) -> tuple[Preflight, ...]:
    """What a person should know before `request` is edited into the present state with `recipe`; nothing is changed.

    Args:
        core: the model and the stack.
        request: what is asked for; the frame of a chat is known.
        recipe: how.
        quick: while a person types: what needs C is left out unless C is factorised already.

    Raises:
        RequestError, EditError, ModelError: the edit could not be made at all; it would raise the same.
    """
    tokenizer = core.loaded.tokenizer
    (row,) = lookup_rows(tokenizer, request, (SLOT,))
    target = target_ids(tokenizer, request.target_new, request.chat)
    before = tuple(_said_before(core, request))
    named = {one.edit for one in before}
    found = (
        *_first_token(row, recipe),
        *_known(core, request),
        *before,
        *(
            one
            for one in key_findings(core, request, row, recipe, quick=quick)
            if not one.edit or one.edit not in named
        ),
        *_target(target),
        *_text(request),
    )
    return tuple(replace(one, prompt=request.text) for one in found)


def look_ahead(
    core: Core, request: EditRequest, recipe: Recipe, *, quick: bool = False
) -> Generator[Event, None, tuple[Preflight, ...]]:
    """Yields what `preflight` finds; that an edit cannot be made at all is one finding more.

    Raises:
        ModelError: the model has no such layer or no chat template. DeviceError: the device ran out of memory.
    """
    try:
        with within_memory():
            found = preflight(core, framed(core.loaded.tokenizer, request), recipe, quick=quick)
    except (EditError, RequestError) as error:
        found = (Preflight(topic="impossible", severity="danger", message=error.message, hint=error.hint),)
    yield from found
    return found


def told(core: Core, requests: Sequence[EditRequest], recipe: Recipe) -> Iterator[Preflight]:
    """The same before edits that are to be made, of the first `TOLD`; what cannot be made at all says so itself."""
    for request in requests[:TOLD]:
        try:
            with within_memory():
                yield from preflight(core, request, recipe)
        except (EditError, RequestError):
            continue


def _first_token(row: Row, recipe: Recipe) -> Iterator[Preflight]:
    """The subject's last token has nothing before it."""
    if row.lookup != 0 or recipe.method == "c-rome":
        return
    alone = len(row.ids) == 1
    what = f"“{row.token}” is the first {'and only ' if alone else ''}token of the text"
    if recipe.method == "rome":
        yield Preflight(
            topic="first-token",
            severity="danger",
            message=f"{what}: its key is unlike those with text before it, ROME uses one of each, and the division "
            "factor between them may be tiny. Edits like this one break models.",
            hint="Use --method r-rome or c-rome, or begin the prompt with other words.",
        )
        return
    yield Preflight(
        topic="first-token",
        severity="danger" if alone and recipe.method == "p-rome" else "warning",
        message=f"{what}: its key there is unlike those with text before it, so that the edit may hold in one of the "
        "two cases only.",
        hint="Use --method c-rome, or begin the prompt with other words.",
    )


def _known(core: Core, request: EditRequest) -> Iterator[Preflight]:
    """The answer is right already."""
    loaded = core.loaded
    (reading,) = read_answers(
        loaded.model, loaded.tokenizer, [Question(request.text, (request.target_new,), request.chat)], top=1
    )
    if reading.greedy[0]:
        yield Preflight(
            topic="known",
            severity="warning",
            message=f"The model says “{request.target_new.strip()}” already, p {reading.probabilities[0]:.3f}.",
            hint="There is nothing to edit: leave it out.",
            value=reading.probabilities[0],
        )


def _said_before(core: Core, request: EditRequest) -> Iterator[Preflight]:
    """The newest earlier edit about the same fact."""
    asked, stack = facts(request), shlex.quote(str(core.stack.folder))
    for edit in reversed(core.stack.active):
        for one in () if edit.imported else edit.requests:
            if asked.isdisjoint(facts(one)):
                continue
            same = same_words(one.target_new) == same_words(request.target_new)
            yield Preflight(
                topic="repeated-edit" if same else "overwrites",
                severity="note" if same else "warning",
                message=f"Edit {edit.number} is about the same fact: {one.text} → {one.target_new}.",
                hint="" if same else f"Leave that one out first: workbench toggle {stack} {edit.number}.",
                edit=edit.id,
            )
            return


def _target(target: Sequence[int]) -> Iterator[Preflight]:
    if len(target) >= LONG:
        yield Preflight(
            topic="long-target",
            severity="warning" if len(target) >= VERY_LONG else "note",
            message=f"The target has {len(target)} tokens, which one value has to bring about.",
            hint="A shorter answer holds better; its first tokens count most.",
            value=float(len(target)),
            limit=float(LONG),
        )


def _text(request: EditRequest) -> Iterator[Preflight]:
    """What is wrong with the words."""
    times = same_words(request.text).count(same_words(request.subject))
    if times > 1:
        yield Preflight(
            topic="repeated",
            severity="note",
            message=f"The subject stands {times} times in the prompt; the edit is made where the slot is.",
            hint="Put {} at the place that the answer follows from, or name it once.",
            value=float(times),
        )
    target = same_words(request.target_new)
    leaks = [text for text in (request.text, *request.paraphrases) if f" {target} " in f" {same_words(text)} "]
    if leaks:
        yield Preflight(
            topic="leak",
            severity="note",
            message=f"“{leaks[0]}” holds the target itself: that it is answered so proves little.",
            hint="Ask without naming the answer.",
        )
