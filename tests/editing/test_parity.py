"""The numbers of the papers' own programs, on a GPT-2 (in, out) and a Llama (out, in, BOS)."""

from __future__ import annotations

import copy
import functools
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.editing.helpers import drain, error, start, steps, update_of
from tests.parity.load import Parity, recipe
from workbench.editing import Update, delta
from workbench.editing.lookup import kl_row, lookup_rows, target_ids
from workbench.edits import Method
from workbench.events import Event, OptimStep
from workbench.models.families import edit_site

MODELS = ("gpt2", "llama")
SINGLE = (*(f"edit-{i}" for i in range(1, 7)), "early-stop", "already-known", "other-settings", "identity")
ZERO = 1e-5
"""Allowed length of a vector that should be zero."""
LOGITS = 1e-4
"""Allowed absolute error of logits."""


@pytest.fixture(params=MODELS)
def parity(request: pytest.FixtureRequest) -> Parity:
    found: Parity = request.getfixturevalue(f"parity_{request.param}")
    return found


@functools.cache
def run(parity: Parity, name: str, method: Method) -> tuple[list[Event], Update]:
    case = parity.cases[name]
    request, templates = parity.request(case["request"]), parity.templates
    settings, moment = recipe(case, method), parity.second_moment(case)
    return drain(start(parity.model, parity.tokenizer, request, settings, templates, moment))


def agrees(got: Tensor, want: Tensor, rtol: float) -> bool:
    return error(got, want) <= (rtol if want.norm() > 0 else ZERO)


def next_token_logits(parity: Parity, case: dict[str, Any], layer: int, change: Tensor) -> Tensor:
    model = copy.deepcopy(parity.model)
    ids = torch.tensor([parity.requests[case["request"]]["bare_prompt_ids"]])
    with torch.no_grad():
        edit_site(model, layer).weight(model).add_(change)
        logits: Tensor = model(input_ids=ids).logits[0, -1]
    return logits


@pytest.mark.parametrize("method", ["r-rome", "rome", "p-rome"])
@pytest.mark.parametrize("name", SINGLE)
def test_factors_and_delta_are_the_references(parity: Parity, name: str, method: Method) -> None:
    case = parity.cases[name]
    _, update = run(parity, name, method)
    want, rtol = parity.tensors, case["rtol"]
    change = delta(edit_site(parity.model, case["layer"]), update.u, update.v)
    assert agrees(update.u, want[f"{name}/{method}/u"], rtol)
    assert agrees(update.v, want[f"{name}/{method}/v"], rtol)
    if f"{name}/{method}/delta" in want:
        assert agrees(change, want[f"{name}/{method}/delta"], rtol)
    numbers = case["expected"][method]
    assert update.division_factor == pytest.approx(numbers["division_factor"], rel=rtol)
    assert update.v_norm == pytest.approx(numbers["v_norm"], rel=rtol, abs=ZERO)
    assert update.stopped == ("loss" if case["optimisation"]["stopped_early"] else "steps")
    assert update.ridge == 0


@pytest.mark.parametrize("name", SINGLE)
def test_keys_outputs_and_offset_are_the_references(parity: Parity, name: str) -> None:
    case = parity.cases[name]
    _, update = run(parity, name, "r-rome")
    for tensor in ("key_bare", "key_mean", "output_bare", "output_mean", "target_init", "offset"):
        assert agrees(getattr(update, tensor), parity.tensors[f"{name}/shared/{tensor}"], case["rtol"]), tensor
    assert update.steps == case["optimisation"]["optimiser_steps"]


@pytest.mark.parametrize("name", SINGLE)
def test_every_step_says_the_references_numbers(parity: Parity, name: str) -> None:
    case = parity.cases[name]
    events, _ = run(parity, name, "r-rome")
    trace, seen = case["optimisation"]["trace"], steps(events)
    assert len(seen) == len(trace) == case["optimisation"]["loss_evaluations"]
    for step, (total, nll, kl, wd) in zip(seen, trace, strict=True):
        assert step.loss == pytest.approx(total, rel=1e-4)
        assert step.nll == pytest.approx(nll, rel=1e-4)
        assert step.kl == pytest.approx(kl, rel=1e-3, abs=1e-6)
        assert step.wd == pytest.approx(wd, rel=1e-4, abs=1e-9)
    check_clamping(seen, case["optimisation"])


def check_clamping(seen: list[OptimStep], expected: dict[str, Any]) -> None:
    assert seen[-1].delta_norm == pytest.approx(expected["offset_norm"], rel=1e-5, abs=1e-6)
    assert seen[0].clamp == pytest.approx(expected["offset_limit"], rel=1e-5)
    clamped = sum(step.delta_norm == pytest.approx(step.clamp, rel=1e-6) for step in seen)
    assert clamped == expected["times_clamped"]


@pytest.mark.parametrize("name", SINGLE)
def test_the_edited_model_says_what_the_reference_says(parity: Parity, name: str) -> None:
    case = parity.cases[name]
    _, update = run(parity, name, "r-rome")
    change = delta(edit_site(parity.model, case["layer"]), update.u, update.v)
    logits = next_token_logits(parity, case, case["layer"], change)
    assert torch.allclose(logits, parity.tensors[f"{name}/r-rome/edited_logits"], rtol=0, atol=LOGITS)


def test_five_edits_in_a_row_end_in_the_references_weight(parity: Parity) -> None:
    case = parity.cases["sequence"]
    model = copy.deepcopy(parity.model)
    site, moment = edit_site(model, case["layer"]), parity.second_moment(case)
    settings = recipe(case, "r-rome")
    for i, (name, expected) in enumerate(zip(case["requests"], case["edits"], strict=True)):
        update = update_of(model, parity.tokenizer, parity.request(name), settings, parity.templates, moment)
        assert agrees(update.u, parity.tensors[f"sequence/{i}/r-rome/u"], case["rtol"])
        assert agrees(update.v, parity.tensors[f"sequence/{i}/r-rome/v"], case["rtol"])
        assert update.steps == expected["optimiser_steps"]
        with torch.no_grad():
            site.weight(model).add_(delta(site, update.u, update.v))
    assert agrees(site.weight(model).detach(), parity.tensors["sequence/final_weight"], case["rtol"])
    for name, want in zip(case["requests"], parity.tensors["sequence/edited_logits"], strict=True):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([parity.requests[name]["bare_prompt_ids"]])).logits[0, -1]
        assert torch.allclose(logits, want, rtol=0, atol=LOGITS)


def test_tokens_and_positions_are_the_references(parity: Parity) -> None:
    for name, entry in parity.requests.items():
        request = parity.request(name)
        rows = lookup_rows(parity.tokenizer, request, parity.templates)
        divergence = kl_row(parity.tokenizer, request.subject)
        assert list(rows[0].ids) == entry["bare_prompt_ids"]
        assert [row.lookup for row in rows] == entry["subject_last_index_per_template"]
        assert list(target_ids(parity.tokenizer, request.target_new)) == entry["target_ids"]
        assert (list(divergence.ids), divergence.lookup) == (entry["kl_prompt_ids"], entry["kl_subject_last_index"])
