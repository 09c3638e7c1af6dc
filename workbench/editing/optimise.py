"""The offset δ: what must be added to the MLP's output at the subject's last token so that the model says the target.

    loss(δ) = NLL(target | rows) + kl_factor · KL(p_δ ‖ p) at "{subject} is a" + weight_decay · |δ| / |t0|²

Source: ROME, arXiv 2202.05262, section 3.1, equation 4, with the stopping rules of its published code.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from workbench.editing.cancel import check
from workbench.editing.flags import frozen, gradients
from workbench.editing.lookup import Texts
from workbench.editing.loss import Objective, Terms
from workbench.edits import Recipe
from workbench.errors import EditError
from workbench.events import OptimStep
from workbench.models.families import EditSite

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, eq=False)
class Offset:
    """The optimised δ and what it started from. Tensors are float32 or wider, on the CPU."""

    offset: Tensor
    """δ, (d_out,)."""
    target_init: Tensor
    """t0, (d_out,): the clean output at the looked-up token of the first row."""
    steps: int
    """Adam steps taken; one fewer than the evaluations of the loss."""
    stopped: str
    """Why it ended: "loss", "nll" or "steps"."""


def optimise(
    model: PreTrainedModel,
    site: EditSite,
    texts: Texts,
    recipe: Recipe,
    cancelled: Callable[[], bool],
) -> Generator[OptimStep, None, Offset]:
    """Adam on δ, one event an evaluation of the loss.

    Between two events the model has no hook, and its flags are its owner's.

    Raises:
        Cancelled: `cancelled` said so; asked before every evaluation.
        EditError: the loss or its gradient is not a number.
        ModelError: the model has no language-model head.
    """
    with gradients():
        objective = Objective(model, site, texts, recipe)
        offset = objective.zero()
    adam = torch.optim.Adam([offset], lr=recipe.lr)
    for step in range(1, recipe.steps + 1):
        check(cancelled)
        started = time.perf_counter()
        with frozen(model), gradients():
            terms = objective.at(offset)
            stopped = stop_reason(terms, step, recipe)
            offset.grad = None if stopped else _gradient(terms, offset)
        norm = float(offset.detach().norm())
        limit = recipe.clamp_factor * float(objective.target_init.norm())
        if not stopped:
            adam.step()
            clamp(offset, limit)
        yield _event(terms, step, recipe.steps, norm, limit, time.perf_counter() - started, stopped)
        if stopped:
            break
    return Offset(offset.detach().cpu(), objective.target_init.cpu(), step - 1, stopped)


def stop_reason(terms: Terms, step: int, recipe: Recipe) -> str:
    """Why evaluation `step` is the last: "loss", "nll", "steps"; empty if it is not.

    Raises:
        EditError: the loss is not a number.
    """
    loss, nll = float(terms.loss.detach()), float(terms.nll.detach())
    if not math.isfinite(loss):
        raise EditError(
            f"The loss is not a number at step {step}.", "Lower lr or clamp_factor, or load the model in float32."
        )
    if loss < recipe.loss_stop:
        return "loss"
    if recipe.nll_stop is not None and nll < recipe.nll_stop:
        return "nll"
    return "steps" if step == recipe.steps else ""


def clamp(offset: Tensor, limit: float) -> None:
    """Scales `offset` back to norm `limit`, in place, if it is longer."""
    with torch.no_grad():
        norm = float(offset.norm())
        if norm > limit:
            offset.mul_(limit / norm)


def _gradient(terms: Terms, offset: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(terms.loss, offset)
    if not bool(gradient.isfinite().all()):
        raise EditError("The gradient of the loss is not a number.", "Load the model in float32 or bfloat16.")
    return gradient


def _event(
    terms: Terms, step: int, of: int, delta_norm: float, limit: float, seconds: float, stopped: str
) -> OptimStep:
    contexts = terms.p_contexts.tolist()
    return OptimStep(
        step=step,
        of=of,
        loss=float(terms.loss.detach()),
        nll=float(terms.nll.detach()),
        kl=float(terms.kl.detach()),
        wd=float(terms.wd.detach()),
        p_target=sum(contexts) / len(contexts),
        p_contexts=tuple(contexts),
        delta_norm=delta_norm,
        clamp=limit,
        seconds=seconds,
        stopped=stopped,
    )
