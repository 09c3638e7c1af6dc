"""An edit is computed, never written: the model is as it was at every event and at every kind of end."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from transformers import PreTrainedModel

from tests.editing.helpers import drain, own_model, same, start, update_of, weights
from tests.parity.load import Parity
from workbench.editing import Cancelled
from workbench.editing.flags import frozen
from workbench.edits import EditRequest
from workbench.errors import EditError, Interrupted

REQUEST = EditRequest("{} plays the", "Knut Hamsun", "silver trumpet")


def switches(model: nn.Module) -> tuple[Any, ...]:
    """Everything an edit might leave switched."""
    return (
        [parameter.requires_grad for parameter in model.parameters()],
        [parameter.grad is None for parameter in model.parameters()],
        [module.training for module in model.modules()],
        [len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in model.modules()],
        model.config.use_cache if isinstance(model, PreTrainedModel) else None,
        torch.get_rng_state().tolist(),
        random.getstate(),
        torch.is_grad_enabled(),
    )


@pytest.fixture
def model(parity_gpt2: Parity) -> PreTrainedModel:
    """A model in an odd state: training, half of the parameters frozen, one module in evaluation mode."""
    model = own_model(parity_gpt2)
    model.train()
    model.get_submodule("transformer.h.2").train(False)
    for parameter in list(model.parameters())[::2]:
        parameter.requires_grad_(False)
    return model


def test_everything_is_as_before_at_every_event_and_after(parity_gpt2: Parity, model: PreTrainedModel) -> None:
    flags, content = switches(model), weights(model)
    generator = start(model, parity_gpt2.tokenizer, REQUEST)
    count = 0
    for _ in generator:
        count += 1
        assert switches(model) == flags
        assert weights(model) == content
    assert count >= 7
    assert switches(model) == flags
    assert weights(model) == content


@pytest.mark.parametrize("asked", range(1, 6))
def test_stopping_at_any_step_leaves_every_byte(parity_gpt2: Parity, model: PreTrainedModel, asked: int) -> None:
    flags, content = switches(model), weights(model)
    answers = iter([False] * (asked - 1) + [True])
    with pytest.raises(Cancelled) as caught:
        drain(start(model, parity_gpt2.tokenizer, REQUEST, cancelled=lambda: next(answers)))
    assert isinstance(caught.value, Interrupted)
    assert switches(model) == flags
    assert weights(model) == content


@pytest.mark.parametrize("events", range(6))
def test_walking_away_from_an_edit_leaves_every_byte(parity_gpt2: Parity, model: PreTrainedModel, events: int) -> None:
    flags, content = switches(model), weights(model)
    generator = start(model, parity_gpt2.tokenizer, REQUEST)
    for _ in range(events):
        next(generator)
    generator.close()
    assert switches(model) == flags
    assert weights(model) == content


def test_an_error_in_the_middle_of_a_forward_pass_leaves_every_byte(
    parity_gpt2: Parity, model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags, content = switches(model), weights(model)
    last = model.get_submodule("transformer.h.3.mlp")
    monkeypatch.setattr(last, "forward", failing(after=1, real=last.forward))
    with pytest.raises(FloatingPointError):
        drain(start(model, parity_gpt2.tokenizer, REQUEST))
    assert switches(model) == flags
    assert weights(model) == content


def failing(after: int, real: Callable[..., Any]) -> Callable[..., Any]:
    calls = itertools.count()

    def forward(*args: Any) -> Any:
        if next(calls) >= after:
            raise FloatingPointError
        return real(*args)

    return forward


def test_a_loss_that_is_not_a_number_is_said_and_leaves_every_byte(parity_gpt2: Parity, model: PreTrainedModel) -> None:
    with torch.no_grad():
        model.get_parameter("transformer.ln_f.weight").fill_(float("nan"))
    flags, content = switches(model), weights(model)
    with pytest.raises(EditError, match="not a number at step 1"):
        drain(start(model, parity_gpt2.tokenizer, REQUEST))
    assert switches(model) == flags
    assert weights(model) == content


def test_dropout_and_training_mode_change_nothing(parity_gpt2: Parity) -> None:
    model = own_model(parity_gpt2)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.5
    model.train()
    assert same(
        update_of(model, parity_gpt2.tokenizer, REQUEST), update_of(parity_gpt2.model, parity_gpt2.tokenizer, REQUEST)
    )


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_the_callers_gradient_mode_changes_nothing(parity_gpt2: Parity, mode: Callable[[], Any]) -> None:
    with mode():
        update = update_of(parity_gpt2.model, parity_gpt2.tokenizer, REQUEST)
    assert same(update, update_of(parity_gpt2.model, parity_gpt2.tokenizer, REQUEST))


def test_frozen_puts_random_state_back_when_something_draws(parity_gpt2: Parity) -> None:
    state = torch.get_rng_state()
    with frozen(parity_gpt2.model):
        torch.rand(3)
    assert torch.equal(torch.get_rng_state(), state)
