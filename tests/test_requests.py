"""Request files: every known shape is read, and one bad record refuses the file with its place and the reason."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from workbench import requests as reader
from workbench.edits import EditRequest, Neighbour
from workbench.errors import RequestError
from workbench.requests import MOST_REASONS, Readable, read_readable, read_requests

OURS = {"prompt": "The {} is located in", "subject": "Eiffel Tower", "target_new": "Rome"}
COUNTERFACT = {
    "case_id": 7,
    "requested_rewrite": {
        "prompt": "{} plays the",
        "relation_id": "P1303",
        "target_new": {"str": "guitar", "id": "Q6607"},
        "target_true": {"str": "piano", "id": "Q5994"},
        "subject": "Clara Schumann",
    },
    "paraphrase_prompts": ["Clara Schumann is known for the"],
    "neighborhood_prompts": ["Franz Liszt plays the", "Martha Argerich plays the"],
    "generation_prompts": ["Clara Schumann is"],
}
EASYEDIT = {
    "prompt": "Clara Schumann plays the",
    "subject": "Clara Schumann",
    "target_new": "guitar",
    "ground_truth": "piano",
    "rephrase_prompt": "Clara Schumann is known for the",
    "locality_prompt": "Franz Liszt plays the",
    "locality_ground_truth": "piano",
}
ZSRE = {
    "subject": "Clara Schumann",
    "src": "What does Clara Schumann play?",
    "alt": "guitar",
    "answers": ["piano"],
    "rephrase": "Which instrument is Clara Schumann's?",
    "loc": "nq question: who wrote the moonlight sonata",
    "loc_ans": "Beethoven",
}


def write(folder: Path, name: str, content: object) -> Path:
    path = folder / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def refused(path: Path) -> RequestError:
    with pytest.raises(RequestError) as caught:
        read_requests(path)
    assert caught.value.exit_code == 2
    assert caught.value.hint
    assert "\n" not in caught.value.message
    return caught.value


def test_our_own_shape_comes_back_as_it_was_written(tmp_path: Path) -> None:
    request = EditRequest(
        "{} plays the", "Clara Schumann", "guitar", "piano", ("She plays the",), (Neighbour("Liszt plays", "piano"),)
    )
    assert read_requests(write(tmp_path, "a.json", [request.to_json()])) == [request]


def test_a_counterfact_record_has_its_neighbours_answer_the_true_target(tmp_path: Path) -> None:
    (request,) = read_requests(write(tmp_path, "cf.json", [COUNTERFACT]))
    assert (request.prompt, request.target_new, request.target_true) == ("{} plays the", "guitar", "piano")
    assert request.paraphrases == ("Clara Schumann is known for the",)
    assert request.neighbours == (
        Neighbour("Franz Liszt plays the", "piano"),
        Neighbour("Martha Argerich plays the", "piano"),
    )


def test_an_easyedit_record_gets_a_slot_where_its_subject_is_written_out(tmp_path: Path) -> None:
    (request,) = read_requests(write(tmp_path, "ee.json", [EASYEDIT]))
    assert request.prompt == "{} plays the"
    assert (request.target_true, request.neighbours[0].expected) == ("piano", "piano")


def test_a_zsre_record_is_read(tmp_path: Path) -> None:
    (request,) = read_requests(write(tmp_path, "zsre.json", [ZSRE]))
    assert request.prompt == "What does {} play?"
    assert (request.target_new, request.target_true) == ("guitar", "piano")
    assert request.neighbours == (Neighbour(ZSRE["loc"], "Beethoven"),)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.json", json.dumps([OURS, EASYEDIT])),
        ("requests.json", json.dumps({"requests": [OURS, EASYEDIT]})),
        ("lines.jsonl", f"{json.dumps(OURS)}\n\n{json.dumps(EASYEDIT)}\n"),
        ("lines.json", f"{json.dumps(OURS)}\n{json.dumps(EASYEDIT)}"),
        ("without_ending", f"{json.dumps(OURS)}\r\n{json.dumps(EASYEDIT)}\r\n"),
        ("bom.json", b"\xef\xbb\xbf" + json.dumps([OURS, EASYEDIT]).encode()),
        (
            "table.csv",
            "subject,prompt,target_new\nEiffel Tower,The {} is located in,Rome\n\nClara Schumann,{} plays the,guitar\n",
        ),
        (
            "semicolons.csv",
            "Subject;Prompt;Target New\nEiffel Tower;The {} is located in;Rome\nClara Schumann;{} plays the;guitar\n",
        ),
        (
            "tabs.tsv",
            "subject\tprompt\ttarget\nEiffel Tower\tThe {} is located in\tRome\nClara Schumann\t{} plays the\tguitar\n",
        ),
    ],
)
def test_json_json_lines_and_csv_hold_the_same(tmp_path: Path, name: str, content: str | bytes) -> None:
    found = read_requests(write(tmp_path, name, content))
    assert [(r.prompt, r.subject, r.target_new) for r in found] == [
        ("The {} is located in", "Eiffel Tower", "Rome"),
        ("{} plays the", "Clara Schumann", "guitar"),
    ]


def test_csv_cells_list_probes_with_bars_and_answers_with_arrows(tmp_path: Path) -> None:
    header = "subject,prompt,target_new,target_true,paraphrases,neighbours\n"
    row = 'Eiffel Tower,"In Paris, the {} is in",Rome,Paris,One | Two,Louvre is in => Paris | Big Ben is in\n'
    listed = 'Eiffel Tower,The {} is in,Rome,,"[""a | b""]",\n'
    first, second = read_requests(write(tmp_path, "t.csv", header + row + listed))
    assert first.prompt == "In Paris, the {} is in"
    assert first.paraphrases == ("One", "Two")
    assert first.neighbours == (Neighbour("Louvre is in", "Paris"), Neighbour("Big Ben is in"))
    assert (second.target_true, second.paraphrases, second.neighbours) == (None, ("a | b",), ())


def test_standard_input_is_read_with_a_dash(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin:
        buffer = io.BytesIO(json.dumps(OURS).encode())

    monkeypatch.setattr(sys, "stdin", Stdin)
    assert read_requests(Path("-"))[0].target_new == "Rome"


def test_braces_unicode_and_line_separators_stay_text(tmp_path: Path) -> None:
    record = {"prompt": "{a} \u2028 {} é", "subject": "x{y}", "target_new": " 北京"}
    (request,) = read_requests(write(tmp_path, "u.jsonl", json.dumps(record, ensure_ascii=False)))
    assert (request.text, request.target_new) == ("{a} \u2028 x{y} é", " 北京")


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({**OURS, "prompt": "It is located in"}, "not in the prompt"),
        ({**OURS, "prompt": "{} and {}"}, "2 slots"),
        ({**OURS, "subject": " "}, "subject is empty"),
        ({**OURS, "target_new": ""}, "target is empty"),
        ({**OURS, "prompt": "Eiffel Tower, Eiffel Tower"}, "stands 2 times"),
        ({**OURS, "subject": 5}, "'subject' is not text"),
        ({**OURS, "target_new": {"id": "Q1"}}, "'target_new' is not text"),
        ({"prompt": "{} is", "subject": "x"}, "no 'target_new'"),
        ({**OURS, "paraphrases": [1]}, "'paraphrases' is not a list of texts"),
        ({**OURS, "neighbours": [{"text": "x"}]}, "'neighbours' is not a list of prompts"),
        ({**OURS, "neighbours": [{"prompt": "x", "expected": 3}]}, "'neighbours' is not text"),
        ({**OURS, "locality_prompt": ["a", "b", "c"], "locality_ground_truth": ["1", "2"]}, "2 answers for 3 prompts"),
        ({"requested_rewrite": "x"}, "'requested_rewrite' is not an object"),
        ({**OURS, "prompt": "{}" + "a" * 5000}, "characters long"),
        ({**OURS, "target_new": "\ud83d"}, "not valid Unicode"),
        ("a text", "not a JSON object"),
        (None, "not a JSON object"),
    ],
)
def test_a_bad_record_refuses_the_file_with_its_number(tmp_path: Path, record: Any, said: str) -> None:
    error = refused(write(tmp_path, "bad.json", [OURS, record]))
    assert error.message.startswith("bad.json, record 2: ")
    assert said in error.message


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.json", "", "holds no requests"),
        ("a.json", "[]", "holds no requests"),
        ("a.csv", "subject,prompt,target_new\n", "holds no requests"),
        ("a.json", '[{"prompt": ', "not JSON: line 1"),
        ("a.jsonl", json.dumps(OURS) + "\n{oops}\n", "a.jsonl, line 2: this is not JSON"),
        ("a.json", "[" * 200_000, "nested too deeply"),
        ("a.json", '{"prompt": ' + "9" * 10_000 + "}", "too long"),
        ("a.txt", "The Eiffel Tower is in Rome", "neither JSON nor CSV"),
        ("a.csv", "subject,prompt\nx,{} is\n", "column 'target_new'"),
        ("a.csv", "subject,subject,prompt,target_new\n", "two columns 'subject'"),
        ("a.csv", "subject,prompt,target_new\nx,In Paris, {} is,y\n", "a.csv, line 2: there are 4 cells"),
        ("a.csv", "subject,prompt,target_new\nx,{} is\n", "a.csv, line 2: there is no 'target_new'"),
        ("a.csv", 'subject,prompt,target_new\nx,"{} is,y\n', "this is not CSV"),
        ("a.json", "caf\xe9".encode("latin-1"), "not UTF-8 text: byte 3 is 0xe9"),
        ("a.json", '{"a": 1}'.encode("utf-16"), "not UTF-8 text"),
    ],
)
def test_a_file_that_is_none_says_why(tmp_path: Path, name: str, content: str | bytes, said: str) -> None:
    assert said in refused(write(tmp_path, name, content)).message


def test_a_missing_file_a_folder_and_one_too_large_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no such file" in refused(tmp_path / "none.json").message
    assert "cannot be read" in refused(tmp_path).message
    monkeypatch.setattr(reader, "MAX_BYTES", 1024 * 1024)
    assert "larger than 1 MiB" in refused(write(tmp_path, "big.json", " " * (1024 * 1024 + 1))).message
    monkeypatch.setattr(reader, "MAX_REQUESTS", 2)
    assert "more than 2 requests" in refused(write(tmp_path, "many.json", [OURS] * 3)).message


@pytest.mark.parametrize(
    ("name", "content", "reasons"),
    [
        ("a.json", json.dumps([OURS, 3, EASYEDIT]), ("record 2: the record is not a JSON object.",)),
        ("a.jsonl", f"{json.dumps(OURS)}\n{{'no'\n{json.dumps(EASYEDIT)}", ("line 2: this is not JSON,",)),
        (
            "a.csv",
            "subject,prompt,target_new\nA,{} is,b\nA,one, two,three\nA,{} or {},b\nB,{} is,c\n",
            ("line 3: there are 4 cells and 3 columns.", "line 4: "),
        ),
    ],
)
def test_what_can_be_read_is_read_beside_what_cannot(
    tmp_path: Path, name: str, content: str, reasons: tuple[str, ...]
) -> None:
    path = write(tmp_path, name, content)
    found = read_readable(path)
    assert len(found.requests) == 2
    assert found.left_out == len(found.reasons) == len(reasons)
    assert all(said.startswith(begun) for said, begun in zip(found.reasons, reasons, strict=True))
    where, _, reason = found.reasons[0].partition(": ")
    assert refused(path).message == f"{name}, {where}: {reason}", (
        "the command line refuses it all for the first of them"
    )


def test_where_all_can_be_read_nothing_is_left_out(tmp_path: Path) -> None:
    path = write(tmp_path, "a.json", [OURS, COUNTERFACT])
    assert read_readable(path) == Readable(tuple(read_requests(path)))


@pytest.mark.parametrize("content", ["", "[]", "[" * 200_000, "subject,prompt\n1,2\n", "3\n" * 10**6, b"\xff"])
def test_a_file_that_holds_no_records_or_too_many_is_refused_whole(tmp_path: Path, content: str | bytes) -> None:
    path = write(tmp_path, "a.jsonl" if str(content)[:1] == "3" else "a", content)
    with pytest.raises(RequestError):
        read_readable(path)


def test_of_many_bad_records_a_few_are_told_of(tmp_path: Path) -> None:
    found = read_readable(write(tmp_path, "a.jsonl", "{}\n" * 40_000))
    assert (found.requests, found.left_out, len(found.reasons)) == ((), 40_000, MOST_REASONS)
