"""One edit from request to rank-one update: rows, keys, offset, factors. No weight is written here, ever."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING

from workbench.editing.cancel import check
from workbench.editing.graphs import refused
from workbench.editing.lookup import texts_of
from workbench.editing.objective import prepare
from workbench.editing.optimise import Offset, optimise
from workbench.editing.second_moment import SecondMoment
from workbench.editing.telling import (
    count,
    division_warnings,
    key_ready,
    memory_warnings,
    recording_notes,
    second_moment_warnings,
    slow_warnings,
)
from workbench.editing.update import Update, rank_one
from workbench.edits import BATCHED, SINGLE, SLOT, EditRequest, Recipe
from workbench.errors import EditError, RequestError
from workbench.events import Event, OptimStep, StageStarted
from workbench.models.device import within_memory
from workbench.models.families import EditSite

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def make_update(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    site: EditSite,
    request: EditRequest,
    recipe: Recipe,
    templates: Sequence[str],
    second_moment: SecondMoment | None,
    cancelled: Callable[[], bool],
    *,
    plain: bool = False,
) -> Generator[Event, None, Update]:
    """Computes the update that writes `request` into the down-projection `site`; yields what happens as it does.

    `templates` are those of `sample_templates`, the bare `{}` first. `second_moment` None, or a recipe that does not
    want one, means C = I, and a Warning says so. The model's weights, flags, hooks and the global random state are
    untouched at every event and at the end, however it ends. `plain` runs every layer on every token at every step: the
    oracle for the fast way, which gives the same numbers.

    Raises:
        Cancelled: `cancelled` said so; asked before the keys and before every evaluation of the loss.
        RequestError: the templates do not start with the bare `{}`, or one has not exactly one slot.
        EditError: the method makes no rank-one update, no token for subject or target, a text too long, something not
            a number, a zero division factor, a layer from which nothing reaches the target.
        ModelError: the tokenizer, the head or the site are not what is needed.
        DeviceError: the device ran out of memory.
    """
    check_ground(recipe, templates)
    chosen = second_moment if recipe.second_moment else None
    with within_memory():
        yield StageStarted(stage="keys", detail=count(templates))
        check(cancelled)
        texts = texts_of(tokenizer, request, templates)
        prepared = prepare(model, site, [texts], recipe, plain=plain)
        (keys,) = prepared.keys
        yield key_ready(keys, texts.rows[0])
        yield from slow_warnings(prepared.slow)
        yield from second_moment_warnings(chosen, recipe)
        yield StageStarted(stage="optimise", detail=f"at most {recipe.steps} steps")
        before = refused(model)
        offset = yield from _single(optimise(model, prepared.objective, recipe, cancelled))
        yield from recording_notes(before, refused(model))
        yield from memory_warnings(prepared.objective.rows_at_once, len(templates) + 1)
        update = rank_one(recipe.method, keys, offset, chosen)
    yield from division_warnings(update)
    return update


def check_ground(recipe: Recipe, templates: Sequence[str]) -> None:
    """Raises RequestError unless the first template is the bare `{}`, EditError for a method of another kind."""
    if recipe.method in BATCHED:
        raise EditError(f"{recipe.method} makes one update of many requests.", "Make it as a batch.")
    if recipe.method not in SINGLE:
        raise EditError("An imported update cannot be derived anew: how it was made is not known.", "Take it as it is.")
    if not templates or templates[0] != SLOT:
        raise RequestError("The first context template must be the bare {}.", "Sample the templates again.")


def _single(
    steps: Generator[list[OptimStep | None], None, list[Offset | EditError]],
) -> Generator[Event, None, Offset]:
    """The steps of one request, one event each. Raises EditError if that is how it ended."""
    while True:
        try:
            (step,) = next(steps)
        except StopIteration as stop:
            (ended,) = stop.value
            if isinstance(ended, EditError):
                raise ended from None
            offset: Offset = ended
            return offset
        if step:
            yield step
