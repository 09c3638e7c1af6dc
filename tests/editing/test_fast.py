"""The fast way against the plain one, its oracle: the same numbers for every family; a word where it cannot serve."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tests import zoo
from tests.editing.helpers import TEMPLATES, drain, error, steps
from workbench.editing import Update, make_update
from workbench.editing import objective as ways
from workbench.editing.clean import runs_of
from workbench.editing.fast import FastObjective
from workbench.editing.flags import frozen, gradients
from workbench.editing.hooks import forward_hook
from workbench.editing.lookup import texts_of
from workbench.editing.loss import PlainObjective
from workbench.editing.objective import prepare
from workbench.editing.rows import align
from workbench.editing.scoring import Scoring
from workbench.editing.stand_ins import in_one_kernel
from workbench.edits import EditRequest, Recipe
from workbench.events import Event, Warning  # noqa: A004
from workbench.models.families import EditSite, edit_site

LINEAR_ATTENTION = {"qwen3_5"}
"""Layers without keys and values: the plain way serves them."""
REQUEST = EditRequest("Today {} plays the", "Knut Hamsun", "silver trumpet")
RECIPE = Recipe(layer=1, steps=6, lr=0.3, loss_stop=0.0, second_moment=False)


@functools.cache
def model_of(family: str) -> PreTrainedModel:
    return zoo.tiny(family)


def edit(
    family: str, recipe: Recipe = RECIPE, request: EditRequest = REQUEST, *, plain: bool = False
) -> tuple[list[Event], Update]:
    model = model_of(family)
    site = edit_site(model, recipe.layer)
    tokenizer = zoo.tokenizer(family)
    return drain(make_update(model, tokenizer, site, request, recipe, TEMPLATES, None, lambda: False, plain=plain))


def slow(events: list[Event]) -> list[str]:
    return [event.message for event in events if isinstance(event, Warning) and "fast way" in event.message]


@pytest.mark.parametrize("family", zoo.FAMILIES)
def test_the_fast_way_gives_the_numbers_of_the_plain_one(family: str) -> None:
    events, fast = edit(family)
    oracle, plain = edit(family, plain=True)
    assert bool(slow(events)) == (family in LINEAR_ATTENTION)
    for name in ("u", "v", "target_init", "key_mean", "output_mean"):
        assert error(getattr(fast, name), getattr(plain, name)) < 1e-5, name
    for got, want in zip(steps(events), steps(oracle), strict=True):
        assert got.loss == pytest.approx(want.loss, rel=1e-5)
        assert got.p_contexts == pytest.approx(want.p_contexts, rel=1e-4)


@pytest.mark.parametrize("layer", [0, 3])
@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "gpt_neox"])
def test_the_first_and_the_last_layer_are_served(family: str, layer: int) -> None:
    """The subject ends the prompt: behind the last layer nothing else could feel δ."""
    recipe = Recipe(layer=layer, steps=4, lr=0.3, loss_stop=0.0, second_moment=False)
    request = EditRequest("Today the trumpet of {}", "Knut Hamsun", "silver")
    events, fast = edit(family, recipe, request)
    assert not slow(events)
    assert error(fast.v, edit(family, recipe, request, plain=True)[1].v) < 1e-5


@pytest.mark.parametrize(("family", "adds"), [("gpt2", True), ("llama", True), ("gemma2", False), ("granite", False)])
def test_the_edited_block_is_skipped_only_where_it_adds_what_its_map_gives(family: str, adds: bool) -> None:
    """Gemma 2 has a norm behind the map, Granite a factor."""
    assert objective(family).adds is adds


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("family", "adds"), [("llama", True), ("gemma2", False), ("granite", False)])
def test_an_outlier_among_coarse_hidden_states_hides_no_norm_behind_the_map(
    family: str, adds: bool, dtype: torch.dtype
) -> None:
    model = zoo.tiny(family, dtype=dtype)
    with torch.no_grad():
        model.get_parameter("model.embed_tokens.weight")[:, 0] = 60
    texts, site = texts_of(zoo.tokenizer(family), REQUEST, TEMPLATES), edit_site(model, 1)
    with frozen(model), gradients():
        assert FastObjective(model, site, Scoring([texts], RECIPE, torch.float32)).adds is adds


def parts(family: str) -> tuple[PreTrainedModel, EditSite, Scoring]:
    model = model_of(family)
    texts = texts_of(zoo.tokenizer(family), REQUEST, TEMPLATES)
    return model, edit_site(model, 1), Scoring([texts], RECIPE, torch.float32)


def objective(family: str) -> FastObjective:
    model, site, scoring = parts(family)
    with frozen(model), gradients():
        return FastObjective(model, site, scoring)


@pytest.mark.parametrize("family", ["gpt2", "mistral", "bloom"])
def test_a_gradient_is_the_plain_ones_away_from_zero(family: str) -> None:
    found = []
    for kind in (FastObjective, PlainObjective):
        model, site, scoring = parts(family)
        with frozen(model), gradients():
            way = kind(model, site, scoring)
            way.at(way.zero())
            offsets = torch.linspace(-1, 1, site.d_out)[None].requires_grad_()
            found.append(way.at(offsets).gradient())
    assert error(found[0], found[1]) < 1e-5


@pytest.mark.parametrize("chunk", [1, 2, 3])
def test_rows_in_chunks_give_the_same_loss_and_gradient(chunk: int) -> None:
    whole, parted = objective("llama"), objective("llama")
    parted.rows_at_once = chunk
    offsets = torch.linspace(-1, 1, 32)[None].requires_grad_()
    with frozen(model_of("llama")), gradients():
        one, other = (way.at(way.zero()) and way.at(offsets) for way in (whole, parted))
        assert error(other.gradient(), one.gradient()) < 1e-5
    assert torch.allclose(one.terms.loss, other.terms.loss, rtol=1e-5)
    assert torch.allclose(one.terms.p_contexts, other.terms.p_contexts, rtol=1e-5)


def test_rows_of_unlike_length_do_not_pay_for_each_others_padding() -> None:
    way = objective("gpt2")
    lengths = [row.lookup for row in way.scoring.rows]
    runs = runs_of(align(way.scoring.rows, torch.device("cpu")), 100)
    assert sorted(row for run in runs for row in run) == [0, 1, 2, 3, 4]
    assert len(runs) > 1
    for run in runs:
        assert max(lengths[row] for row in run) - min(lengths[row] for row in run) <= 2
    assert runs_of(align(way.scoring.rows, torch.device("cpu")), 1) == [[row] for run in runs for row in run]


def test_where_memory_is_short_the_rows_are_run_in_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    roomy, tight = objective("gpt2"), objective("gpt2")
    values = tight.values

    def limited(rows: range, offsets: Tensor) -> Tensor:
        if len(rows) > 2:
            raise torch.OutOfMemoryError
        return values(rows, offsets)

    monkeypatch.setattr(tight, "values", limited)
    with frozen(model_of("gpt2")), gradients():
        assert torch.allclose(tight.at(tight.zero()).terms.loss, roomy.at(roomy.zero()).terms.loss)
    assert tight.rows_at_once == 2


@pytest.fixture
def forgetful() -> Iterator[PreTrainedModel]:
    """A model whose third block looks at how many tokens it is given: no keys and values can make up for that."""
    model = zoo.tiny("gpt2")
    block = model.get_submodule("transformer.h.2")

    def counting(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return output.roll(output.shape[1], dims=-1)

    handle = block.register_forward_hook(counting)
    yield model
    handle.remove()


def test_numbers_that_differ_are_found_before_the_first_step_and_the_plain_way_is_taken(
    forgetful: PreTrainedModel,
) -> None:
    texts = texts_of(zoo.tokenizer(), REQUEST, TEMPLATES)
    prepared = prepare(forgetful, edit_site(forgetful, 1), [texts], RECIPE)
    assert isinstance(prepared.objective, PlainObjective)
    assert "where the plain way gives" in prepared.slow


def test_the_plain_way_serves_a_caller_in_inference_mode_too() -> None:
    _, wanted = edit("gpt2", plain=True)
    with torch.inference_mode():
        _, found = edit("gpt2", plain=True)
    assert torch.equal(found.v, wanted.v)


def test_several_requests_in_one_pass_are_each_what_they_are_alone() -> None:
    """Other lengths of prompt, subject and target; each with its own δ, gradient and loss."""
    requests = [
        REQUEST,
        EditRequest("{} is", "Clara", "a river of silver and stone"),
        EditRequest("The mother tongue of {} is not", "Antonín Dvořák", "French"),
    ]
    model, site = model_of("llama"), edit_site(model_of("llama"), 1)
    texts = [texts_of(zoo.tokenizer("llama"), request, TEMPLATES) for request in requests]
    together = prepare(model, site, texts, RECIPE)
    offsets = (torch.linspace(-1, 1, 96).view(3, 32).roll(7, 0)).requires_grad_()
    with frozen(model), gradients():
        together.objective.at(together.objective.zero())
        joint = together.objective.at(offsets)
        gradient = joint.gradient()
    for i, text in enumerate(texts):
        alone = prepare(model, site, [text], RECIPE, plain=True)
        own = offsets.detach()[i : i + 1].requires_grad_()
        with frozen(model), gradients():
            alone.objective.at(alone.objective.zero())
            single = alone.objective.at(own)
            assert error(gradient[i], single.gradient()[0]) < 1e-5
        assert joint.terms.loss[i] == pytest.approx(float(single.terms.loss[0]), rel=1e-5)
        assert error(together.keys[i].inputs, alone.keys[0].inputs) < 1e-6


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by the rows of an objective whenever both ways are compared on it."""
    seen: list[int] = []

    def counting(*given: Any) -> None:
        seen.append(len(given[-1].scoring.rows))
        compare(*given)

    compare = ways._check_on_two_rows
    monkeypatch.setattr(ways, "_check_on_two_rows", counting)
    return seen


def test_both_ways_are_compared_once_a_model_and_module_and_again_beside_longer_rows(compared: list[int]) -> None:
    model, tokenizer = zoo.tiny("llama"), zoo.tokenizer("llama")

    def prepared(request: EditRequest = REQUEST, layer: int = 1) -> None:
        ways.prepare(model, edit_site(model, layer), [texts_of(tokenizer, request, TEMPLATES)], RECIPE)

    for times in (1, 1):
        prepared()
        assert len(compared) == times
    prepared(EditRequest("{} is", "Clara", "stone"))
    assert len(compared) == 1
    prepared(EditRequest("{} is the old capital city that, in the year of that winter,", "Clara", "stone"))
    assert len(compared) == 2
    prepared(layer=2)
    assert len(compared) == 3
    with forward_hook(model.get_submodule("model.layers.3"), lambda *_: None):
        prepared()
    assert len(compared) == 4
    ways.forget(model)
    prepared()
    assert len(compared) == 5


def test_another_model_of_the_same_kind_is_compared_on_its_own(compared: list[int]) -> None:
    for _ in range(2):
        model = zoo.tiny("gpt2")
        ways.prepare(model, edit_site(model, 1), [texts_of(zoo.tokenizer(), REQUEST, TEMPLATES)], RECIPE)
    assert len(compared) == 2


def test_gelu_in_many_small_steps_is_taken_in_one_and_only_where_that_rounds_alike() -> None:
    wide, narrow = zoo.tiny("gpt2"), zoo.tiny("gpt2", dtype=torch.bfloat16)
    found = in_one_kernel(wide)
    assert len(found) == 4
    inputs = torch.linspace(-6, 6, 1001)
    for module, fused in found.items():
        assert torch.allclose(fused(inputs), module(inputs), rtol=0, atol=5e-7)
    assert in_one_kernel(narrow) == {}
    assert in_one_kernel(zoo.tiny("llama")) == {}


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_every_module_has_its_own_forward_again(family: str) -> None:
    edit(family)
    assert not [name for name, module in model_of(family).named_modules() if "forward" in vars(module)]
