"""One edit as a person meets it: what is said on the way, when it stops, and what must not matter."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2Model

from tests.editing.helpers import SHORT, TEMPLATES, drain, error, own_model, same, start, steps, update_of
from tests.parity.load import Parity, recipe
from workbench.editing import SecondMoment, Update, delta, make_update
from workbench.editing.hooks import forward_hook
from workbench.editing.keys import Keys
from workbench.editing.optimise import Offset
from workbench.editing.update import rank_one
from workbench.edits import EditRequest, Method, Recipe
from workbench.errors import DeviceError, EditError, ModelError, RequestError
from workbench.events import Event, KeyReady, OptimStep, StageStarted, Warning  # noqa: A004
from workbench.models.families import edit_site

REQUEST = EditRequest("{} plays the", "Knut Hamsun", "silver trumpet")


def run(parity: Parity, settings: Recipe = SHORT, moment: SecondMoment | None = None) -> tuple[list[Event], Update]:
    return drain(start(parity.model, parity.tokenizer, REQUEST, settings, second_moment=moment))


def warnings(events: list[Event]) -> list[str]:
    return [event.message for event in events if isinstance(event, Warning)]


def test_an_edit_tells_its_story_in_order(parity_gpt2: Parity) -> None:
    moment = SecondMoment(parity_gpt2.tensors["second_moment/1"], 6279, "golden")
    events, update = run(parity_gpt2, replace(SHORT, second_moment=True), moment)
    kinds = [type(event) for event in events]
    assert kinds == [StageStarted, KeyReady, StageStarted, *[OptimStep] * 4]
    assert [event.stage for event in events if isinstance(event, StageStarted)] == ["keys", "optimise"]
    key = events[1]
    assert isinstance(key, KeyReady)
    assert (key.templates, key.token.strip(), key.first_token) == (4, "Hamsun", False)
    assert key.key_norm == pytest.approx(float(update.key_mean.norm()))
    assert key.cos_keys == pytest.approx(float(torch.cosine_similarity(update.key_bare, update.key_mean, dim=0)))
    assert update.cos_keys == key.cos_keys


def test_the_numbers_of_a_step_are_those_of_the_loss(parity_gpt2: Parity) -> None:
    events, update = run(parity_gpt2)
    seen = steps(events)
    assert [(step.step, step.of) for step in seen] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert [step.stopped for step in seen] == ["", "", "", "steps"]
    for step in seen:
        assert step.loss == pytest.approx(step.nll + step.kl + step.wd, rel=1e-6)
        assert step.p_target == pytest.approx(sum(step.p_contexts) / 4)
        assert len(step.p_contexts) == 4
        assert step.seconds > 0
    assert seen[0].delta_norm == seen[0].kl == seen[0].wd == 0
    assert seen[-1].delta_norm == pytest.approx(float(update.offset.norm()))
    assert (update.steps, update.stopped) == (3, "steps")


def test_the_targets_probability_is_the_models_own(parity_gpt2: Parity) -> None:
    """At δ = 0, template by template, from a plain forward pass a row: geometric mean over the target's tokens."""
    seen = steps(run(parity_gpt2)[0])[0]
    tokenizer = parity_gpt2.tokenizer
    target = tokenizer(" silver trumpet")["input_ids"]
    assert len(target) == 2
    for template, got in zip(TEMPLATES, seen.p_contexts, strict=True):
        ids = tokenizer(template.replace("{}", REQUEST.text))["input_ids"]
        with torch.no_grad():
            log_p = parity_gpt2.model(torch.tensor([ids + target[:1]])).logits[0].log_softmax(-1)
        want = (log_p[-2, target[0]] + log_p[-1, target[1]]) / 2
        assert got == pytest.approx(float(want.exp()), rel=1e-4)


def test_a_subject_on_the_very_first_token_is_said(parity_gpt2: Parity, parity_llama: Parity) -> None:
    for parity, first in ((parity_gpt2, True), (parity_llama, False)):
        events, _ = drain(start(parity.model, parity.tokenizer, EditRequest("{} is", "Clara", "Oslo")))
        (key,) = [event for event in events if isinstance(event, KeyReady)]
        ids = parity.tokenizer("Clara", add_special_tokens=False)["input_ids"]
        assert key.first_token is (first and len(ids) == 1)


def test_it_stops_on_the_rewriting_loss_alone_when_asked(parity_gpt2: Parity) -> None:
    """The golden trace falls 0.281, 0.128, 0.064 in NLL; the total loss stays above its own limit."""
    case = parity_gpt2.cases["early-stop"]
    settings = replace(recipe(case, "r-rome"), nll_stop=0.1)
    request, moment = parity_gpt2.request(case["request"]), parity_gpt2.second_moment(case)
    events, update = drain(
        start(parity_gpt2.model, parity_gpt2.tokenizer, request, settings, parity_gpt2.templates, moment)
    )
    assert [step.nll < 0.1 for step in steps(events)] == [False, False, True]
    assert (update.steps, update.stopped) == (2, "nll")
    assert steps(events)[-1].stopped == "nll"


@pytest.mark.parametrize("plain", [False, True])
def test_a_layer_from_which_nothing_reaches_the_target_is_said(parity_llama: Parity, plain: bool) -> None:
    """Above the last layer no token hears of another; what Adam would make of a gradient of zero is noise."""
    site, settings = edit_site(parity_llama.model, 3), replace(SHORT, layer=3)
    given = parity_llama.model, parity_llama.tokenizer, site, REQUEST, settings, TEMPLATES, None, lambda: False
    with pytest.raises(EditError, match="reaches the target"):
        drain(make_update(*given, plain=plain))
    ends = EditRequest("The trumpet of {}", "Knut Hamsun", "silver")
    assert update_of(parity_llama.model, parity_llama.tokenizer, ends, settings).steps == 3


def test_one_step_means_one_look_and_no_offset(parity_gpt2: Parity) -> None:
    update = run(parity_gpt2, replace(SHORT, steps=1))[1]
    assert update.steps == 0
    assert torch.equal(update.offset, torch.zeros(32))


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_padding_side_and_a_missing_pad_token_change_no_bit(request: pytest.FixtureRequest, name: str) -> None:
    parity: Parity = request.getfixturevalue(f"parity_{name}")
    odd = copy.deepcopy(parity.tokenizer)
    odd.padding_side, odd.truncation_side, odd.pad_token = "left", "left", None
    model = own_model(parity)
    model.config.pad_token_id = None
    assert same(update_of(model, odd, REQUEST), update_of(parity.model, parity.tokenizer, REQUEST))


def test_a_target_with_and_without_its_space_is_the_same_edit(parity_llama: Parity) -> None:
    spaced = replace(REQUEST, target_new=" silver trumpet")
    first = update_of(parity_llama.model, parity_llama.tokenizer, REQUEST)
    assert same(first, update_of(parity_llama.model, parity_llama.tokenizer, spaced))


@pytest.mark.parametrize("prompt", ["{} plays the", "Today {} plays the", "The mother tongue of {}"])
@pytest.mark.parametrize("subject", ["Clara", "Antonín Dvořák", "北京"])
def test_the_edited_map_gives_the_wanted_value_for_the_mean_key(
    parity_llama: Parity, prompt: str, subject: str
) -> None:
    """r-ROME's promise: (W + ΔW) k̄ differs from W k̄ by t0 + δ - ō, wherever the subject stands."""
    update = update_of(parity_llama.model, parity_llama.tokenizer, EditRequest(prompt, subject, " 北京"))
    change = delta(edit_site(parity_llama.model, 1), update.u, update.v)
    want = update.target_init + update.offset - update.output_mean
    assert error(change @ update.key_mean, want) < 1e-5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_half_precision_gives_a_finite_update_in_float32(
    request: pytest.FixtureRequest, name: str, dtype: torch.dtype
) -> None:
    parity: Parity = request.getfixturevalue(f"parity_{name}")
    case = parity.cases["edit-2"]
    settings, moment = recipe(case, "r-rome"), parity.second_moment(case)
    edit = parity.request(case["request"])
    model = own_model(parity)
    nn.Module.to(model, dtype)
    half = update_of(model, parity.tokenizer, edit, settings, parity.templates, moment)
    for name in ("u", "v", "key_bare", "key_mean", "output_bare", "output_mean", "target_init", "offset"):
        value = getattr(half, name)
        assert value.dtype == torch.float32
        assert bool(value.isfinite().all())
    assert not torch.equal(half.key_mean, half.key_mean.to(dtype).float()), "the mean was rounded to half precision"
    assert not torch.equal(half.offset, half.offset.to(dtype).float()), "δ was rounded to half precision"
    assert float(half.u.double().norm()) == pytest.approx(1, abs=1e-6)
    whole = parity.tensors["edit-2/r-rome/u"]
    assert float(torch.cosine_similarity(half.u, whole, dim=0)) > 0.99


def test_identity_is_said_loudly(parity_gpt2: Parity) -> None:
    moment = SecondMoment(parity_gpt2.tensors["second_moment/1"], 6279, "golden")
    chosen, _ = run(parity_gpt2, replace(SHORT, second_moment=False), moment)
    absent, update = run(parity_gpt2, replace(SHORT, second_moment=True), None)
    assert warnings(chosen) == ["C = I: the recipe asks for it."]
    assert warnings(absent) == ["C = I: there is no second moment for this layer."]
    assert error(update.u, update.key_mean / update.key_mean.norm()) < 1e-6


def test_a_ridge_is_said_and_recorded(parity_gpt2: Parity) -> None:
    moment = SecondMoment(parity_gpt2.tensors["second_moment/1"], 100, "few")
    events, update = run(parity_gpt2, replace(SHORT, second_moment=True), moment)
    assert "only 100 keys for 128 dimensions" in warnings(events)[0]
    assert update.ridge == moment.ridge > 0


def test_romes_flaw_is_said_and_r_rome_is_free_of_it(parity_gpt2: Parity) -> None:
    case = parity_gpt2.cases["edit-4"]
    request, moment = parity_gpt2.request(case["request"]), parity_gpt2.second_moment(case)
    said: dict[Method, list[str]] = {}
    for method in ("rome", "r-rome"):
        settings = recipe(case, method)
        generator = start(parity_gpt2.model, parity_gpt2.tokenizer, request, settings, parity_gpt2.templates, moment)
        said[method] = warnings(drain(generator)[0])
    assert "division factor k · u is negative (-0.223)" in said["rome"][0]
    assert said["r-rome"] == []


def test_a_zero_division_factor_is_an_error_in_words() -> None:
    keys = Keys(torch.tensor([[0.0, 1.0], [2.0, -1.0]]), torch.ones(2, 3))  # k̄ = (1, 0) is orthogonal to k_0
    offset = Offset(torch.ones(3), torch.ones(3), 1, "steps")
    with pytest.raises(EditError, match="division factor"):
        rank_one("rome", keys, offset, None)
    assert rank_one("r-rome", keys, offset, None).division_factor == 1


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 0.0])
def test_a_key_that_is_no_direction_is_an_error_in_words(bad: float) -> None:
    keys = Keys(torch.full((2, 4), bad), torch.ones(2, 3))
    with pytest.raises(EditError, match="key is zero or not a number"):
        rank_one("r-rome", keys, Offset(torch.ones(3), torch.ones(3), 1, "steps"), None)


def test_a_second_moment_of_another_layer_is_an_error_in_words(parity_gpt2: Parity) -> None:
    with pytest.raises(EditError, match="has 3 dimensions; keys here have 128"):
        run(parity_gpt2, replace(SHORT, second_moment=True), SecondMoment(torch.eye(3), 1000, "other"))


def test_a_prompt_longer_than_the_model_reads_is_an_error_in_words(parity_gpt2: Parity) -> None:
    request = EditRequest("{} is" + " very" * 100, "Clara", "Oslo")
    with pytest.raises(EditError, match="tokens; the model reads 96"):
        update_of(parity_gpt2.model, parity_gpt2.tokenizer, request)


@pytest.mark.parametrize("templates", [(), ("The. {}",), ("{}", "no slot"), ("{}", "{} {}")])
def test_templates_must_be_templates_and_the_bare_one_first(parity_gpt2: Parity, templates: tuple[str, ...]) -> None:
    with pytest.raises(RequestError):
        update_of(parity_gpt2.model, parity_gpt2.tokenizer, REQUEST, templates=templates)


def test_a_model_without_a_head_is_an_error_in_words(parity_gpt2: Parity) -> None:
    model = GPT2Model(GPT2Config(vocab_size=620, n_embd=32, n_layer=4, n_head=4))
    with pytest.raises(ModelError, match="no language-model head"):
        update_of(model, parity_gpt2.tokenizer, REQUEST)


def test_running_out_of_memory_is_an_error_in_words(parity_gpt2: Parity) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with forward_hook(parity_gpt2.model.lm_head, full), pytest.raises(DeviceError, match="ran out of memory"):
        run(parity_gpt2)
    run(parity_gpt2)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_cuda_device_gives_the_same_edit_up_to_rounding(parity_llama: Parity) -> None:
    case = parity_llama.cases["edit-2"]
    settings, moment = recipe(case, "r-rome"), parity_llama.second_moment(case)
    model = own_model(parity_llama)
    nn.Module.to(model, "cuda")
    request = parity_llama.request(case["request"])
    update = update_of(model, parity_llama.tokenizer, request, settings, parity_llama.templates, moment)
    assert update.u.device.type == update.v.device.type == "cpu"
    assert error(update.u, parity_llama.tensors["edit-2/r-rome/u"]) < 1e-4
    assert error(update.v, parity_llama.tensors["edit-2/r-rome/v"]) < 1e-3
