"""Cases scored on a model against one unpadded row at a time."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from tests.engine.making import OTHER, REQUEST, drain
from workbench.editing.cancel import Cancelled
from workbench.edits import EditRequest, Neighbour
from workbench.engine.engine import Engine
from workbench.engine.evaluating.cases import CaseScore, score_cases, settle_cases, summary

STATED = dataclasses.replace(
    REQUEST, neighbours=(Neighbour("The mother tongue of Maria Callas is", "Greek"), Neighbour("Clara speaks", "Irish"))
)


def scored(engine: Engine, *requests: EditRequest, **more: object) -> tuple[CaseScore, ...]:
    return drain(score_cases(engine.core, requests, cancelled=lambda: False, **more))[1]  # type: ignore[arg-type]


def by_hand(engine: Engine, prompt: str, answer: str) -> tuple[float, float]:
    """Mean log-probability per token of `answer`, and the share of its tokens that are likeliest."""
    loaded = engine.core.loaded
    start = loaded.tokenizer(prompt)["input_ids"]
    ids = loaded.tokenizer(" " + answer, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        log_p = loaded.model(torch.tensor([start + ids])).logits[0].log_softmax(-1)
    rows = log_p[len(start) - 1 : len(start) - 1 + len(ids)]
    said = [row[token].item() for row, token in zip(rows, ids, strict=True)]
    hits = [int(row.argmax()) == token for row, token in zip(rows, ids, strict=True)]
    return sum(said) / len(said), sum(hits) / len(hits)


def test_a_case_gives_what_its_rows_give_alone(engine: Engine) -> None:
    (case,) = scored(engine, STATED)
    prompts = [STATED.text, *STATED.paraphrases, *(one.prompt for one in STATED.neighbours)]
    assert [probe.kind for probe in case.probes] == ["efficacy", "paraphrase", "neighbourhood", "neighbourhood"]
    for probe, prompt in zip(case.probes[:3], prompts, strict=False):
        near = probe.kind == "neighbourhood"
        (new, right), (true, kept) = (
            by_hand(engine, prompt, answer) for answer in ("Irish", "Greek" if near else "Arabic")
        )
        assert probe.new == pytest.approx(new, rel=1e-4)
        assert probe.true == pytest.approx(true, rel=1e-4)
        assert probe.passed == (true > new if near else new > true)
        assert probe.accuracy == (kept if near else right)
    own = case.probes[3]
    assert own.new is None  # the target is the right answer there too, and cannot lose to itself
    assert own.true is not None


def test_what_is_left_open_is_settled_by_the_base(engine: Engine) -> None:
    before = scored(engine, REQUEST, OTHER)
    settled = settle_cases(engine.core, [REQUEST, OTHER])
    drain(engine.apply(REQUEST))
    again = scored(engine, REQUEST, OTHER)
    assert scored(engine, REQUEST, OTHER, base=settled) == again
    assert again[0].probes[0].new != before[0].probes[0].new
    assert again[0].probes[0].passed


def test_the_scores_of_an_edit_are_those_that_it_was_committed_with(engine: Engine) -> None:
    drain(engine.apply(REQUEST))
    recorded = engine.stack.applied[0].metrics["probes"]
    (case,) = scored(engine, REQUEST)
    assert [probe.passed for probe in case.probes] == [one["passed"] for one in recorded if one["kind"] != "generation"]


def test_a_prefix_stands_before_every_prompt(engine: Engine) -> None:
    (behind,) = scored(engine, STATED, prefixes=["In that year. {}"])
    assert behind.probes[0].new == pytest.approx(by_hand(engine, f"In that year. {STATED.text}", "Irish")[0], rel=1e-4)


def test_a_case_that_cannot_be_asked_fails_alone(engine: Engine) -> None:
    long = dataclasses.replace(REQUEST, paraphrases=("Clara " * 600,))
    alone, (first, lost) = scored(engine, REQUEST), scored(engine, REQUEST, long)
    assert not first.failed
    assert lost.failed
    assert not any(probe.passed for probe in lost.probes)
    assert summary([first, lost]).failed == 1
    assert first.probes[0].new == pytest.approx(alone[0].probes[0].new, rel=1e-5)


def test_a_broken_model_fails_every_probe(engine: Engine) -> None:
    settled = settle_cases(engine.core, [STATED])
    weight = engine.core.loaded.model.get_parameter("transformer.h.1.mlp.c_proj.weight")
    kept = weight.detach().clone()
    try:
        with torch.no_grad():
            weight.fill_(math.nan)
        (case,) = scored(engine, STATED, base=settled)
    finally:
        with torch.no_grad():
            weight.copy_(kept)
    found = summary([case])
    assert (found.es, found.ps, found.ns, found.ea, found.em) == (0.0, 0.0, 0.0, 0.0, 0.0)


def test_scoring_stops_when_asked(engine: Engine) -> None:
    with pytest.raises(Cancelled):
        drain(score_cases(engine.core, [REQUEST], cancelled=lambda: True))
