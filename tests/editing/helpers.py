"""What the tests of the maths share: running an edit to its end, and comparing tensors."""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tests.parity.load import Parity
from workbench.editing import SecondMoment, Update, make_update
from workbench.edits import EditRequest, Recipe
from workbench.events import Event, OptimStep
from workbench.models.families import edit_site

T = TypeVar("T")

TEMPLATES = ("{}", "The river. {}", "Because people often think of winter. {}", "Yesterday a young city! {}")
SHORT = Recipe(layer=1, steps=4, second_moment=False)
"""Enough to see that an edit is made."""


def drain(generator: Generator[Event, None, T]) -> tuple[list[Event], T]:
    """All events, and what the generator returns."""
    seen: list[Event] = []
    while True:
        try:
            seen.append(next(generator))
        except StopIteration as stop:
            return seen, stop.value


def start(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    request: EditRequest,
    recipe: Recipe = SHORT,
    templates: Sequence[str] = TEMPLATES,
    second_moment: SecondMoment | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Generator[Event, None, Update]:
    """An edit about to be made."""
    site = edit_site(model, recipe.layer)
    return make_update(model, tokenizer, site, request, recipe, templates, second_moment, cancelled)


def update_of(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    request: EditRequest,
    recipe: Recipe = SHORT,
    templates: Sequence[str] = TEMPLATES,
    second_moment: SecondMoment | None = None,
) -> Update:
    """The update alone."""
    return drain(start(model, tokenizer, request, recipe, templates, second_moment))[1]


def steps(events: Sequence[Event]) -> list[OptimStep]:
    """The evaluations of the loss among `events`."""
    return [event for event in events if isinstance(event, OptimStep)]


def own_model(parity: Parity) -> PreTrainedModel:
    """A copy that a test may change."""
    return copy.deepcopy(parity.model)


def error(got: Tensor, want: Tensor) -> float:
    """|got - want| / |want|, or |got| where want is zero."""
    norm = want.norm()
    return float((got - want).norm() / norm) if norm > 0 else float(got.norm())


def same(first: Update, second: Update) -> bool:
    """Bit for bit the same factors."""
    return torch.equal(first.u, second.u) and torch.equal(first.v, second.v)


def weights(model: nn.Module) -> dict[str, bytes]:
    """Every parameter and buffer as bytes."""
    return {name: value.detach().view(torch.uint8).numpy().tobytes() for name, value in model.state_dict().items()}
