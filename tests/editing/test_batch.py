"""Batches: every family by both ways, several layers, requests that fail or end early, and a model left as it was."""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace

import pytest
import torch
from transformers import PreTrainedModel

from tests import zoo
from tests.editing.helpers import drain, error, own_model, weights
from tests.editing.test_fast import LINEAR_ATTENTION, model_of, slow
from tests.editing.test_untouched import switches
from tests.parity.load import Parity
from workbench.editing import Batch, Cancelled, SecondMoment, descent, make_batch, values
from workbench.editing.lookup import texts_of
from workbench.editing.reading import read_batch_keys, read_block
from workbench.edits import EditRequest, Recipe
from workbench.errors import EditError, RequestError
from workbench.events import Event, StageStarted, StepTogether, Warning  # noqa: A004
from workbench.models.families import edit_site

TEMPLATES = ("{}", "The river. {}", "Because people often think of winter. {}")
REQUESTS = (
    EditRequest("Today {} plays the", "Knut Hamsun", "silver trumpet"),
    EditRequest("{} is", "Clara", "a river of stone"),
    EditRequest("The mother tongue of {} is not", "Antonín Dvořák", "French"),
)
MEMIT = Recipe("memit", 1, steps=4, lr=0.3, loss_stop=0.0, second_moment=False, moment_weight=0.5)
EMMET = Recipe("emmet", 1, steps=4, lr=0.3, loss_stop=0.0, second_moment=False, moment_weight=1.0, mu=0.1)
SPREAD = replace(MEMIT, layer=2, layers=(0, 1, 2))


def never() -> bool:
    return False


def start(
    model: PreTrainedModel,
    recipe: Recipe = MEMIT,
    requests: Sequence[EditRequest] = REQUESTS,
    templates: Sequence[str] = TEMPLATES,
    cancelled: Callable[[], bool] = never,
    *,
    plain: bool = False,
) -> Generator[Event, None, Batch]:
    sites = [edit_site(model, layer) for layer in recipe.edited_layers]
    moments: list[SecondMoment | None] = [None] * len(sites)
    words = zoo.tokenizer()
    return make_batch(model, words, sites, requests, recipe, templates, moments, cancelled, plain=plain)


@pytest.mark.parametrize("family", zoo.FAMILIES)
def test_the_fast_way_gives_the_numbers_of_the_plain_one(family: str) -> None:
    """δ is of the block's output, where norms and factors behind the map have no say."""
    model = model_of(family)
    events, fast = drain(start(model, requests=REQUESTS[:2], templates=TEMPLATES[:2]))
    _, plain = drain(start(model, requests=REQUESTS[:2], templates=TEMPLATES[:2], plain=True))
    assert bool(slow(events)) == (family in LINEAR_ATTENTION)
    assert error(fast.z, plain.z) < 1e-5
    for got, want in ((fast.parts[0].keys, plain.parts[0].keys), (fast.parts[0].residuals, plain.parts[0].residuals)):
        assert error(got, want) < 2e-5
    site = edit_site(model, 1)
    assert error(fast.parts[0].delta(site), plain.parts[0].delta(site)) < 1e-4


def test_every_request_has_the_value_it_has_alone() -> None:
    model = model_of("llama")
    _, together = drain(start(model))
    for i, request in enumerate(REQUESTS):
        _, alone = drain(start(model, requests=[request], plain=True))
        assert error(together.z[i], alone.z[0]) < 1e-5
        assert error(together.parts[0].keys[i], alone.parts[0].keys[0]) < 1e-5


@pytest.mark.parametrize("plain", [False, True])
def test_a_request_that_has_ended_leaves_the_others_as_they_are_alone(
    parity_gpt2: Parity, monkeypatch: pytest.MonkeyPatch, plain: bool
) -> None:
    """Those that end early are left out of the passes; the rest must not notice."""
    requests = [parity_gpt2.request(name) for name in ("r7", "r2", "r8")]
    recipe = replace(MEMIT, steps=8, lr=0.5, loss_stop=1.0)
    monkeypatch.setattr(descent, "WORTH", 0.99)
    events, together = drain(start(parity_gpt2.model, recipe, requests, plain=plain))
    monkeypatch.setattr(descent, "WORTH", 0.0)
    events_without, without = drain(start(parity_gpt2.model, recipe, requests, plain=plain))
    alone = [drain(start(parity_gpt2.model, recipe, [request], plain=True))[1] for request in requests]
    assert together.steps == without.steps == tuple(one.steps[0] for one in alone)
    assert len(set(together.steps)) > 1
    running, running_without = (
        [e.running for e in seen if isinstance(e, StepTogether)] for seen in (events, events_without)
    )
    assert running == running_without == sorted(running, reverse=True)
    for i, one in enumerate(alone):
        assert error(together.z[i], one.z[0]) < 1e-5


@pytest.mark.parametrize("at_once", [1, 2])
def test_chunks_change_nothing_but_the_pace(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    model = model_of("gpt2")
    _, whole = drain(start(model))
    monkeypatch.setattr(values, "at_once", lambda *_: at_once)
    events, parted = drain(start(model))
    stages = [event.detail for event in events if isinstance(event, StageStarted) and event.stage == "optimise"]
    assert stages[0] == f"requests 1 to {at_once} of 3, at most 4 steps"
    assert len(stages) == -(-3 // at_once) + 1
    assert error(parted.z, whole.z) < 1e-5
    assert error(parted.parts[0].a, whole.parts[0].a) < 1e-4


def test_how_many_go_side_by_side_is_bounded_by_rows_and_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    model, site = model_of("gpt2"), edit_site(model_of("gpt2"), 1)
    texts = [texts_of(zoo.tokenizer(), request, TEMPLATES) for request in REQUESTS]
    monkeypatch.setattr(values, "CPU_ROWS", 13)
    assert values.at_once(model, site, texts) == 3
    monkeypatch.setattr(values, "BYTES", 40_000)
    assert values.at_once(model, site, texts) == 1


@pytest.mark.parametrize("family", ["gpt2", "llama", "gpt_neox", "gemma2"])
def test_each_layer_starts_from_the_model_with_the_layers_below_edited(family: str) -> None:
    model = copy.deepcopy(model_of(family))
    _, batch = drain(start(model, SPREAD))
    texts = [texts_of(zoo.tokenizer(), request, TEMPLATES) for request in REQUESTS]
    assert [part.layer for part in batch.parts] == [0, 1, 2]
    for i, part in enumerate(batch.parts):
        site = edit_site(model, part.layer)
        assert error(part.keys, read_batch_keys(model, site, texts, {}, never).float()) < 1e-5
        reached = read_block(model, 2, texts, {}, never)
        assert error(part.residuals, (batch.z - reached) / (3 - i)) < 2e-5
        with torch.no_grad():
            site.weight(model).add_(part.delta(site))


def test_a_light_c_writes_every_value_into_the_model() -> None:
    """One layer and few keys: the block then gives z where it gave t0, for the key that stands for the request."""
    model = copy.deepcopy(model_of("llama"))
    recipe = replace(EMMET, mu=0.0)
    _, batch = drain(start(model, recipe, templates=TEMPLATES[:1]))
    site = edit_site(model, 1)
    with torch.no_grad():
        site.weight(model).add_(batch.parts[0].delta(site))
    texts = [texts_of(zoo.tokenizer(), request, TEMPLATES[:1]) for request in REQUESTS]
    assert error(read_block(model, 1, texts, {}, never), batch.z) < 1e-5
    assert max(batch.parts[0].missed) < 1e-6


def test_a_request_that_cannot_be_made_is_named_and_the_others_go_on() -> None:
    model = model_of("gpt2")
    long = EditRequest("{} " + "river " * 200, "Clara", "stone")
    _, batch = drain(start(model, requests=[REQUESTS[0], long, REQUESTS[2]]))
    _, wanted = drain(start(model, requests=[REQUESTS[0], REQUESTS[2]]))
    assert batch.made == (0, 2)
    assert "the model reads 96" in batch.failed[1].message
    assert error(batch.parts[0].a, wanted.parts[0].a) < 1e-6


def test_a_batch_of_which_nothing_can_be_made_is_empty() -> None:
    _, batch = drain(start(model_of("gpt2"), replace(MEMIT, layer=3), [EditRequest("Today {} is", "Clara", "a river")]))
    assert (batch.made, batch.parts) == ((), ())
    assert "reaches the target" in batch.failed[0].message


def test_two_requests_about_one_thing_are_refused_where_both_must_hold() -> None:
    twice = [REQUESTS[0], REQUESTS[1], replace(REQUESTS[0], target_new="stone")]
    with pytest.raises(EditError, match="request 3, Knut Hamsun, is that of requests before it"):
        drain(start(model_of("gpt2"), replace(EMMET, mu=0.0), twice))
    _, batch = drain(start(model_of("gpt2"), EMMET, twice))
    assert bool(batch.parts[0].a.isfinite().all())


@pytest.mark.parametrize(
    ("recipe", "requests", "templates", "said"),
    [
        (Recipe("r-rome", 1), REQUESTS, TEMPLATES, "one update a request"),
        (MEMIT, (), TEMPLATES, "no requests"),
        (MEMIT, REQUESTS, TEMPLATES[1:], "must be the bare"),
        (MEMIT, REQUESTS, (), "must be the bare"),
    ],
)
def test_what_is_no_batch_is_refused(
    recipe: Recipe, requests: Sequence[EditRequest], templates: Sequence[str], said: str
) -> None:
    with pytest.raises((EditError, RequestError), match=said):
        drain(start(model_of("gpt2"), recipe, requests, templates))


def test_modules_that_are_not_the_recipes_are_refused() -> None:
    model = model_of("gpt2")
    other = make_batch(model, zoo.tokenizer(), [edit_site(model, 0)], REQUESTS, MEMIT, TEMPLATES, [None], never)
    with pytest.raises(EditError, match="not those of the recipe's layers"):
        drain(other)


def test_a_batch_without_c_says_so_once_a_layer() -> None:
    events, _ = drain(start(model_of("gpt2"), SPREAD))
    assert [event.message for event in events if isinstance(event, Warning)] == ["C = I: the recipe asks for it."] * 3


@pytest.mark.parametrize("recipe", [EMMET, SPREAD])
def test_everything_is_as_before_at_every_event_and_after(parity_gpt2: Parity, recipe: Recipe) -> None:
    model = own_model(parity_gpt2)
    model.train()
    flags, content = switches(model), weights(model)
    for _ in start(model, recipe):
        assert switches(model) == flags
        assert weights(model) == content
    assert switches(model) == flags
    assert weights(model) == content


@pytest.mark.parametrize("asked", range(1, 13))
def test_stopping_at_any_place_leaves_every_byte(parity_gpt2: Parity, asked: int) -> None:
    model = own_model(parity_gpt2)
    flags, content = switches(model), weights(model)
    answers = iter([False] * (asked - 1) + [True] * 100)
    with pytest.raises(Cancelled):
        drain(start(model, SPREAD, cancelled=lambda: next(answers)))
    assert switches(model) == flags
    assert weights(model) == content


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_narrow_model_is_edited_in_wide_numbers(dtype: torch.dtype) -> None:
    model = zoo.tiny("llama", dtype=dtype)
    _, batch = drain(start(model, SPREAD))
    wide = zoo.tiny("llama")
    _, wanted = drain(start(wide, SPREAD))
    for part, want in zip(batch.parts, wanted.parts, strict=True):
        assert part.a.dtype == part.b.dtype == torch.float32
        assert part.delta_norm == pytest.approx(want.delta_norm, rel=0.2)
