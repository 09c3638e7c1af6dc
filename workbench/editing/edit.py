"""One edit from request to rank-one update: rows, keys, offset, factors. No weight is written here, ever."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TYPE_CHECKING

from workbench.editing.cancel import check
from workbench.editing.keys import Keys
from workbench.editing.lookup import Row, texts_of
from workbench.editing.objective import prepare
from workbench.editing.optimise import Offset, optimise
from workbench.editing.second_moment import SecondMoment
from workbench.editing.update import Update, rank_one
from workbench.edits import METHODS, SLOT, EditRequest, Recipe
from workbench.errors import EditError, RequestError
from workbench.events import Event, KeyReady, OptimStep, StageStarted, Warning  # noqa: A004  the wire's word
from workbench.models.device import within_memory
from workbench.models.families import EditSite
from workbench.text import shortened

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
        EditError: the update was imported, no token for subject or target, a text too long, something not a number,
            a zero division factor.
        ModelError: the tokenizer, the head or the site are not what is needed.
        DeviceError: the device ran out of memory.
    """
    if recipe.method not in METHODS:
        raise EditError("An imported update cannot be derived anew: how it was made is not known.", "Take it as it is.")
    if not templates or templates[0] != SLOT:
        raise RequestError("The first context template must be the bare {}.", "Sample the templates again.")
    chosen = second_moment if recipe.second_moment else None
    with within_memory():
        yield StageStarted(stage="keys", detail=_count(templates))
        check(cancelled)
        texts = texts_of(tokenizer, request, templates)
        prepared = prepare(model, site, [texts], recipe, plain=plain)
        (keys,) = prepared.keys
        yield _key_ready(keys, texts.rows[0])
        yield from _slow_warnings(prepared.slow)
        yield from _second_moment_warnings(chosen, recipe)
        yield StageStarted(stage="optimise", detail=f"at most {recipe.steps} steps")
        (offset,) = yield from _single(optimise(model, prepared.objective, recipe, cancelled))
        yield from _memory_warnings(prepared.objective.rows_at_once, len(templates) + 1)
        update = rank_one(recipe.method, keys, offset, chosen)
    yield from _division_warnings(update)
    return update


def _single(steps: Generator[list[OptimStep | None], None, list[Offset]]) -> Generator[Event, None, list[Offset]]:
    """The steps of one request, one event each."""
    while True:
        try:
            (step,) = next(steps)
        except StopIteration as stop:
            offsets: list[Offset] = stop.value
            return offsets
        if step:
            yield step


def _slow_warnings(reason: str) -> Iterator[Warning]:
    if reason:
        yield Warning(
            message=f"The fast way does not serve this model: {shortened(reason, 200)}.",
            hint="The plain way is taken: the same edit, several times slower.",
        )


def _memory_warnings(at_once: int, rows: int) -> Iterator[Warning]:
    if at_once < rows:
        yield Warning(
            message=f"Memory was short: {at_once} of {rows} rows were run at a time.",
            hint="The edit is the same; fewer context templates or a smaller dtype make it faster.",
        )


def _count(templates: Sequence[str]) -> str:
    return f"{len(templates)} context template{'s' if len(templates) != 1 else ''}"


def _key_ready(keys: Keys, bare: Row) -> KeyReady:
    return KeyReady(
        templates=len(keys.inputs),
        token=bare.token,
        key_norm=float(keys.key_mean.norm()),
        cos_keys=keys.cosine,
        first_token=bare.lookup == 0,
    )


def _second_moment_warnings(second_moment: SecondMoment | None, recipe: Recipe) -> Iterator[Warning]:
    if second_moment is None:
        why = "there is no second moment for this layer" if recipe.second_moment else "the recipe asks for it"
        yield Warning(message=f"C = I: {why}.", hint="Other facts are less protected than with a measured C.")
    elif second_moment.ridge > 0:
        yield Warning(
            message=f"A ridge of {second_moment.ridge:.3g} was added to C: {second_moment.factorisation.reason}.",
            hint="Compute C over more text.",
        )


def _division_warnings(update: Update) -> Iterator[Warning]:
    if update.division_factor < 0:
        yield Warning(
            message=f"The division factor k · u is negative ({update.division_factor:.3g}); this update may be huge.",
            hint="r-rome does not divide by another key than u is made of.",
        )
