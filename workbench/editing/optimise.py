"""The offset δ: what must be added to the MLP's output at the subject's last token so that the model says the target.

Source: ROME, arXiv 2202.05262, section 3.1, equation 4, with Adam and the stopping rules of its published code.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from workbench.editing.cancel import check
from workbench.editing.flags import frozen, gradients
from workbench.editing.loss import Evaluation, Objective
from workbench.edits import Recipe
from workbench.errors import EditError
from workbench.events import OptimStep

if TYPE_CHECKING:
    from transformers import PreTrainedModel


NOT_A_NUMBER = "nan"
"""Stands for a loss that is no number among the reasons to stop."""
OUT_OF_REACH = 1e-5
"""An offset of |t0|, along the first gradient, would lessen the NLL by less than this part of it."""
WORTH = 0.75
"""Passes are narrowed when no more than this part of their requests goes on: narrowing copies what is kept."""
_UNREACHED = (
    "No change at the subject's last token reaches the target: no layer above carries it to where it is predicted."
)
_WIDER = "Load the model in float32 or bfloat16."


@dataclass(frozen=True, eq=False)
class Offset:
    """The optimised δ of one request and what it started from. Tensors are float32 or wider, on the CPU."""

    offset: Tensor
    """δ, (d_out,)."""
    target_init: Tensor
    """t0, (d_out,): the clean output at the looked-up token of the first row."""
    steps: int
    """Adam steps taken; one fewer than the evaluations of the loss."""
    stopped: str
    """Why it ended: "loss", "nll" or "steps"."""


def optimise(
    model: PreTrainedModel, objective: Objective, recipe: Recipe, cancelled: Callable[[], bool]
) -> Generator[list[OptimStep | None], None, list[Offset | EditError]]:
    """Adam on the δ of every request of `objective`; one list an evaluation, None for a request that has ended.

    The requests share each pass and nothing else: each stops on its own, one whose loss or gradient is not a number,
    or does not depend on δ, with the error that says so. Between two lists the model has no hook, and its flags
    are its owner's.

    Raises:
        Cancelled: `cancelled` said so; asked before every evaluation.
        ModelError: the model has no language-model head.
    """
    with gradients():
        offsets = objective.zero()
    adam = torch.optim.Adam([offsets], lr=recipe.lr)
    ended: dict[int, Offset | EditError] = {}
    passes = Passes(objective, len(offsets))
    for step in range(1, recipe.steps + 1):
        check(cancelled)
        started = time.perf_counter()
        with frozen(model), gradients():
            going = [i not in ended for i in range(len(offsets))]
            evaluation = passes.at(offsets, going)
            numbers = passes.spread(evaluation.terms.numbers())
            stopped = [stop_reason(row, step, recipe) if on else "" for on, row in zip(going, numbers, strict=True)]
            more = any(on and not why for on, why in zip(going, stopped, strict=True))
            gradient = passes.widened(evaluation.gradient()) if more else None
        norms, init = offsets.detach().norm(dim=1).tolist(), objective.target_init
        limits = recipe.clamp_factor * init.norm(dim=1)
        for i in (i for i, why in enumerate(stopped) if why):
            ended[i] = _ended(offsets[i].detach().cpu().clone(), init[i].cpu(), step, stopped[i])
        if gradient is not None:
            for i in (~gradient.isfinite().all(dim=1)).nonzero().flatten().tolist():
                ended.setdefault(i, EditError("The gradient of the loss is not a number.", _WIDER))
            if step == 1:
                reach = (gradient.norm(dim=1) * init.norm(dim=1)).tolist()
                for i in (i for i, row in enumerate(numbers) if reach[i] <= OUT_OF_REACH * row[1]):
                    ended.setdefault(i, EditError(_UNREACHED, "Choose a lower layer."))
            offsets.grad = gradient.nan_to_num(0.0, 0.0, 0.0)
            adam.step()
            clamp(offsets, limits)
        made = zip(numbers, norms, limits.tolist(), stopped, strict=True)
        stamp = step, recipe.steps, time.perf_counter() - started
        shown = [on and why != NOT_A_NUMBER for on, why in zip(going, stopped, strict=True)]
        yield [_event(*one, *stamp) if on else None for on, one in zip(shown, made, strict=True)]
        if len(ended) == len(numbers):
            break
    return [ended[i] for i in range(len(ended))]


class Passes:
    """An objective of which the requests that have ended are left out, once they are enough to be worth it."""

    def __init__(self, objective: Objective, requests: int) -> None:
        self._objective, self._requests = objective, requests
        self._alive = [*range(requests)]

    def at(self, offsets: Tensor, going: Sequence[bool]) -> Evaluation:
        """The objective at `offsets`, (n, d_out), for at least those requests that are `going`."""
        left = [n for n, i in enumerate(self._alive) if going[i]]
        if left and len(left) <= WORTH * len(self._alive):
            self._objective = self._objective.only(left)
            self._alive = [self._alive[n] for n in left]
        whole = len(self._alive) == self._requests
        return self._objective.at(offsets if whole else offsets[self._alive])

    def spread(self, numbers: list[list[float]]) -> list[list[float]]:
        """The rows of `numbers` where their requests are among all; empty for one that is left out."""
        found: list[list[float]] = [[] for _ in range(self._requests)]
        for i, row in zip(self._alive, numbers, strict=True):
            found[i] = row
        return found

    def widened(self, gradient: Tensor) -> Tensor:
        """The same for a gradient, (n, d_out); zero for a request that is left out."""
        if len(self._alive) == self._requests:
            return gradient
        return gradient.new_zeros(self._requests, gradient.shape[1]).index_copy(
            0, torch.tensor(self._alive, device=gradient.device), gradient
        )


def _ended(offset: Tensor, target_init: Tensor, step: int, why: str) -> Offset | EditError:
    if why == NOT_A_NUMBER:
        return EditError(f"The loss is not a number at step {step}.", "Lower lr or clamp_factor, or " + _WIDER.lower())
    return Offset(offset, target_init, step - 1, why)


def stop_reason(numbers: list[float], step: int, recipe: Recipe) -> str:
    """Why evaluation `step`, with `numbers` as Terms gives them, is the last; empty if it is not.

    "loss", "nll", "steps", or NOT_A_NUMBER.
    """
    loss, nll = numbers[:2]
    if not math.isfinite(loss):
        return NOT_A_NUMBER
    if loss < recipe.loss_stop:
        return "loss"
    if recipe.nll_stop is not None and nll < recipe.nll_stop:
        return "nll"
    return "steps" if step == recipe.steps else ""


@torch.no_grad()
def clamp(offsets: Tensor, limits: Tensor) -> None:
    """Scales each of `offsets`, (n, d_out), back to its norm in `limits`, (n,), in place, if it is longer."""
    offsets.mul_((limits / offsets.norm(dim=1)).nan_to_num(1.0).clamp(max=1.0)[:, None])


def _event(
    numbers: list[float], delta_norm: float, limit: float, stopped: str, step: int, of: int, seconds: float
) -> OptimStep:
    loss, nll, kl, wd, *contexts = numbers
    return OptimStep(
        step=step,
        of=of,
        loss=loss,
        nll=nll,
        kl=kl,
        wd=wd,
        p_target=sum(contexts) / len(contexts),
        p_contexts=tuple(contexts),
        delta_norm=delta_norm,
        clamp=limit,
        seconds=seconds,
        stopped=stopped,
    )
