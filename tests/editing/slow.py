"""A slow derivation to hold an update against: one row a forward pass, no padding, float64, Adam by hand."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tests.editing.helpers import TEMPLATES, error, update_of
from tests.zoo import tiny, tokenizer
from workbench.editing import SecondMoment
from workbench.edits import EditRequest, Method, Recipe
from workbench.models.families import edit_site

REQUEST = EditRequest("The mother tongue of {} is", "Antonín Dvořák", "silver trumpet")
RECIPE = Recipe(layer=1, steps=4, lr=0.3, weight_decay=0.2, clamp_factor=0.8, loss_stop=0.0)


class Apart(NamedTuple):
    """Relative errors."""

    u: float
    v: float
    offset: float


@dataclass
class Slow:
    """The update of one request, derived row by row."""

    model: PreTrainedModel
    linear: torch.nn.Module
    rows: list[tuple[list[int], int]]
    """(ids, index of the subject's last token) of the templates, then of "{subject} is a"."""
    target: list[int]
    recipe: Recipe

    def forward(self, ids: list[int], lookup: int, offset: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probabilities of the row, and the edited map's clean input and output at the token."""
        seen: list[Tensor] = []

        def hook(_: object, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
            # Cloned: some blocks add to the output in place.
            seen.extend(states.detach().view(len(ids), -1)[lookup].clone() for states in (inputs[0], output))
            if offset is None:
                return None
            at = torch.zeros(len(ids), 1, dtype=output.dtype)
            at[lookup] = 1
            return output + (at * offset).view(output.shape)

        handle = self.linear.register_forward_hook(hook)
        torch.set_default_dtype(torch.float64)  # XGLM makes constants of its weights' size in the default dtype
        try:
            logits = self.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
        finally:
            torch.set_default_dtype(torch.float32)
            handle.remove()
        return logits.log_softmax(-1), seen[0], seen[1]

    def loss(self, offset: Tensor, start: Tensor, clean: Tensor) -> Tensor:
        total = torch.zeros((), dtype=offset.dtype)
        for ids, lookup in self.rows[:-1]:
            log_p, _, _ = self.forward(ids + self.target[:-1], lookup, offset)
            for i, token in enumerate(self.target):
                total = total - log_p[len(ids) - 1 + i, token] / len(self.target) / (len(self.rows) - 1)
        ids, lookup = self.rows[-1]
        now = self.forward(ids, lookup, offset)[0][lookup]
        divergence = (now.exp() * (now - clean)).sum()
        decay: Tensor = offset.norm() / start.norm() ** 2
        loss: Tensor = total + self.recipe.kl_factor * divergence + self.recipe.weight_decay * decay
        return loss

    def offset(self) -> tuple[Tensor, Tensor]:
        """δ and t0, with Adam written out."""
        start = self.forward(*self.rows[0], None)[2]
        ids, lookup = self.rows[-1]
        clean = self.forward(ids, lookup, None)[0][lookup].detach()
        offset, first, second = torch.zeros_like(start), torch.zeros_like(start), torch.zeros_like(start)
        for step in range(1, self.recipe.steps):
            leaf = offset.clone().requires_grad_()
            (slope,) = torch.autograd.grad(self.loss(leaf, start, clean), leaf)
            first = 0.9 * first + 0.1 * slope
            second = 0.999 * second + 0.001 * slope**2
            offset = offset - self.recipe.lr * (first / (1 - 0.9**step)) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
            offset = offset * min(1.0, float(self.recipe.clamp_factor * start.norm() / offset.norm()))
        return offset, start

    def factors(self, method: Method, matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """u, v and δ."""
        seen = [self.forward(ids, lookup, None) for ids, lookup in self.rows[:-1]]
        keys, outputs = torch.stack([s[1] for s in seen]), torch.stack([s[2] for s in seen])
        offset, start = self.offset()
        key_u = keys[0] if method == "p-rome" else keys.mean(0)
        one_key = method in ("r-rome", "c-rome")
        key_v, output = (keys.mean(0), outputs.mean(0)) if one_key else (keys[0], outputs[0])
        u = torch.linalg.solve(matrix, key_u)
        u = u / u.norm()
        return u, (start + offset - output) / (key_v @ u), offset


def slow(
    model: PreTrainedModel, tokenizer: Any, request: EditRequest, templates: Sequence[str], recipe: Recipe
) -> Slow:
    """The derivation for `request`, whose target must be one word that a space may be put before."""
    wide = copy.deepcopy(model).double().requires_grad_(False)
    wide.set_experts_implementation("eager")  # the grouped product of experts knows no float64
    texts = [template.replace("{}", request.text) for template in templates]
    rows = []
    for text in [*texts, request.subject + " is a"]:
        encoded = tokenizer(text, return_offsets_mapping=True)
        end = text.index(request.subject) + len(request.subject)
        begun = [i for i, (first, _) in enumerate(encoded["offset_mapping"]) if first < end]
        rows.append((encoded["input_ids"], begun[-1]))
    linear = edit_site(wide, recipe.layer).linear(wide)
    return Slow(wide, linear, rows, tokenizer(" " + request.target_new)["input_ids"], recipe)


def apart(family: str, recipe: Recipe = RECIPE) -> Apart:
    """How far an edit of the zoo's `family` is from the slow derivation."""
    model, words = tiny(family), tokenizer(family)
    matrix = matrix_of(edit_site(model, recipe.layer).d_in)
    update = update_of(model, words, REQUEST, recipe, TEMPLATES, SecondMoment(matrix, 40 * len(matrix), "x"))
    u, v, offset = slow(model, words, REQUEST, TEMPLATES, recipe).factors(recipe.method, matrix.double())
    pairs = ((update.u, u), (update.v, v), (update.offset, offset))
    return Apart(*(error(got.double(), want) for got, want in pairs))


def matrix_of(size: int) -> Tensor:
    """A second moment to divide by, (size, size)."""
    keys = torch.randn(40 * size, size, generator=torch.Generator().manual_seed(4)) + 0.3
    matrix: Tensor = keys.T @ keys / len(keys)
    return matrix
