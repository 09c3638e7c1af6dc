"""What speaks against an edit in its key: far from ordinary ones, too near them, or nearly that of an earlier edit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch import Tensor

from workbench.editing.keys import read_keys
from workbench.editing.lookup import Row
from workbench.editing.preflight import KeyRange, mahalanobis
from workbench.editing.second_moment import SecondMoment
from workbench.editing.update import direction
from workbench.edits import EditRequest, Recipe
from workbench.engine.conflicts import IDENTITY, key_conflicts
from workbench.engine.core import Core
from workbench.engine.health.colliding import LIMIT
from workbench.engine.ordinary_keys import ordinary_range
from workbench.errors import EditError, ModelError
from workbench.events import Preflight
from workbench.models.families import EditSite
from workbench.stack.record import Edit, Factors, WeightHashes

QUICK = 2048
"""C of at most this size is factorised while a person types: that takes a fraction of a second."""
MOST_COLLISIONS = 3
"""Earlier edits that are named, worst first."""


def key_findings(core: Core, request: EditRequest, row: Row, recipe: Recipe, *, quick: bool) -> Iterator[Preflight]:
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
