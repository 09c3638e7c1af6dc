"""One update of many requests, by MEMIT or EMMET: values, then a share of the residual a layer. No weight is written.

    values      δ of each request, of the last layer's block output; z = t0 + δ
    layer i     keys and h = block output at the last layer, both with the shares before on; residual (z − h) / (m − i)
    share       ΔW of the layer from keys and residuals, as `spread` has it

Source: MEMIT, arXiv 2210.07229, section 4; EMMET, arXiv 2403.14236, section 3. EMMET has one layer.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from workbench.editing.cancel import check
from workbench.editing.lookup import Texts, texts_of
from workbench.editing.reading import read_batch_keys, read_block
from workbench.editing.rows import check_length, with_target
from workbench.editing.second_moment import SecondMoment
from workbench.editing.spread import DependentKeyError, Spread, ridge_of, spread
from workbench.editing.telling import count, second_moment_warnings
from workbench.editing.values import Value, make_values, stacked
from workbench.edits import SLOT, EditRequest, Recipe
from workbench.errors import EditError, RequestError
from workbench.events import Event, StageStarted
from workbench.models.device import within_memory
from workbench.models.families import EditSite

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_AT_A_TIME = 64
"""Requests that are turned into tokens between two looks at whether to stop."""


@dataclass(frozen=True, eq=False)
class Part:
    """A batch's update of one module: ΔW = b a. All tensors are float32 on the CPU."""

    layer: int
    module: str
    a: Tensor
    """(r, d_in). With r = the number of requests row i is the direction u of request i, of norm 1, where float32 can
    hold it; else rows are an orthonormal basis, or with b the identity ΔW itself."""
    b: Tensor
    """(d_out, r)."""
    keys: Tensor
    """The batch's keys at this layer, (n, d_in)."""
    residuals: Tensor
    """What each request asks of this layer, (n, d_out)."""
    delta_norm: float
    """|ΔW|, Frobenius."""
    missed: tuple[float, ...]
    """|ΔW k − r| / |r| of each request."""
    missed_in_all: float
    """|ΔW K − R| / |R|."""
    ridge: float
    """What was added to C's diagonal."""

    def delta(self, site: EditSite) -> Tensor:
        """ΔW in the module's own orientation, float32: the edited weight is weight + ΔW."""
        product = _product(self)
        return product.T.contiguous() if site.layout == "in,out" else product


@dataclass(frozen=True, eq=False)
class Batch:
    """What came out of a batch: the update, part by part, and which requests are in it."""

    parts: tuple[Part, ...]
    """One a module, ascending; none where no request could be made."""
    made: tuple[int, ...]
    """Of the requests asked for, the numbers of those in the update, ascending: row i of all tensors is made[i]'s."""
    failed: dict[int, EditError | RequestError] = field(default_factory=dict)
    """Those that are not, by number, and why."""
    z: Tensor = field(default_factory=lambda: torch.empty(0, 0))
    """What the last layer's block is to give for each request, (n, d_out)."""
    target_norms: tuple[float, ...] = ()
    """|t0| of each request."""
    offset_norms: tuple[float, ...] = ()
    """|δ| of each request."""
    steps: tuple[int, ...] = ()
    """Adam steps taken for each."""


def make_batch(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    sites: Sequence[EditSite],
    requests: Sequence[EditRequest],
    recipe: Recipe,
    templates: Sequence[str],
    moments: Sequence[SecondMoment | None],
    cancelled: Callable[[], bool],
    *,
    plain: bool = False,
) -> Generator[Event, None, Batch]:
    """Computes the update that writes all `requests` into the down-projections `sites`; yields what happens as it does.

    `sites` and `moments` are those of `recipe.edited_layers`, in order; otherwise as `make_update`. A request that
    cannot be made is named in `Batch.failed` and does not stop the others. Weights, flags, hooks and the global random
    state are untouched at every event and at the end, however it ends.

    Raises:
        Cancelled, ModelError, DeviceError: as `make_update`.
        RequestError: the first template is not the bare `{}`.
        EditError: the method is no batched one, sites or moments are not the recipe's, keys that depend on each other
            where every equality must hold, something not a number.
    """
    _check_ground(sites, requests, recipe, templates, moments)
    chosen = [moment if recipe.second_moment else None for moment in moments]
    with within_memory():
        yield StageStarted(stage="keys", detail=f"{len(requests)} requests, {count(templates)}")
        texts, failed = _texts(model, tokenizer, requests, templates, cancelled)
        for moment in chosen:
            yield from second_moment_warnings(moment, recipe)
        values = yield from make_values(model, sites[-1], texts, recipe, cancelled, plain=plain)
        failed |= {i: value for i, value in values.items() if isinstance(value, EditError)}
        made = {i: value for i, value in sorted(values.items()) if isinstance(value, Value)}
        asked = [(requests[i], texts[i]) for i in made]
        parts = yield from _parts(model, sites, asked, [*made.values()], recipe, chosen, cancelled)
    return _batch(parts, made, failed)


def _check_ground(
    sites: Sequence[EditSite],
    requests: Sequence[EditRequest],
    recipe: Recipe,
    templates: Sequence[str],
    moments: Sequence[SecondMoment | None],
) -> None:
    if not recipe.batched:
        raise EditError(f"{recipe.method} makes one update a request.", "Choose memit or emmet.")
    if tuple(site.layer for site in sites) != recipe.edited_layers or len(moments) != len(sites):
        raise EditError("The modules are not those of the recipe's layers.", "Give one module and one C a layer.")
    if not requests:
        raise EditError("A batch of no requests changes nothing.", "Ask for one at least.")
    if not templates or templates[0] != SLOT:
        raise RequestError("The first context template must be the bare {}.", "Sample the templates again.")


def _texts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    requests: Sequence[EditRequest],
    templates: Sequence[str],
    cancelled: Callable[[], bool],
) -> tuple[dict[int, Texts], dict[int, EditError | RequestError]]:
    texts: dict[int, Texts] = {}
    failed: dict[int, EditError | RequestError] = {}
    for i, request in enumerate(requests):
        if i % _AT_A_TIME == 0:
            check(cancelled)
        try:
            text = texts_of(tokenizer, request, templates)
            check_length([*(with_target(row, text.target) for row in text.rows), text.kl], model)
            texts[i] = text
        except (EditError, RequestError) as error:
            failed[i] = error
    return texts, failed


def _parts(
    model: PreTrainedModel,
    sites: Sequence[EditSite],
    asked: Sequence[tuple[EditRequest, Texts]],
    values: Sequence[Value],
    recipe: Recipe,
    moments: Sequence[SecondMoment | None],
    cancelled: Callable[[], bool],
) -> Generator[Event, None, list[Part]]:
    """The share of every layer, lowest first, each on the model with those before it."""
    parts: list[Part] = []
    if not values:
        return parts
    texts = [text for _, text in asked]
    z, start = stacked([value.z for value in values]), stacked([value.offset.target_init for value in values])
    on: dict[nn.Module, Tensor] = {}
    for i, (site, moment) in enumerate(zip(sites, moments, strict=True)):
        yield StageStarted(stage="optimise", detail=f"solving for layer {site.layer}, {len(values)} keys")
        check(cancelled)
        alone = len(sites) == 1
        keys = stacked([v.key for v in values]) if alone else read_batch_keys(model, site, texts, on, cancelled)
        reached = read_block(model, sites[-1].layer, texts, on, cancelled) if on else start
        residuals = (z - reached) / (len(sites) - i)
        parts.append(_part(site, keys, residuals, moment, ridge_of(recipe, len(values)), [r for r, _ in asked]))
        on[site.linear(model)] = _product(parts[-1])
    return parts


def _part(
    site: EditSite,
    keys: Tensor,
    residuals: Tensor,
    moment: SecondMoment | None,
    ridge: float,
    requests: Sequence[EditRequest],
) -> Part:
    try:
        found: Spread = spread(keys, residuals, moment, ridge)
    except DependentKeyError as error:
        raise DependentKeyError(error.row, requests[error.row].subject) from None
    return Part(
        layer=site.layer,
        module=site.module,
        a=found.a,
        b=found.b,
        keys=keys.float(),
        residuals=residuals.float(),
        delta_norm=float(found.delta.norm()),
        missed=found.missed,
        missed_in_all=found.missed_in_all,
        ridge=0.0 if moment is None else moment.ridge,
    )


def _product(part: Part) -> Tensor:
    """The product b a, (d_out, d_in), summed in float64 and rounded to float32."""
    return (part.b.double() @ part.a.double()).float()


def _batch(parts: list[Part], made: dict[int, Value], failed: dict[int, EditError | RequestError]) -> Batch:
    if not made:
        return Batch((), (), failed)
    offsets = [value.offset for value in made.values()]
    return Batch(
        parts=tuple(parts),
        made=tuple(made),
        failed=failed,
        z=stacked([value.z for value in made.values()]).float(),
        target_norms=tuple(float(offset.target_init.norm()) for offset in offsets),
        offset_norms=tuple(float(offset.offset.norm()) for offset in offsets),
        steps=tuple(offset.steps for offset in offsets),
    )
