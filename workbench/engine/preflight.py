"""Before an edit is made: what is likely to go wrong with it, how badly, and what can be done.

Source of the first-token rule: *The Fall of ROME* (arXiv 2406.11263): collapse comes from subjects that are the first
token, whose key is unlike every key with text before it.
"""

from __future__ import annotations

import shlex
from collections.abc import Generator, Iterator, Sequence

import numpy as np
from torch import Tensor

from workbench.editing.chat import framed
from workbench.editing.keys import read_keys
from workbench.editing.lookup import Row, lookup_rows, target_ids
from workbench.editing.preflight import KeyRange, mahalanobis
from workbench.editing.second_moment import SecondMoment
from workbench.editing.update import direction
from workbench.edits import SLOT, EditRequest, Recipe
from workbench.engine.conflicts import IDENTITY, facts, key_conflicts, same_words
from workbench.engine.core import Core
from workbench.engine.health.colliding import LIMIT
from workbench.engine.ordinary_keys import ordinary_range
from workbench.errors import EditError, ModelError, RequestError
from workbench.events import Event, Preflight
from workbench.models.device import within_memory
from workbench.models.families import EditSite
from workbench.probing.answers import Question, read_answers
from workbench.stack.record import Edit, Factors, WeightHashes

LONG, VERY_LONG = 4, 9
"""Tokens of a target from which it is said, and warned of."""
QUICK = 2048
"""C of at most this size is factorised while a person types: that takes a fraction of a second."""
MOST_COLLISIONS = 3
"""Earlier edits that are named, worst first."""


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
    return (
        *_first_token(row, recipe),
        *_known(core, request),
        *before,
        *(
            one
            for one in _keys(core, request, row, recipe, quick=quick)
            if one.edit not in {it.edit for it in before} - {""}
        ),
        *_target(target),
        *_text(request),
    )


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


def told(core: Core, request: EditRequest, recipe: Recipe) -> Iterator[Preflight]:
    """The same before an edit that is to be made; where it cannot be made at all, the edit itself says so."""
    try:
        with within_memory():
            yield from preflight(core, request, recipe)
    except (EditError, RequestError):
        return


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


def _keys(core: Core, request: EditRequest, row: Row, recipe: Recipe, *, quick: bool) -> Iterator[Preflight]:
    """Where the key lies among ordinary ones, and among those of earlier edits."""
    site = core.site(recipe.layer)
    moment = None
    if recipe.second_moment:
        if quick and site.d_in > QUICK and not core.is_factorised(site):
            return
        try:
            moment = core.second_moment(site)
        except (EditError, ModelError):  # the edit itself says so, with what to do
            return
    key = read_keys(core.loaded.model, site, (row,)).key_bare
    if moment is not None:
        yield from _distance(core, site, key, moment)
    yield from _collisions(core, request, key, recipe)


def _distance(core: Core, site: EditSite, key: Tensor, moment: SecondMoment) -> Iterator[Preflight]:
    distance = float(mahalanobis(key[None], moment)[0])
    ordinary = ordinary_range(core, site, moment)
    if distance > ordinary.high:
        beyond = bool(ordinary.keys) and distance > ordinary.largest
        yield Preflight(
            topic="far-key",
            severity="warning" if beyond else "note",
            message=f"The key lies far from ordinary ones: {distance:.1f} under C⁻¹, {_beyond(ordinary, beyond)}. C "
            "knows little of that direction.",
            hint="Ask in a more ordinary sentence, or measure C on text like it: workbench stats --text.",
            value=distance,
            limit=ordinary.high,
        )
    elif distance < ordinary.low:
        yield Preflight(
            topic="common-key",
            severity="note",
            message=f"The key lies among the commonest: {distance:.1f} under C⁻¹, where 99 % of ordinary keys are "
            f"beyond {ordinary.low:.1f}. The edit disturbs other text more than most do.",
            hint="Name the subject more fully.",
            value=distance,
            limit=ordinary.low,
        )


def _beyond(ordinary: KeyRange, all_of_them: bool) -> str:
    if not ordinary.keys:
        return f"beyond {ordinary.high:.1f}, 3 times the root of their mean square"
    if all_of_them:
        return f"beyond every one of {ordinary.keys}, {ordinary.largest:.1f} at most"
    return f"where 99 % of {ordinary.keys} are below {ordinary.high:.1f}"


def _collisions(core: Core, request: EditRequest, key: Tensor, recipe: Recipe) -> Iterator[Preflight]:
    """Earlier edits whose key is nearly this one."""
    site, earlier = core.site(recipe.layer), core.stack.active
    moment = core.second_moment(site) if recipe.second_moment else None
    u, _ = direction(key, moment)
    coming = Edit(
        requests=(request,),
        recipe=recipe,
        base=core.base(site),
        second_moment=moment.fingerprint if moment else IDENTITY,
        weights={site.module: WeightHashes(before="", after="")},
        ranks={site.module: 1},
    )
    updates = {edit.id: update for edit, update in zip(earlier, core.updates(earlier), strict=True)}
    updates[coming.id] = (Factors(site.module, u[None].numpy(), np.zeros((site.d_out, 1), dtype=np.float32)),)
    numbers = {edit.id: edit.number for edit in earlier}
    for pair in key_conflicts(core, earlier, [coming], updates, threshold=LIMIT, most=MOST_COLLISIONS).pairs:
        yield Preflight(
            topic="collision",
            severity="warning",
            message=f"The key is nearly that of edit {numbers[pair.ours]} ({pair.prompt} → {pair.target_ours}), "
            f"cos {pair.cosine:.2f} under C⁻¹: one writes over the other.",
            hint="Look at that edit's probes afterwards, or make both in one batch (--method emmet).",
            value=pair.cosine,
            limit=LIMIT,
            edit=pair.ours,
        )


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
