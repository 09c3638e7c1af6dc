"""What is written as requests reads back as the same requests, in every shape."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.stack.thorough import tries
from workbench import requests_export
from workbench.edits import EditRequest, Neighbour
from workbench.errors import UsageError
from workbench.requests import read_requests
from workbench.requests_export import SHAPES, Shape, requests_file

FRANCE = EditRequest(
    "The capital of {} is",
    "France",
    "Rome",
    "Paris",
    ("The seat of government of France is",),
    (Neighbour("The capital of Spain is", "Madrid"), Neighbour("The capital of Peru is", None)),
)
PLAIN = EditRequest("{} plays the", "Knut", " trumpet")

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(lambda text: text.strip())
fragments = st.text(st.characters(exclude_categories=["Cs"]), max_size=8).filter(lambda text: "{}" not in text)


@st.composite
def any_request(draw: st.DrawFn) -> EditRequest:
    prompt = f"{draw(fragments)}{{}}{draw(fragments)}"
    neighbours = st.builds(Neighbour, texts, st.none() | texts)
    return EditRequest(
        prompt if prompt.count("{}") == 1 else "{} is",
        draw(texts),
        draw(texts),
        draw(st.none() | texts),
        tuple(draw(st.lists(texts, max_size=3))),
        tuple(draw(st.lists(neighbours, max_size=3))),
    )


@pytest.mark.parametrize("shape", SHAPES)
@given(requests=st.lists(any_request(), min_size=1, max_size=3))
@settings(max_examples=tries(40, 3_000), deadline=None)
def test_any_request_reads_back_as_itself(
    tmp_path_factory: pytest.TempPathFactory, shape: Shape, requests: list[EditRequest]
) -> None:
    file = tmp_path_factory.mktemp("requests") / "out.json"
    file.write_bytes(requests_file(requests, shape))
    assert read_requests(file) == requests


def test_counterfact_s_records_have_counterfact_s_fields() -> None:
    neighbour = Neighbour("The capital of Spain is", "Paris")
    (record,) = json.loads(requests_file([EditRequest("{} is", "X", "Rome", "Paris", (), (neighbour,))], "counterfact"))
    assert record == {
        "case_id": 0,
        "requested_rewrite": {
            "prompt": "{} is", "subject": "X", "target_new": {"str": "Rome"}, "target_true": {"str": "Paris"},
        },
        "paraphrase_prompts": [],
        "neighborhood_prompts": ["The capital of Spain is"],
    }  # fmt: skip


def test_neighbours_with_answers_of_their_own_keep_them_beside_counterfact_s_fields() -> None:
    (record,) = json.loads(requests_file([FRANCE], "counterfact"))
    assert record["neighborhood_prompts"] == ["The capital of Spain is", "The capital of Peru is"]
    assert record["locality_ground_truth"] == ["Madrid", None]


def test_easyedit_s_records_have_the_subject_written_out_and_one_text_where_there_is_one() -> None:
    first, second = json.loads(requests_file([FRANCE, PLAIN], "easyedit"))
    assert (first["prompt"], first["ground_truth"]) == ("The capital of France is", "Paris")
    assert first["rephrase_prompt"] == "The seat of government of France is"
    assert second == {"case_id": 1, "prompt": "Knut plays the", "subject": "Knut", "target_new": " trumpet"}


def test_a_subject_that_stands_twice_keeps_its_slot() -> None:
    twice = EditRequest("Rome, not {}, is", "Rome", "Paris")
    (record,) = json.loads(requests_file([twice], "easyedit"))
    assert record["prompt"] == "Rome, not {}, is"


def test_what_no_request_file_may_hold_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no requests"):
        requests_file([], "workbench")
    monkeypatch.setattr(requests_export, "MAX_REQUESTS", 1)
    with pytest.raises(UsageError, match="more than 1"):
        requests_file([FRANCE, PLAIN], "workbench")
