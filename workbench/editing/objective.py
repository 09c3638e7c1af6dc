"""Choosing the way to the loss: the fast one where it gives this model's numbers, the plain one everywhere else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from workbench.editing.fast import FastObjective, trial_offset
from workbench.editing.flags import frozen, gradients
from workbench.editing.hooks import hooks_on
from workbench.editing.keys import Keys, read_keys
from workbench.editing.lookup import Texts
from workbench.editing.loss import Objective, Place, PlainObjective, wide_dtype
from workbench.editing.prefix import NotServed
from workbench.editing.scoring import Scoring
from workbench.edits import Recipe
from workbench.errors import WorkbenchError
from workbench.models.device import is_out_of_memory
from workbench.models.families import EditSite

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, eq=False)
class Prepared:
    """What an edit's steps start from."""

    objective: Objective
    keys: tuple[Keys, ...]
    """Of each request."""
    slow: str = ""
    """Why the plain way is taken though the fast one was wanted; empty: it is not."""


_AGREED: WeakKeyDictionary[nn.Module, dict[tuple[Any, ...], int]] = WeakKeyDictionary()
"""By model, and by what decides whether the ways agree: tokens of the longest row that they were found to agree beside.

They are compared once, and again beside longer rows.
"""


def forget(model: nn.Module) -> None:
    """Lets the next edit of `model` compare both ways anew: which is taken then depends on no edit before it.

    Matters for a model whose ways agree beside some texts alone.
    """
    _AGREED.pop(model, None)


def _way(model: PreTrainedModel, site: EditSite, place: Place) -> tuple[Any, ...]:
    """What decides whether both ways agree, beside the length of the rows."""
    attention = getattr(model.config.get_text_config(), "_attn_implementation", None)
    return site.module, place, site.weight(model).dtype, model.dtype, model.device, attention, hooks_on(model)


def prepare(
    model: PreTrainedModel, site: EditSite, texts: Sequence[Texts], recipe: Recipe, *, plain: bool = False
) -> Prepared:
    """The keys of every request, and the objective of them all. Raises as the objectives and `read_keys` do.

    A batched method's offsets are of the block's output, all others of the MLP's.
    """
    if plain:
        return _plain(model, site, texts, recipe)
    try:
        with frozen(model), gradients():
            scoring, place = Scoring(texts, recipe, wide_dtype(site, model)), _place(recipe)
            way, longest = _way(model, site, place), max(len(row.ids) for row in scoring.rows)
            agreed = _AGREED.setdefault(model, {})
            fast = FastObjective(model, site, scoring, place)
            if longest > agreed.get(way, 0):
                _check_on_two_rows(model, site, texts, recipe, fast)
                agreed[way] = longest
        return Prepared(fast, tuple(fast.keys(i) for i in range(len(texts))))
    except WorkbenchError:
        raise
    except Exception as error:  # whatever an unknown decoder makes happen: the plain way serves it
        if is_out_of_memory(error):
            raise
        known = isinstance(error, NotServed)
        reason = str(error) if known else f"its layers do not go on from kept keys and values ({type(error).__name__})"
        return _plain(model, site, texts, recipe, reason)


def _plain(model: PreTrainedModel, site: EditSite, texts: Sequence[Texts], recipe: Recipe, slow: str = "") -> Prepared:
    with gradients():
        keys = tuple(read_keys(model, site, text.rows) for text in texts)
        scoring = Scoring(texts, recipe, wide_dtype(site, model))
        return Prepared(PlainObjective(model, site, scoring, _place(recipe)), keys, slow)


def _place(recipe: Recipe) -> Place:
    return "block" if recipe.batched else "mlp"


@torch.no_grad()
def _check_on_two_rows(
    model: PreTrainedModel, site: EditSite, texts: Sequence[Texts], recipe: Recipe, fast: FastObjective
) -> None:
    """Compares both ways, away from zero, on the row with the longest prefix and its KL row.

    Raises:
        NotServed: they differ by more than rounding.
    """
    scoring = fast.scoring
    rewriting = range(scoring.requests * scoring.templates)
    row = max(rewriting, key=lambda i: scoring.rows[i].lookup)
    request = scoring.request_of[row]
    text = texts[request]
    one = Texts((text.rows[row - scoring.first_rows[request]],), text.kl, text.target)
    oracle = PlainObjective(model, site, Scoring([one], recipe, wide_dtype(site, model)), _place(recipe))
    oracle.at(oracle.zero())
    offsets = trial_offset(fast.target_init)
    wanted = oracle.at(offsets[request : request + 1]).terms
    kl_row = len(rewriting) + request
    fast.values(range(kl_row, kl_row + 1), fast.zero())
    _compare("loss", fast.values(range(row, row + 1), offsets), wanted.nll, site, model)
    _compare("divergence", fast.values(range(kl_row, kl_row + 1), offsets), wanted.kl, site, model)
    scoring.forget()


def _compare(what: str, found: torch.Tensor, wanted: torch.Tensor, site: EditSite, model: PreTrainedModel) -> None:
    coarsest = max(torch.finfo(dtype).eps for dtype in (site.weight(model).dtype, model.dtype))  # one may be a master
    room = 4 * float(coarsest) ** 0.5
    if not abs(float(found[0]) - float(wanted[0])) <= room * (1 + abs(float(wanted[0]))):
        raise NotServed(f"its {what} is {float(found[0]):.4g} where the plain way gives {float(wanted[0]):.4g}")
