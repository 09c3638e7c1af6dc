"""Batch-then-apply: the δ of several requests, optimised side by side on one state of the model.

Each request has its own δ, its own Adam and its own end; only the passes are shared. What comes out is what each edit
would be as the next one on that state. Applied one after the other they are not what strict sequence would give: there
each is made on the state that the ones before it left.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from workbench.editing.cancel import check
from workbench.editing.edit import check_ground
from workbench.editing.graphs import refused
from workbench.editing.keys import Keys
from workbench.editing.lookup import Texts, texts_of
from workbench.editing.objective import prepare
from workbench.editing.optimise import Offset, optimise
from workbench.editing.rows import check_length, with_target
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
from workbench.edits import EditRequest, Recipe
from workbench.errors import EditError, RequestError
from workbench.events import Event, OptimStep, StageStarted, StepTogether
from workbench.models.families import EditSite

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


_UNMADE = EditError("The edit was not made.", "Try it alone.")


@dataclass
class Made:
    """What came out for one request: an update, or the error that says why there is none, and its story."""

    outcome: Update | EditError | RequestError = _UNMADE
    told: list[Event] = field(default_factory=list)


def make_updates(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    site: EditSite,
    requests: Sequence[EditRequest],
    recipe: Recipe,
    templates: Sequence[str],
    second_moment: SecondMoment | None,
    cancelled: Callable[[], bool],
) -> Generator[Event, None, list[Made]]:
    """The update of every request, all on the model as it is now; yields one StepTogether an evaluation.

    `templates` and `second_moment` as in `make_update`. A request that cannot be made does not stop the others.

    Raises:
        Cancelled, ModelError, DeviceError: as `make_update`.
    """
    check_ground(recipe, templates)
    made = [Made() for _ in requests]
    yield StageStarted(stage="keys", detail=f"{len(requests)} requests together, {count(templates)}")
    check(cancelled)
    texts = {
        i: text for i, request in enumerate(requests) if (text := _texts(model, tokenizer, request, templates, made[i]))
    }
    if texts:
        yield from _make(model, site, texts, made, recipe, second_moment if recipe.second_moment else None, cancelled)
    return made


def _texts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    request: EditRequest,
    templates: Sequence[str],
    made: Made,
) -> Texts | None:
    try:
        texts = texts_of(tokenizer, request, templates)
        check_length([*(with_target(row, texts.target) for row in texts.rows), texts.kl], model)
    except (EditError, RequestError) as error:
        made.outcome = error
        return None
    return texts


def _make(
    model: PreTrainedModel,
    site: EditSite,
    texts: dict[int, Texts],
    made: list[Made],
    recipe: Recipe,
    moment: SecondMoment | None,
    cancelled: Callable[[], bool],
) -> Generator[Event, None, None]:
    prepared = prepare(model, site, [*texts.values()], recipe)
    yield from slow_warnings(prepared.slow)
    yield from second_moment_warnings(moment, recipe)
    mine = [made[i] for i in texts]
    for one, keys, text in zip(mine, prepared.keys, texts.values(), strict=True):
        one.told.append(key_ready(keys, text.rows[0]))
    yield StageStarted(stage="optimise", detail=f"{len(mine)} requests together, at most {recipe.steps} steps")
    told = [one.told for one in mine]
    before = refused(model)
    offsets = yield from tell_steps(optimise(model, prepared.objective, recipe, cancelled), told)
    yield from recording_notes(before, refused(model))
    rows = len(mine) * (len(texts[next(iter(texts))].rows) + 1)
    yield from memory_warnings(prepared.objective.rows_at_once, rows)
    for one, keys, offset in zip(mine, prepared.keys, offsets, strict=True):
        one.outcome = _update(recipe, keys, offset, moment)
        if isinstance(one.outcome, Update):
            one.told += division_warnings(one.outcome)


def tell_steps(
    steps: Generator[list[OptimStep | None], None, list[Offset | EditError]], told: Sequence[list[Event]] = ()
) -> Generator[Event, None, list[Offset | EditError]]:
    """What `steps` return, with one StepTogether an evaluation; those of each request are added to its list in `told`.

    Raises:
        Cancelled, ModelError: as `optimise`.
    """
    while True:
        try:
            seen = next(steps)
        except StopIteration as stop:
            offsets: list[Offset | EditError] = stop.value
            return offsets
        for mine, step in zip(told, seen, strict=False):
            mine += [step] if step else []
        going = [step for step in seen if step]
        if going:
            yield StepTogether(
                step=going[0].step,
                of=going[0].of,
                requests=len(seen),
                running=sum(not step.stopped for step in going),
                loss=sum(step.loss for step in going) / len(going),
                p_target=sum(step.p_target for step in going) / len(going),
                seconds=going[0].seconds,
            )


def _update(recipe: Recipe, keys: Keys, offset: Offset | EditError, moment: SecondMoment | None) -> Update | EditError:
    if isinstance(offset, EditError):
        return offset
    try:
        return rank_one(recipe.method, keys, offset, moment)
    except EditError as error:
        return error
