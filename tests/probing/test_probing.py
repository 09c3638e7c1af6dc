"""Probes against slow, unpadded, independent computations."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from tests.editing.tokenizers_for_tests import byte_level
from tests.parity.load import Parity
from workbench.edits import EditRequest, Neighbour
from workbench.errors import EditError
from workbench.events import ProbeResult
from workbench.probing.answers import Question, read_answers
from workbench.probing.generation import continuation
from workbench.probing.perplexity import perplexity
from workbench.probing.probes import ask, probes_of, settle, tally

LINES = ["Vienna is the old capital city that", "Clara", "Today Antonín Dvořák teaches people to speak Arabic."]


@pytest.fixture(params=["gpt2", "llama"])
def golden(request: pytest.FixtureRequest) -> Parity:
    found: Parity = request.getfixturevalue(f"parity_{request.param}")
    return found


def by_hand(golden: Parity, prompt: str, answer: str) -> float:
    """Geometric mean of p(token) of `answer`, one unpadded row."""
    start = golden.tokenizer(prompt)["input_ids"]
    ids = golden.tokenizer(" " + answer, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        logp = golden.model(torch.tensor([start + ids])).logits[0].log_softmax(-1)
    said = [logp[len(start) - 1 + i, token].item() for i, token in enumerate(ids)]
    return math.exp(sum(said) / len(said))


def test_padded_batches_read_what_single_rows_do(golden: Parity) -> None:
    asked = [
        Question("The mother tongue of Naguib Mahfouz is", ("Irish", "Arabic")),
        Question("Knut Hamsun plays the", ("silver trumpet",)),
        Question("Clara"),
        Question("In the year that winter died Clara moved to the golden museum of", ("Norway",)),
    ]
    for question, reading in zip(asked, read_answers(golden.model, golden.tokenizer, asked), strict=True):
        assert len(reading.probabilities) == len(question.answers)
        for answer, p in zip(question.answers, reading.probabilities, strict=True):
            assert p == pytest.approx(by_hand(golden, question.prompt, str(answer)), rel=1e-4)
        with torch.no_grad():
            ids = golden.tokenizer(question.prompt, return_tensors="pt")["input_ids"]
            best = golden.model(ids).logits[0, -1].softmax(-1).max(-1)
        assert reading.top[0][0] == golden.tokenizer.decode([int(best.indices)])
        assert reading.top[0][1] == pytest.approx(float(best.values), rel=1e-4)


def test_perplexity_is_that_of_line_by_line(golden: Parity) -> None:
    total, tokens = 0.0, 0
    for line in LINES:
        ids = golden.tokenizer(line, return_tensors="pt")["input_ids"]
        if ids.shape[1] < 2:
            continue
        with torch.no_grad():
            total += float(golden.model(ids, labels=ids).loss) * (ids.shape[1] - 1)
        tokens += ids.shape[1] - 1
    assert perplexity(golden.model, golden.tokenizer, LINES, tokens=24) == pytest.approx(
        math.exp(total / tokens), rel=1e-4
    )


def test_no_text_has_no_perplexity(golden: Parity) -> None:
    assert math.isnan(perplexity(golden.model, golden.tokenizer, []))


def test_a_greedy_continuation_is_the_model_s_own(golden: Parity) -> None:
    prompt = "The mother tongue of Naguib Mahfouz is"
    ids = golden.tokenizer(prompt, return_tensors="pt")["input_ids"]
    start = ids.shape[1]
    with torch.no_grad():
        for _ in range(8):
            ids = torch.cat([ids, golden.model(ids).logits[:, -1:].argmax(-1)], dim=1)
    pieces = list(continuation(golden.model, golden.tokenizer, prompt, max_new=8))
    assert "".join(pieces) == str(golden.tokenizer.decode(ids[0, start:].tolist())).rstrip("\ufffd")


def test_sampling_repeats_with_its_seed_and_leaves_the_global_one(golden: Parity) -> None:
    state = torch.get_rng_state()
    first, second, other = (
        "".join(continuation(golden.model, golden.tokenizer, "Clara", max_new=12, temperature=2.0, seed=seed))
        for seed in (1, 1, 2)
    )
    assert first == second != other
    assert torch.equal(state, torch.get_rng_state())


def test_an_unstated_answer_is_what_the_model_said_before(golden: Parity) -> None:
    request = EditRequest(
        "The mother tongue of {} is",
        "Naguib Mahfouz",
        "Irish",
        neighbours=(Neighbour("The mother tongue of Clara is"),),
    )
    efficacy, neighbour = settle(golden.model, golden.tokenizer, probes_of(request))
    said = read_answers(golden.model, golden.tokenizer, [Question("The mother tongue of Clara is")])[0].top[0]
    assert neighbour.expected == said[0]
    assert neighbour.before == pytest.approx(said[1])
    assert neighbour.rival == "Irish"
    assert efficacy.rival


def test_a_probe_holds_only_when_its_answer_is_strictly_likelier(golden: Parity) -> None:
    same = EditRequest("The mother tongue of {} is", "Naguib Mahfouz", "Irish", "Irish")
    (result,) = ask(golden.model, golden.tokenizer, settle(golden.model, golden.tokenizer, probes_of(same)))
    assert result.p_expected == result.p_rival
    assert result.passed is False


def test_a_broken_model_fails_its_probes(parity_gpt2: Parity) -> None:
    broken = copy.deepcopy(parity_gpt2.model)
    request = EditRequest("The mother tongue of {} is", "Naguib Mahfouz", "Irish", "Arabic")
    probes = settle(broken, parity_gpt2.tokenizer, probes_of(request))
    with torch.no_grad():
        broken.get_parameter("transformer.h.1.mlp.c_proj.weight").fill_(math.nan)
    assert [r.passed for r in ask(broken, parity_gpt2.tokenizer, probes)] == [False]


def test_the_tally_counts_by_kind() -> None:
    results = [ProbeResult(kind="paraphrase", prompt="a", passed=p) for p in (True, False, None)]
    assert tally(results, "paraphrase") == (1, 3)
    assert tally(results, "neighbourhood") is None


def test_probing_moves_nothing(golden: Parity, tmp_path: Path) -> None:
    before = {k: t.clone() for k, t in golden.model.state_dict().items()}
    list(continuation(golden.model, golden.tokenizer, "Clara", max_new=3))
    read_answers(golden.model, golden.tokenizer, [Question("Clara", ("piano",))])
    assert all(torch.equal(before[k], t) for k, t in golden.model.state_dict().items())


def test_a_prompt_longer_than_the_model_reads_is_said(golden: Parity) -> None:
    long = "Clara " * 3_000
    with pytest.raises(EditError, match="the model reads"):
        read_answers(golden.model, golden.tokenizer, [Question(long)])
    assert list(continuation(golden.model, golden.tokenizer, long, max_new=3)) == []


def test_an_eos_that_the_tokenizer_puts_behind_a_prompt_is_left_out(parity_gpt2: Parity) -> None:
    plain, with_eos = byte_level(), byte_level(eos=True)
    question = Question("the city of Rome is", ("old",))
    start = "<s>"
    (asked,) = read_answers(parity_gpt2.model, with_eos, [question])
    (by_itself,) = read_answers(parity_gpt2.model, plain, [Question(start + question.prompt, question.answers)])
    assert asked == by_itself
    model = parity_gpt2.model
    assert [*continuation(model, with_eos, question.prompt, max_new=3)] == [
        *continuation(model, plain, start + question.prompt, max_new=3)
    ]


def test_what_the_model_said_is_asked_for_as_the_very_token_it_said(golden: Parity) -> None:
    prompts = [f"The mother tongue of Naguib Mahfouz is Irish{end}" for end in ("", ".", ",", " and", "Cl", "Vien")]
    request = EditRequest("{} plays the", "Clara", "Norway", neighbours=tuple(map(Neighbour, prompts)))
    probes = settle(golden.model, golden.tokenizer, probes_of(request))
    results = [r for r in ask(golden.model, golden.tokenizer, probes) if r.kind == "neighbourhood"]
    assert any(not r.expected.startswith(" ") for r in results)
    for result in results:
        assert result.p_expected == pytest.approx(result.before, rel=1e-4)
        assert result.p_expected == pytest.approx(result.p_answer, rel=1e-4)
        assert result.passed


def test_a_neighbour_whose_right_answer_is_the_edits_target_can_hold(golden: Parity) -> None:
    prompt = "The mother tongue of Clara is"
    said = read_answers(golden.model, golden.tokenizer, [Question(prompt)])[0].top[0][0].strip()
    for neighbour, holds in (
        (Neighbour(prompt, said), True),
        (Neighbour(prompt), True),
        (Neighbour(prompt, "Q"), False),
    ):
        request = EditRequest("{} plays the", "Clara", said if holds else "Q", neighbours=(neighbour,))
        results = ask(golden.model, golden.tokenizer, settle(golden.model, golden.tokenizer, probes_of(request)))
        assert [r.passed for r in results if r.kind == "neighbourhood"] == [holds]


def test_an_answer_the_model_gave_before_must_stay_its_likeliest_token_by_token(golden: Parity) -> None:
    prompt = "The mother tongue of {} is"
    said = read_answers(golden.model, golden.tokenizer, [Question(prompt.replace("{}", "Clara"))])[0].top[0][0]
    request = EditRequest(prompt, "Clara", said + " Q zebra")
    (probe,) = settle(golden.model, golden.tokenizer, probes_of(request))
    assert probe.rival == ""
    assert [r.passed for r in ask(golden.model, golden.tokenizer, [probe])] == [False]


def broken(golden: Parity, factor: float) -> PreTrainedModel:
    """A copy of the model whose last layer norm is multiplied."""
    model = copy.deepcopy(golden.model)
    with torch.no_grad():
        norms = ("transformer.ln_f.weight", "model.norm.weight")
        next(weight for name, weight in model.named_parameters() if name in norms).mul_(factor)
    return model


@pytest.mark.parametrize("factor", [1e30, math.nan])
def test_a_model_that_predicts_nothing_has_an_infinite_perplexity(golden: Parity, factor: float) -> None:
    assert perplexity(broken(golden, factor), golden.tokenizer, LINES) == math.inf


def test_a_line_longer_than_the_model_reads_is_read_as_far_as_it_reads(parity_gpt2: Parity) -> None:
    limit = parity_gpt2.model.config.max_position_embeddings
    ids = parity_gpt2.tokenizer("Clara plays " * limit)["input_ids"][:limit]
    short = str(parity_gpt2.tokenizer.decode(ids))
    model, tokenizer = parity_gpt2.model, parity_gpt2.tokenizer
    assert tokenizer(short)["input_ids"] == ids
    assert perplexity(model, tokenizer, ["Clara plays " * limit]) == pytest.approx(
        perplexity(model, tokenizer, [short])
    )


def test_no_temperature_is_too_small_and_a_broken_model_is_said(golden: Parity) -> None:
    greedy = [*continuation(golden.model, golden.tokenizer, "Clara", max_new=4)]
    assert [*continuation(golden.model, golden.tokenizer, "Clara", max_new=4, temperature=1e-300)] == greedy
    for temperature in (0.0, 1.0):
        with pytest.raises(EditError, match="not numbers"):
            list(continuation(broken(golden, math.nan), golden.tokenizer, "Clara", temperature=temperature))
