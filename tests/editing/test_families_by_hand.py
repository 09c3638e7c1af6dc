"""Edits on other families against a slow derivation: one row a forward pass, no padding, float64, Adam by hand."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    GPTJConfig,
    GPTJForCausalLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedModel,
)

from tests.editing.helpers import TEMPLATES, error, update_of
from tests.parity.load import Parity
from workbench.editing import SecondMoment
from workbench.edits import METHODS, EditRequest, Method, Recipe
from workbench.models.families import edit_site

REQUEST = EditRequest("The mother tongue of {} is", "Antonín Dvořák", "silver trumpet")
RECIPE = Recipe(layer=1, steps=8, lr=0.3, weight_decay=0.2, clamp_factor=0.8, loss_stop=0.0)


def neox(parallel: bool) -> PreTrainedModel:
    config = GPTNeoXConfig(
        vocab_size=620,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=96,
        initializer_range=0.25,
        use_parallel_residual=parallel,
        bos_token_id=0,
        eos_token_id=0,
    )
    return seeded(GPTNeoXForCausalLM, config)


def gptj() -> PreTrainedModel:
    config = GPTJConfig(
        vocab_size=620, n_embd=32, n_layer=3, n_head=4, n_inner=48, n_positions=96, rotary_dim=4, initializer_range=0.25
    )
    return seeded(GPTJForCausalLM, config)


def opt() -> PreTrainedModel:
    config = OPTConfig(
        vocab_size=620,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        ffn_dim=48,
        max_position_embeddings=96,
        word_embed_proj_dim=32,
        init_std=0.25,
    )
    return seeded(OPTForCausalLM, config)


def seeded(kind: Any, config: Any) -> PreTrainedModel:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model: PreTrainedModel = kind(config)
        for parameter in model.parameters():
            if parameter.dim() == 1:  # norms and biases start at ones and zeros
                parameter.data.add_(torch.randn_like(parameter) * 0.1)
    model.train(False)
    return model


MODELS: dict[str, Callable[[], PreTrainedModel]] = {
    "neox": partial(neox, True),
    "neox serial": partial(neox, False),
    "gpt-j": gptj,
    "opt": opt,
}


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
            seen.extend((inputs[0].view(len(ids), -1)[lookup], output.view(len(ids), -1)[lookup]))
            if offset is None:
                return None
            at = torch.zeros(len(ids), 1, dtype=output.dtype)
            at[lookup] = 1
            return output + (at * offset).view(output.shape)

        handle = self.linear.register_forward_hook(hook)
        try:
            logits = self.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
        finally:
            handle.remove()
        return logits.log_softmax(-1), seen[0].detach(), seen[1].detach()

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

    def factors(self, method: Method, matrix: Tensor) -> tuple[Tensor, Tensor]:
        seen = [self.forward(ids, lookup, None) for ids, lookup in self.rows[:-1]]
        keys, outputs = torch.stack([s[1] for s in seen]), torch.stack([s[2] for s in seen])
        offset, start = self.offset()
        key_u = keys[0] if method == "p-rome" else keys.mean(0)
        key_v, output = (keys.mean(0), outputs.mean(0)) if method == "r-rome" else (keys[0], outputs[0])
        u = torch.linalg.solve(matrix, key_u)
        u = u / u.norm()
        return u, (start + offset - output) / (key_v @ u)


def slow(model: PreTrainedModel, tokenizer: Any, templates: Sequence[str], recipe: Recipe) -> Slow:
    wide = copy.deepcopy(model).double().requires_grad_(False)
    texts = [template.replace("{}", REQUEST.text) for template in templates]
    rows = []
    for text in [*texts, REQUEST.subject + " is a"]:
        encoded = tokenizer(text, return_offsets_mapping=True)
        end = text.index(REQUEST.subject) + len(REQUEST.subject)
        begun = [i for i, (first, _) in enumerate(encoded["offset_mapping"]) if first < end]
        rows.append((encoded["input_ids"], begun[-1]))
    linear = edit_site(wide, recipe.layer).linear(wide)
    return Slow(wide, linear, rows, tokenizer(" silver trumpet")["input_ids"], recipe)


def matrix_of(size: int) -> Tensor:
    keys = torch.randn(40 * size, size, generator=torch.Generator().manual_seed(4)) + 0.3
    matrix: Tensor = keys.T @ keys / len(keys)
    return matrix


@pytest.mark.parametrize("name", MODELS)
def test_an_edit_agrees_with_the_slow_derivation(parity_gpt2: Parity, name: str) -> None:
    model, tokenizer = MODELS[name](), parity_gpt2.tokenizer
    matrix = matrix_of(48)
    by_hand = slow(model, tokenizer, TEMPLATES, RECIPE)
    offset, _ = by_hand.offset()
    update = update_of(model, tokenizer, REQUEST, RECIPE, TEMPLATES, SecondMoment(matrix, 1920, "x"))
    u, v = by_hand.factors("r-rome", matrix.double())
    assert error(update.offset.double(), offset) < 1e-4
    assert error(update.u.double(), u) < 1e-5
    assert error(update.v.double(), v) < 1e-4


@pytest.mark.parametrize("method", METHODS)
def test_every_method_agrees_with_the_slow_derivation(parity_gpt2: Parity, method: Method) -> None:
    model, tokenizer, matrix = MODELS["neox"](), parity_gpt2.tokenizer, matrix_of(48)
    settings = replace(RECIPE, method=method, steps=4)
    update = update_of(model, tokenizer, REQUEST, settings, TEMPLATES, SecondMoment(matrix, 1920, "x"))
    u, v = slow(model, tokenizer, TEMPLATES, settings).factors(method, matrix.double())
    assert error(update.u.double(), u) < 1e-5
    assert error(update.v.double(), v) < 1e-4
