"""What an edit costs the way the papers' code makes it, written anew for comparison: the same numbers, more work.

Every step runs all layers on all tokens of all rows and the language-model head on every position; the keys are read
one template at a time, each with a forward pass to the end; C is inverted in float32.

Sources: the structure of the code published with ROME (arXiv 2202.05262) and Rebuilding ROME (arXiv 2403.07175).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tests.benchmarks.measuring import Times, clock
from workbench.editing.hooks import forward_hook
from workbench.editing.lookup import Row, Texts, texts_of
from workbench.editing.rows import Batch, collate, with_target
from workbench.edits import EditRequest, Recipe
from workbench.models.families import EditSite


@dataclass(frozen=True)
class Made:
    """A rank-one update and what its stages took."""

    u: Tensor
    v: Tensor
    stages: dict[str, Times]


def papers_update(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    site: EditSite,
    request: EditRequest,
    recipe: Recipe,
    templates: tuple[str, ...],
    moment: Tensor,
) -> Made:
    """r-ROME's u, (d_in,), and v, (d_out,); `moment` is C, (d_in, d_in)."""
    texts = texts_of(tokenizer, request, templates)
    kept = [parameter.requires_grad for parameter in model.parameters()]
    model.requires_grad_(False)
    try:
        keys = clock(lambda: _keys(model, site.linear(model), texts))
        inverse = clock(lambda: torch.linalg.inv(moment))
        steps = clock(lambda: _value(model, site, texts, recipe))
        solve = clock(lambda: _factors(keys.result, steps.result, inverse.result))
    finally:
        for parameter, asks in zip(model.parameters(), kept, strict=True):
            parameter.requires_grad_(asks)
    u, v = solve.result
    return Made(u, v, {"keys": keys, "inverse of C": inverse, "steps": steps, "solve": solve})


def _keys(model: PreTrainedModel, linear: nn.Module, texts: Texts) -> tuple[Tensor, Tensor]:
    """The mean key and output over the templates, one forward pass each, and one more for the bare prompt's."""
    seen = [_through(model, linear, row) for row in (*texts.rows, texts.rows[0])][:-1]
    inputs, outputs = (torch.stack(side) for side in zip(*seen, strict=True))
    return inputs.mean(dim=0), outputs.mean(dim=0)


@torch.no_grad()
def _through(model: PreTrainedModel, linear: nn.Module, row: Row) -> tuple[Tensor, Tensor]:
    found: list[tuple[Tensor, Tensor]] = []

    def read(_: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        found.append((given[0][0, row.lookup].float(), output[0, row.lookup].float()))

    with forward_hook(linear, read):
        model(input_ids=torch.tensor([row.ids], device=model.device))
    return found[0]


def _value(model: PreTrainedModel, site: EditSite, texts: Texts, recipe: Recipe) -> tuple[Tensor, Tensor]:
    """t0 and δ, (d_out,) each, by Adam."""
    batch = collate([*(with_target(row, texts.target) for row in texts.rows), texts.kl], model.device)
    offset = torch.zeros(site.d_out, device=model.device, requires_grad=True)
    adam = torch.optim.Adam([offset], lr=recipe.lr)
    clean: list[Tensor] = []
    original: Tensor | None = None
    with forward_hook(site.linear(model), _adding(offset, batch, clean)):
        for step in range(recipe.steps):
            logits = model(input_ids=batch.ids, attention_mask=batch.mask).logits  # (rows + 1, length, vocabulary)
            log_p = logits.float().log_softmax(dim=-1)
            at_kl = log_p[-1, batch.lookup[-1] - (len(batch.ids) - 1) * batch.ids.shape[1]]
            original = at_kl.detach() if original is None else original
            loss = _nll(log_p, texts) + recipe.kl_factor * (at_kl.exp() * (at_kl - original)).sum()
            loss = loss + recipe.weight_decay * offset.norm() / clean[0].norm() ** 2
            if float(loss.detach()) < recipe.loss_stop or step == recipe.steps - 1:
                break
            adam.zero_grad()
            loss.backward()
            adam.step()
            _clamp(offset, recipe.clamp_factor * float(clean[0].norm()))
    return clean[0], offset.detach()


def _adding(offset: Tensor, batch: Batch, clean: list[Tensor]) -> Callable[..., Tensor]:
    """A hook that adds δ at the looked-up tokens; t0 is kept from the first pass."""

    def add(_: nn.Module, __: object, output: Tensor) -> Tensor:
        flat = output.reshape(-1, output.shape[-1])  # (rows * length, d_out)
        if not clean:
            clean.append(flat[batch.lookup[0]].detach().float())
        shifted = (flat[batch.lookup] + offset).to(output.dtype)
        return flat.index_copy(0, batch.lookup, shifted).view(output.shape)

    return add


def _nll(log_p: Tensor, texts: Texts) -> Tensor:
    """Minus the mean log-probability of the target, over rows and tokens."""
    losses = []
    for number, row in enumerate(texts.rows):
        first = len(row.ids) - 1
        places = torch.arange(first, first + len(texts.target))
        losses.append(-log_p[number, places, torch.tensor(texts.target)].mean())
    return torch.stack(losses).mean()


@torch.no_grad()
def _clamp(offset: Tensor, limit: float) -> None:
    norm = float(offset.norm())
    if norm > limit:
        offset.mul_(limit / norm)


def _factors(keys: tuple[Tensor, Tensor], value: tuple[Tensor, Tensor], inverse: Tensor) -> tuple[Tensor, Tensor]:
    """u and v from the mean key and output, t0 and δ, and the inverse of C."""
    key, output = keys
    raw = inverse @ key.to(inverse.device)
    u = raw / raw.norm()
    target_init, offset = value
    return u.cpu(), ((target_init + offset - output) / (key @ u.to(key.device))).cpu()
