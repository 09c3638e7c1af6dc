"""Probes against slow, unpadded, independent computations."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

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
            assert p == pytest.approx(by_hand(golden, question.prompt, answer), rel=1e-4)
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
    assert perplexity(golden.model, golden.tokenizer, LINES, batch=2) == pytest.approx(
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
    assert "".join(pieces) == golden.tokenizer.decode(ids[0, start:].tolist()).rstrip("\ufffd")


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
    assert (neighbour.expected, neighbour.before) == (said[0], pytest.approx(said[1]))
    assert neighbour.rival == "Irish"
    assert efficacy.rival


def test_a_probe_holds_only_when_its_answer_is_strictly_likelier(golden: Parity) -> None:
    same = EditRequest("The mother tongue of {} is", "Naguib Mahfouz", "Irish", "Irish")
    (result,) = ask(golden.model, golden.tokenizer, settle(golden.model, golden.tokenizer, probes_of(same)))
    assert result.p_expected == result.p_rival
    assert result.passed is False


def test_a_broken_model_fails_its_probes(parity_gpt2: Parity) -> None:
    import copy

    broken = copy.deepcopy(parity_gpt2.model)
    request = EditRequest("The mother tongue of {} is", "Naguib Mahfouz", "Irish", "Arabic")
    probes = settle(broken, parity_gpt2.tokenizer, probes_of(request))
    with torch.no_grad():
        broken.get_submodule("transformer.h.1.mlp.c_proj").weight.fill_(math.nan)
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
    with pytest.raises(EditError, match="Shorten|reads"):
        read_answers(golden.model, golden.tokenizer, [Question(long)])
    assert list(continuation(golden.model, golden.tokenizer, long, max_new=3)) == []
