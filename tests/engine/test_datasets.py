"""What an evaluation reads: cases with what only an evaluation wants of a record, references, prefixes. No model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from workbench.edits import EditRequest
from workbench.engine.evaluating.dataset import Case, behind, own_facts, prefixes, read_dataset, read_references
from workbench.errors import RequestError

RECORD = {
    "case_id": 9,
    "requested_rewrite": {
        "prompt": "{} lies in",
        "subject": "Oslo",
        "target_new": {"str": "Peru", "id": "Q419"},
        "target_true": {"str": "Norway", "id": "Q20"},
        "relation_id": "P17",
    },
    "paraphrase_prompts": ["The town of Oslo lies in"],
    "generation_prompts": ["Oslo is", "Oslo"],
}


def write(path: Path, document: object) -> Path:
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def test_a_counterfact_record_keeps_its_name_its_prompts_and_its_topic(tmp_path: Path) -> None:
    (case,) = read_dataset(write(tmp_path / "cf.json", [RECORD])).cases
    assert (case.number, case.name) == (0, "9")
    assert case.written_from == ("Oslo is", "Oslo")
    assert case.topics == ("P17/Q419", "Peru")


def test_a_plain_record_is_written_from_its_own_prompts(tmp_path: Path) -> None:
    plain = {"prompt": "{} lies in", "subject": "Oslo", "target_new": "Peru", "paraphrases": ["Oslo is in"]}
    (case,) = read_dataset(write(tmp_path / "one.json", plain)).cases
    assert case.written_from == ("Oslo lies in", "Oslo is in")
    assert case.topics == ("Peru",)


def test_a_data_set_is_known_by_what_it_asks_for_whatever_its_file_looks_like(tmp_path: Path) -> None:
    plain = {"prompt": "{} lies in", "subject": "Oslo", "target_new": "Peru"}
    as_json = read_dataset(write(tmp_path / "one.json", [plain]))
    (tmp_path / "one.csv").write_text("subject,prompt,target_new\nOslo,{} lies in,Peru\n")
    assert read_dataset(tmp_path / "one.csv").sha256 == as_json.sha256
    assert read_dataset(write(tmp_path / "two.json", [{**plain, "target_new": "Chile"}])).sha256 != as_json.sha256


def test_an_order_is_decided_by_its_seed_alone() -> None:
    data = own_facts(40)
    assert [case.number for case in data.chosen(5, None)] == [0, 1, 2, 3, 4]
    assert data.chosen(5, 7) == data.chosen(None, 7)[:5]
    assert data.chosen(None, 7) != data.chosen(None, 8)
    assert {case.number for case in data.chosen(None, 7)} == set(range(40))
    assert own_facts(40) == data


def test_a_prefix_depends_on_the_seed_and_the_case_alone() -> None:
    request = EditRequest("{} lies in", "Oslo", "Peru")
    cases, templates = [Case(i, request) for i in range(50)], ["{}", "A. {}", "B. {}", "C. {}"]
    found = prefixes(cases, templates, 3)
    assert set(found) == {"A. {}", "B. {}", "C. {}"}
    assert prefixes(cases[20:30], templates, 3) == found[20:30]
    assert prefixes(cases, templates, 4) != found
    assert prefixes(cases[:2], ["{}"], 3) == ["{}", "{}"]
    assert behind("A. {}", "{} is a brace") == "A. {} is a brace"


def test_references_of_both_shapes_are_read(tmp_path: Path) -> None:
    samples = [{"name": "Lima", "text": "Lima lies in Peru"}, {"text": "Cuzco"}]
    snippets = [{"relation_id": "P17", "target_id": "Q419", "samples": samples}]
    assert read_references(write(tmp_path / "a.json", snippets)).texts == {"P17/Q419": ("Lima lies in Peru", "Cuzco")}
    assert read_references(write(tmp_path / "b.json", {"Peru": ["Lima"]})).texts == {"Peru": ("Lima",)}


@pytest.mark.parametrize(
    "document", [[1], {"Peru": 3}, {"Peru": "Lima"}, {"Peru": [1]}, "Peru", 3, None, [{"relation_id": "P1"}]]
)
def test_what_is_no_references_is_refused(tmp_path: Path, document: object) -> None:
    with pytest.raises(RequestError, match="no reference texts"):
        read_references(write(tmp_path / "a.json", document))
