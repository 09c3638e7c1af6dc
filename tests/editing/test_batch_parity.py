"""MEMIT and EMMET: the numbers of the papers' own programs, on a GPT-2 (in, out) and a Llama (out, in, BOS)."""

from __future__ import annotations

import copy
import functools
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from tests.editing.helpers import drain, error
from tests.parity.load import Parity, recipe
from workbench.editing import Batch, make_batch
from workbench.events import Event
from workbench.models.families import edit_site

CASES = ("memit-one-layer", "memit-three-layers", "emmet-a", "emmet-b", "emmet-c", "emmet-single")
LOGITS = 1e-4
"""Allowed absolute error of logits."""


@pytest.fixture(params=("gpt2", "llama"))
def parity(request: pytest.FixtureRequest) -> Parity:
    found: Parity = request.getfixturevalue(f"parity_{request.param}")
    return found


@functools.cache
def run(parity: Parity, name: str, plain: bool = False) -> tuple[list[Event], Batch]:
    case = parity.cases[name]
    settings = recipe(case, case["method"])
    sites = [edit_site(parity.model, layer) for layer in settings.edited_layers]
    requests = [parity.request(one) for one in case["requests"]]
    model, words, templates, moments = parity.model, parity.tokenizer, parity.templates, parity.second_moments(case)
    return drain(make_batch(model, words, sites, requests, settings, templates, moments, lambda: False, plain=plain))


def expected(parity: Parity, name: str, tensor: str) -> Tensor:
    return parity.tensors[f"{name}/{parity.cases[name]['method']}/{tensor}"]


def edited(parity: Parity, batch: Batch) -> PreTrainedModel:
    model = copy.deepcopy(parity.model)
    for part in batch.parts:
        site = edit_site(model, part.layer)
        with torch.no_grad():
            site.weight(model).add_(part.delta(site))
    return model


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_values_keys_residuals_and_deltas_are_the_references(parity: Parity, name: str, plain: bool) -> None:
    case, (_, batch) = parity.cases[name], run(parity, name, plain)
    assert error(batch.z, expected(parity, name, "z")) <= case["rtol"]
    assert [part.layer for part in batch.parts] == case["layers"]
    for part in batch.parts:
        at = f"layer{part.layer}"
        assert error(part.keys, expected(parity, name, f"{at}/keys")) <= case["rtol"]
        assert error(part.residuals, expected(parity, name, f"{at}/residual")) <= case["rtol"]
        change = part.delta(edit_site(parity.model, part.layer))
        assert error(change, expected(parity, name, f"{at}/delta")) <= case["rtol"]


@pytest.mark.parametrize("name", CASES)
def test_norms_steps_and_what_is_missed_are_the_references(parity: Parity, name: str) -> None:
    case, (_, batch) = parity.cases[name], run(parity, name)
    wanted: dict[str, Any] = case["expected"][case["method"]]
    assert batch.made == tuple(range(len(case["requests"])))
    assert list(batch.steps) == [one["optimiser_steps"] for one in case["optimisation"]]
    for norms, field in ((batch.target_norms, "target_init_norm"), (batch.offset_norms, "offset_norm")):
        assert norms == pytest.approx([one[field] for one in case["optimisation"]], rel=case["rtol"])
    for part in batch.parts:
        assert part.delta_norm == pytest.approx(wanted["delta_norm"][str(part.layer)], rel=case["rtol"])
    missed = wanted["unsatisfied_fraction_last_layer"]
    assert batch.parts[-1].missed_in_all == pytest.approx(missed, rel=1e-4, abs=1e-12)


@pytest.mark.parametrize("name", ["memit-one-layer", "memit-three-layers", "emmet-a"])
def test_the_edited_model_says_what_the_reference_says(parity: Parity, name: str) -> None:
    model = edited(parity, run(parity, name)[1])
    for one, want in zip(parity.cases[name]["requests"], expected(parity, name, "edited_logits"), strict=True):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([parity.requests[one]["bare_prompt_ids"]])).logits[0, -1]
        assert torch.allclose(logits, want, rtol=0, atol=LOGITS)
