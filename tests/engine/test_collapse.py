"""The collapse experiment: what stands out, which sequence is edited, and that a run goes on where it was stopped."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.evaluations import QUICK, REQUESTS
from tests.engine.making import drain
from workbench.atlas.benchmark import leading_requests
from workbench.atlas.facts import facts
from workbench.edits import EditRequest
from workbench.engine.collapse.jumps import FEWEST, TIMES, jumps
from workbench.engine.collapse.run import HEALTH, Asked, collapse, measured_along
from workbench.engine.collapse.run import REQUESTS as FILE
from workbench.engine.collapse.sequence import begins_alone, of_atlas, of_dataset
from workbench.engine.collapse.words import conclusion
from workbench.engine.evaluating.dataset import Case, Dataset
from workbench.errors import StackError, UsageError
from workbench.events import CaseScored, HealthReport, Jumped, Reproduced, from_line, to_line
from workbench.models.folder import find_model
from workbench.models.tokenizer import read_tokenizer
from workbench.stack.store import Stack


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))


def asked(model: Path, folder: Path, **more: Any) -> Asked:
    data = Dataset("facts", tuple(Case(number, request) for number, request in enumerate(REQUESTS)))
    settings: dict[str, Any] = {"methods": ("rome", "r-rome"), "edits": 4, "every": 2, "sample": 3} | more
    return Asked(folder / "out", dataset=data, model=str(model), device="cpu", changes=QUICK, **settings)


def test_an_edit_stands_out_when_it_is_four_times_the_median_before_it() -> None:
    norms = [1.0] * FEWEST + [TIMES, TIMES + 0.1, 1.0, math.inf, 1.0]
    assert [(one.place, one.times) for one in jumps(norms)] == [
        (FEWEST + 1, pytest.approx(TIMES + 0.1)),
        (FEWEST + 3, math.inf),
    ]


def test_nothing_is_said_of_the_first_edits() -> None:
    assert jumps([1.0] * (FEWEST - 1) + [100.0]) == []


@given(st.lists(st.floats(0.5, 1.9), max_size=200))
def test_norms_that_are_alike_do_not_stand_out(norms: list[float]) -> None:
    assert jumps(norms) == []


def test_an_unequal_number_is_no_number_and_stands_out() -> None:
    assert [one.place for one in jumps([1.0] * FEWEST + [math.nan])] == [FEWEST]


def atlas_tokenizer() -> Any:
    return read_tokenizer(find_model("atlas").path, "atlas")


def test_of_atlas_the_stated_share_begins_with_a_subject_of_one_token() -> None:
    tokenizer = atlas_tokenizer()
    shared = of_atlas(tokenizer, 40, 0.25, seed=3)
    requests = [case.request for case in shared.dataset.cases]
    assert len(requests) == 40
    assert len(shared.first) >= 10
    for number in shared.first:
        assert requests[number].prompt.startswith("{}")
        assert len(tokenizer(requests[number].subject)["input_ids"]) == 1
    assert of_atlas(tokenizer, 40, 0.25, seed=3) == shared
    assert of_atlas(tokenizer, 40, 0.25, seed=4) != shared


def test_facts_of_a_sequence_are_edited_once_and_are_nobodys_neighbours() -> None:
    first = [fact for fact in facts() if fact.subject == "Spain"][:1]
    requests = leading_requests(200, first, seed=1)
    edited = {(request.prompt, request.subject) for request in requests}
    assert len(edited) == 200
    texts = {request.text for request in requests}
    assert not any(neighbour.prompt in texts for request in requests for neighbour in request.neighbours)


def test_a_data_set_gives_each_fact_once_and_says_when_it_has_too_few(tmp_path: Path) -> None:
    tokenizer = atlas_tokenizer()
    requests = [EditRequest("{} is a city in", "Spain", "Peru"), EditRequest("We saw {} in", "Enrico Fermi", "Rome")]
    data = Dataset("facts", tuple(Case(number, one) for number, one in enumerate([*requests, requests[0]])))
    shared = of_dataset(data, tokenizer, 2, 0.5, seed=0)
    assert sorted(case.request.subject for case in shared.dataset.cases) == ["Enrico Fermi", "Spain"]
    assert [shared.dataset.cases[number].request.subject for number in shared.first] == ["Spain"]
    with pytest.raises(UsageError, match="sequence of 2 requests; 3 are wanted"):
        of_dataset(data, tokenizer, 3, 0.5, seed=0)


def test_words_before_the_subject_or_a_second_token_are_no_first_and_only_one() -> None:
    tokenizer = atlas_tokenizer()
    assert begins_alone(tokenizer, EditRequest("{} is in", "Spain", "Asia"))
    assert not begins_alone(tokenizer, EditRequest("In {} is", "Spain", "Asia"))
    assert not begins_alone(tokenizer, EditRequest("{} is in", "Enrico Fermi", "Asia"))


def test_every_method_edits_the_same_sequence_into_a_stack_of_its_own(small: Path, tmp_path: Path) -> None:
    events, found = drain(collapse(asked(small, tmp_path), lambda: False))
    assert [one.method for one in found] == ["rome", "r-rome"]
    listed = json.loads((tmp_path / "out" / FILE).read_bytes())
    for method in ("rome", "r-rome"):
        with Stack.open(tmp_path / "out" / method / "stack", write=False) as stack:
            assert [edit.recipe.method for edit in stack.applied] == [method] * 4
            assert [edit.request.subject for edit in stack.applied] == [one["subject"] for one in listed]
        assert [one.position for one in measured_along(tmp_path / "out" / method)] == [0, 2, 4]
    ends = [event for event in events if isinstance(event, HealthReport) and event.position == 4]
    assert [one.drift for one in found] == [one.drift for one in ends]
    assert all(one.made == 4 and one.jumps == 0 for one in found)


def test_what_is_complete_is_shown_without_asking_the_model_anything(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, found = drain(collapse(asked(small, tmp_path), lambda: False))

    def refuse(*_: object) -> None:
        raise AssertionError("the base is asked")

    monkeypatch.setattr("workbench.engine.evaluating.scorer.settle_alone", refuse)
    monkeypatch.setattr("workbench.engine.evaluating.scorer.score_cases", refuse)
    assert drain(collapse(asked(small, tmp_path), lambda: False))[1] == found
    path = tmp_path / "out" / "rome" / "checkpoints.jsonl"
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    with pytest.raises(AssertionError, match="the base is asked"):
        drain(collapse(asked(small, tmp_path), lambda: False))


def test_a_run_that_was_stopped_goes_on_to_the_same_end(small: Path, tmp_path: Path) -> None:
    whole = drain(collapse(asked(small, tmp_path / "whole"), lambda: False))[1]
    done = iter([False] * 30)
    events = drain(collapse(asked(small, tmp_path / "parts"), lambda: next(done, True)))[0]
    assert 0 < len([event for event in events if isinstance(event, CaseScored)]) < 8
    found = drain(collapse(asked(small, tmp_path / "parts"), lambda: False))[1]
    assert found == whole
    again = drain(collapse(asked(small, tmp_path / "parts"), lambda: False))
    assert again[1] == whole
    assert len([event for event in again[0] if isinstance(event, HealthReport)]) == 6
    assert not [event for event in again[0] if isinstance(event, CaseScored)]


@pytest.mark.parametrize(
    ("damage", "said"),
    [(("position", "x"), "damaged"), (("spectral", {}), "damaged"), (("drift", 10**400), "damaged"), (None, "")],
)
def test_health_that_was_tampered_with_is_refused_or_measured_anew(
    small: Path, tmp_path: Path, damage: tuple[str, Any] | None, said: str
) -> None:
    one = asked(small, tmp_path, methods=("rome",), edits=2)
    whole = drain(collapse(one, lambda: False))[1]
    path = tmp_path / "out" / "rome" / HEALTH
    head, *lines = path.read_text(encoding="utf-8").splitlines()
    if damage:
        lines[0] = json.dumps(json.loads(lines[0]) | dict([damage]))
    kept = lines if damage else [line for line in lines if '"Diagnosed"' in line]
    path.write_text("\n".join([head, *kept, ""]), encoding="utf-8")
    if said:
        with pytest.raises(StackError, match=said):
            drain(collapse(one, lambda: False))
    else:
        assert drain(collapse(one, lambda: False))[1] == whole


def test_an_infinite_perplexity_is_infinite_in_the_next_run_too(small: Path, tmp_path: Path) -> None:
    one = asked(small, tmp_path, methods=("rome",), edits=2)
    drain(collapse(one, lambda: False))
    path = tmp_path / "out" / "rome" / HEALTH
    head, *lines = path.read_text(encoding="utf-8").splitlines()
    events = [from_line(line) for line in lines]
    broken = [replace(e, perplexity=math.inf) if isinstance(e, HealthReport) and e.applied else e for e in events]
    path.write_text("\n".join([head, *(to_line(event) for event in broken if event), ""]), encoding="utf-8")
    assert [report.perplexity for report in measured_along(path.parent)][-1] == math.inf
    assert drain(collapse(one, lambda: False))[1][0].perplexity == math.inf


def test_a_folder_takes_one_sequence_only(small: Path, tmp_path: Path) -> None:
    one = asked(small, tmp_path, methods=("r-rome",), edits=2)
    drain(collapse(one, lambda: False))
    with pytest.raises(UsageError, match="another sequence"):
        drain(collapse(asked(small, tmp_path, methods=("r-rome",), edits=2, seed=5), lambda: False))


def test_a_model_without_facts_needs_a_data_set(small: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no list of facts"):
        drain(collapse(Asked(tmp_path, ("rome",), model=str(small)), lambda: False))


def fate(method: str, **more: Any) -> Reproduced:
    values: dict[str, Any] = {
        "batch": 1,
        "requests": 100,
        "made": 100,
        "first": 10,
        "jumps": 0,
        "first_jumps": 0,
        "delta_median": 1.0,
        "delta_largest": 2.0,
        "division_smallest": 4.0,
        "drift": 1.0,
        "per_element": 1e-4,
        "perplexity": 3.0,
        "perplexity_base": 2.0,
        "entropy": None,
        "entropy_base": None,
        "edited_es": 1.0,
        "es": 0.9,
        "ps": 0.9,
        "ns": 0.9,
        "phase": "gradual",
        "message": "Perplexity rose.",
    }
    return Reproduced(method=method, **(values | more))


@pytest.mark.parametrize(
    ("rome", "ours", "said"),
    [
        (fate("rome", jumps=3, first_jumps=2), fate("r-rome"), "As Rebuilding ROME has it"),
        (fate("rome", jumps=3), fate("r-rome", jumps=1), "leaves 1 jumps of ROME's 3"),
        (fate("rome", jumps=1), fate("r-rome", jumps=1), "did not remove the jumps"),
        (fate("rome"), fate("r-rome"), "never nearly orthogonal"),
        (fate("rome", division_smallest=0.1), fate("r-rome"), "smallest |k · u| is 0.1, r-ROME's 4."),
    ],
)
def test_the_conclusion_follows_from_the_numbers(rome: Reproduced, ours: Reproduced, said: str) -> None:
    assert said in [*conclusion([rome, ours])][-1]


def test_of_few_batches_it_is_not_said_that_none_stands_out() -> None:
    (sentence,) = conclusion([fate("emmet", batch=50)])
    assert "edits of 50 requests are too few" in sentence
    (sentence,) = conclusion([fate("rome", requests=8)])
    assert "8 edits are too few" in sentence


def test_the_events_are_on_the_wire() -> None:
    jumped = Jumped(method="rome", number=3, subject="Spain", target_new="Peru", first=True, delta_norm=9.0, times=5.0)
    for event in (jumped, fate("rome")):
        assert from_line(to_line(event)) == event
