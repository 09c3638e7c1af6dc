"""Many requests as one edit on the command line: one line, one file, one step back, the same bytes elsewhere."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.conftest import Workbench
from tests.cli.test_end_to_end import of_process
from workbench.cli.lines import committed_line, counts, log_line
from workbench.cli.progress import describe
from workbench.events import BatchProbed, EditCommitted, EditRow, NormReport, StepTogether, from_line

RECORDS = [
    {"subject": subject, "prompt": "{} lies in", "target_new": target, "target_true": "Europe", "paraphrases": [asked]}
    for subject, target, asked in (
        ("Lisbon", "Peru", "The land of Lisbon is"),
        ("Oslo", "Chile", "The land of Oslo is"),
        ("Rome", "Cuba", "The land of Rome is"),
    )
]
TOO_LONG = {"subject": "Vienna", "prompt": "{} is " + "very " * 400, "target_new": "old"}


@pytest.fixture
def facts(tmp_path: Path) -> Path:
    file = tmp_path / "facts.json"
    file.write_text(json.dumps(RECORDS), encoding="utf-8")
    return file


def test_a_file_is_one_edit_and_one_line_and_one_step_back(
    workbench: Workbench, tiny_model: Path, facts: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    ran = workbench("apply", facts, "--method", "emmet", "--model", tiny_model, "--stack", mine)
    assert ran.code in (0, 1), ran.err
    (line,) = ran.out.splitlines()
    (file,) = mine.glob("*.safetensors")
    assert "Lisbon lies in → Peru and 2 more  efficacy" in line
    assert file.name.startswith("0001-lisbon-and-2-more-")
    assert "1 of 1 edits made, with 3 of 3 requests." in ran.err
    (row,) = workbench("log", mine).out.splitlines()
    assert row.endswith("Lisbon lies in → Peru and 2 more")
    assert workbench("undo", mine).out == "1 → 0 of 1  the base\n"
    assert workbench("redo", mine).out.rstrip().endswith("Lisbon lies in → Peru and 2 more")


def test_batches_of_a_size_are_edits_and_another_process_gets_the_same_bytes(
    workbench: Workbench, tiny_model: Path, facts: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    how = ("--method", "memit", "--batch", "2", "--set", "moment_weight=1", "--model", tiny_model, "--stack", mine)
    ran = workbench("apply", facts, *how, "--json")
    started = [event for event in ran.events if event["type"] == "EditStarted"]
    assert [(event["index"], event["of"], event["requests"]) for event in started] == [(1, 2, 2), (2, 2, 1)]
    assert [event["requests"] for event in ran.events if event["type"] == "BatchProbed"] == [2, 1]
    assert all(from_line(json.dumps(event)) is not None for event in ran.events)
    assert ran.events[-1]["type"] == "JobDone"
    elsewhere = of_process("replay", mine, "--verify")
    assert elsewhere.code == 0, elsewhere.err
    assert [line.split()[1] for line in elsewhere.out.splitlines()[:-1]] == ["bit-identical"] * 2
    assert workbench("verify", mine).code == 0


def test_show_has_the_first_requests_and_counts_the_others(
    workbench: Workbench, tiny_model: Path, tmp_path: Path
) -> None:
    many = [{"subject": f"City {n}", "prompt": "{} lies in", "target_new": "Peru"} for n in range(1, 14)]
    (tmp_path / "many.json").write_text(json.dumps(many))
    mine = tmp_path / "mine"
    how = ("--method", "emmet", "--set", "steps=1", "--model", tiny_model, "--stack", mine)
    assert workbench("apply", "many.json", *how).code in (0, 1)
    shown = workbench("show", mine, 1).out.splitlines()
    assert "requests      13" in shown
    assert sum(line.startswith("request ") for line in shown) == 10
    assert "              and 3 more; --json has them all" in shown
    assert any(line.startswith("scores        ES ") for line in shown)
    assert any(line.startswith("module ") and line.endswith("rank 13") for line in shown)
    document = json.loads(workbench("show", mine, 1, "--json").out.splitlines()[0])
    assert len(document["requests"]) == 13
    assert document["version"] == 3


def test_what_cannot_be_made_is_said_and_is_code_1(workbench: Workbench, tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "some.json").write_text(json.dumps([RECORDS[0], TOO_LONG]))
    how = ("--method", "emmet", "--model", tiny_model, "--stack", tmp_path / "mine")
    ran = workbench("apply", "some.json", *how)
    assert ran.code == 1
    assert "Vienna" in ran.err
    assert "is left out" in ran.err
    assert "1 of 1 edits made, with 1 of 2 requests." in ran.err
    (tmp_path / "none.json").write_text(json.dumps([TOO_LONG]))
    none = workbench("apply", "none.json", *how)
    assert none.code == 1
    assert none.out == ""
    assert "not made." in none.err
    assert "0 of 1 edits made" in none.err


def test_a_batch_that_a_guard_discards_is_not_said_to_be_made(
    workbench: Workbench, tiny_model: Path, facts: Path, tmp_path: Path
) -> None:
    how = ("--method", "emmet", "--guard", "ratio=0.001", "--model", tiny_model, "--stack", tmp_path / "mine")
    ran = workbench("apply", facts, *how)
    assert (ran.code, ran.out) == (1, "")
    assert "Lisbon → Peru and 2 more: not made." in ran.err
    assert ": made" not in ran.err
    assert "0 of 1 edits made, with 0 of 3 requests." in ran.err


def test_a_batch_for_a_method_of_the_profile_is_refused_once_the_model_is_known(
    workbench: Workbench, tiny_model: Path, facts: Path, tmp_path: Path
) -> None:
    ran = workbench("apply", facts, "--batch", "2", "--model", tiny_model, "--stack", tmp_path / "mine")
    assert ran.code == 2
    assert "--batch is for methods that make one edit of many requests, and r-rome makes one of each." in ran.err


def test_c_rome_makes_an_edit_of_each_request(
    workbench: Workbench, tiny_model: Path, facts: Path, tmp_path: Path
) -> None:
    ran = workbench("apply", facts, "--method", "c-rome", "--model", tiny_model, "--stack", tmp_path / "mine")
    assert "3 of 3 edits made." in ran.err
    assert workbench("verify", tmp_path / "mine").code == 0
    assert "c-rome, layer" in workbench("show", tmp_path / "mine", 2).out


def test_all_requests_of_a_stack_go_out_as_requests(
    workbench: Workbench, tiny_model: Path, facts: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    workbench("apply", facts, "--method", "emmet", "--model", tiny_model, "--stack", mine)
    ran = workbench("export", mine, "--format", "requests", "-o", tmp_path / "out.json")
    assert ran.code == 0, ran.err
    assert "3 requests" in ran.out
    assert [record["subject"] for record in json.loads((tmp_path / "out.json").read_text())] == [
        "Lisbon",
        "Oslo",
        "Rome",
    ]


def test_lines_say_how_many_and_how_many_of_them_hold() -> None:
    row = EditRow(
        id="ab" * 32, number=1, file="f", state="applied", created="2026-01-02T03:04:05+00:00", prompt="{} is",
        subject="x" * 200, target_new="y", efficacy=False, requests=100, efficacies=(97, 100), paraphrases=(1, 2),
    )  # fmt: skip
    assert "  97%  1/2" in log_line(row)
    assert log_line(row).endswith("… and 99 more")
    norms = [NormReport(module=m, weight_norm=4.0, delta_norm=3.0, ratio=0.75, drift=1.0, realised=1.0) for m in "ab"]
    probed = BatchProbed(requests=100, sampled=64, seed=0, efficacy=(97, 100), paraphrases=(60, 128))
    done = EditCommitted(edit="ab" * 32, file="f", position=3, weight_sha256="c" * 64, bytes=1, seconds=2.0)
    line = committed_line(done, {"prompt": "{} is", "subject": "x", "target_new": "y"}, [*norms, probed])
    assert "x is → y and 99 more  efficacy 97/100  paraphrases 60/128  (64 of 100 sampled)  |ΔW|/|W| 0.7500" in line
    assert counts(replace(probed, left_out=1))[-1] == "(64 of 100 sampled, 1 request left out)"
    step = StepTogether(step=2, of=20, requests=32, running=30, loss=1.0, p_target=0.5, seconds=0.1)
    assert "30 of 32 go on" in describe(step)
