"""`workbench eval`: what it shows, what it leaves on the disk, what it refuses, and how it goes on."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Workbench
from workbench import events as ev
from workbench.cli.eval_table import CASE_HEADER, CHECKPOINT_HEADER, case_line, chart, checkpoint_words, table
from workbench.stack.store import Stack

FACTS = """subject,prompt,target_new,target_true,paraphrases,neighbours
Lisbon,{} lies in,Peru,Portugal,The town of Lisbon lies in,Oslo lies in => Norway
Oslo,{} lies in,Chile,Norway,,Rome lies in => Italy | Lima lies in
Rome,{} lies in,Norway,Italy,,
"""


@pytest.fixture
def facts(tmp_path: Path) -> Path:
    path = tmp_path / "facts.csv"
    path.write_text(FACTS, encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))


def test_every_case_has_a_line_and_the_table_fits_80_columns(
    workbench: Workbench, tiny_model: Path, facts: Path, tmp_path: Path
) -> None:
    ran = workbench("eval", facts, "--model", tiny_model)
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert lines[0] == CASE_HEADER
    assert [line.split()[0] for line in lines[1:4]] == ["0", "1", "2"]
    assert "Lisbon → Peru" in lines[1]
    assert {"scores", "magnitudes", "token accuracy"} <= set(lines)
    assert any(line.startswith("  S  together") for line in lines)
    assert max(map(len, lines)) <= 80
    assert f"results in evals/{tiny_model.name}-facts-r-rome-single" in ran.err
    written = (tmp_path / f"evals/{tiny_model.name}-facts-r-rome-single/results.jsonl").read_text().splitlines()
    assert [json.loads(line)["subject"] for line in written] == ["Lisbon", "Oslo", "Rome"]


def test_a_sequence_is_a_stack_that_other_commands_read(
    workbench: Workbench, tiny_model: Path, facts: Path, tmp_path: Path
) -> None:
    ran = workbench("eval", facts, "--model", tiny_model, "--mode", "sequential", "--every", 1, "--out", "seq")
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert sum(line.startswith("  after ") for line in lines) == 3
    at = lines.index(CHECKPOINT_HEADER)
    assert [line.split()[:2] for line in lines[at + 1 : at + 4]] == [["1", "1"], ["2", "2"], ["3", "3"]]
    assert any("when edited" in line and "at the end" in line for line in lines)
    assert max(map(len, lines)) <= 80
    with Stack.open(tmp_path / "seq" / "stack") as stack:
        assert stack.position == 3
    assert workbench("undo", "seq/stack", "--model", tiny_model).code == 0
    assert workbench("log", "seq/stack").code == 0


def test_json_lines_tell_all_of_it(workbench: Workbench, tiny_model: Path, facts: Path) -> None:
    ran = workbench("eval", facts, "--model", tiny_model, "--json", "--limit", 2)
    types = [event["type"] for event in ran.events]
    assert types.count("CaseScored") == 2
    assert types[-2:] == ["Evaluated", "JobDone"]
    found = next(event for event in ran.events if event["type"] == "Evaluated")
    assert found["cases"] == found["of"] == 2
    row = found["rows"]["es"]
    assert row["edited_low"] <= row["edited"] <= row["edited_high"]
    started = next(event for event in ran.events if event["type"] == "EvalStarted")
    assert (started["mode"], started["done"]) == ("single", 0)


def test_a_second_run_says_that_all_is_done_and_shows_it_again(
    workbench: Workbench, tiny_model: Path, facts: Path
) -> None:
    first = workbench("eval", facts, "--model", tiny_model, "--out", "o")
    again = workbench("eval", facts, "--model", tiny_model, "--out", "o")
    assert "3 of them were done in an earlier run." in again.err
    shown = workbench("eval", "--show", "--out", "o")
    table_of = first.out[first.out.index("\n\n") :]
    assert again.out.strip() == shown.out.strip() == table_of.strip()


def test_another_plan_in_the_same_folder_is_a_usage_error(workbench: Workbench, tiny_model: Path, facts: Path) -> None:
    workbench("eval", facts, "--model", tiny_model, "--out", "o", "--limit", 1)
    ran = workbench("eval", facts, "--model", tiny_model, "--out", "o", "--limit", 2)
    assert ran.code == 2
    assert "cases.limit is 1 there and 2 here" in ran.err
    assert "--out" in ran.err


def test_cases_that_cannot_be_edited_are_exit_code_1(workbench: Workbench, tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    path.write_text(
        json.dumps({"subject": "Oslo", "prompt": "Lima " * 200 + "{} lies in", "target_new": "Peru"}) + "\n"
        + json.dumps({"subject": "Oslo", "prompt": "{} lies in", "target_new": "Peru"}) + "\n"
    )  # fmt: skip
    ran = workbench("eval", path, "--model", tiny_model)
    assert ran.code == 1
    assert "not made" in ran.out
    assert "1 case could not be edited" in ran.err


def test_counterfact_zsre_and_easyedit_are_read_as_they_are(
    workbench: Workbench, tiny_model: Path, tmp_path: Path
) -> None:
    counterfact = {
        "case_id": 77,
        "requested_rewrite": {
            "prompt": "{} lies in",
            "subject": "Oslo",
            "target_new": {"str": "Peru", "id": "Q419"},
            "target_true": {"str": "Norway", "id": "Q20"},
            "relation_id": "P17",
        },
        "paraphrase_prompts": ["The town of Oslo lies in"],
        "neighborhood_prompts": ["Rome lies in"],
        "generation_prompts": ["Oslo"],
    }
    zsre = {
        "subject": "Oslo", "src": "Where lies Oslo?", "rephrase": "Oslo lies where?", "alt": "Peru",
        "answers": ["Norway"], "loc": "nq question: where lies Rome", "loc_ans": "Italy",
    }  # fmt: skip
    easyedit = {
        "prompt": "Oslo lies in", "subject": "Oslo", "target_new": "Peru", "ground_truth": "Norway",
        "rephrase_prompt": "The town of Oslo lies in", "locality_prompt": "Rome lies in",
        "locality_ground_truth": "Italy",
    }  # fmt: skip
    snippets = [{"relation_id": "P17", "target_id": "Q419", "samples": [{"name": "Lima", "text": "Lima lies in Peru"}]}]
    (tmp_path / "all.json").write_text(json.dumps([counterfact, zsre, easyedit]))
    (tmp_path / "snippets.json").write_text(json.dumps(snippets))
    ran = workbench(
        "eval", "all.json", "--model", tiny_model, "--out", "o", "--generate", 12, "--references", "snippets.json"
    )
    assert ran.code == 0, ran.err
    assert "GE entropy" in ran.out
    assert "RS references" in ran.out
    lines = [json.loads(line) for line in Path("o/results.jsonl").read_text().splitlines()]
    assert lines[0]["name"] == "77"
    assert "consistency" in lines[0]["edited"]
    assert "consistency" not in lines[1]["edited"]
    assert all(
        [p["kind"] for p in line["edited"]["probes"]] == ["efficacy", "paraphrase", "neighbourhood"] for line in lines
    )


def test_plots_are_drawn_of_both_modes(workbench: Workbench, tiny_model: Path, facts: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    workbench("eval", facts, "--model", tiny_model, "--out", "a", "--plot", "a.svg")
    ran = workbench(
        "eval", facts, "--model", tiny_model, "--mode", "sequential", "--every", 1, "--out", "b", "--plot", "b.png"
    )
    assert "Written: b.png" in ran.err
    assert (tmp_path / "a.svg").read_text().startswith("<?xml")
    assert (tmp_path / "b.png").read_bytes().startswith(b"\x89PNG")


def test_a_plot_that_cannot_be_drawn_is_refused_before_anything_is_loaded(
    workbench: Workbench, facts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = workbench("eval", facts, "--plot", "a.gif")
    assert (ran.code, ran.out) == (2, "")
    assert ".svg or .png" in ran.err
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    ran = workbench("eval", facts, "--plot", "a.svg")
    assert ran.code == 2
    assert "pip install rome-workbench[plot]" in ran.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "There is no data set"),
        (("--show",), "Name the folder with --out"),
        (("--show", "--out", "nowhere"), "no results of an evaluation"),
        (("facts.csv", "--batch", "2"), "makes an edit of each request"),
        (("facts.csv", "--every", "2"), "sequential"),
        (("facts.csv", "--references", "facts.csv"), "--generate 100"),
        (("facts.csv", "--set", "steps=many"), "steps"),
        (("facts.csv", "--mode", "sequential", "--workers", "2"), "build on each other"),
        (("missing.json",), "cannot be read"),
    ],
)
def test_what_makes_no_sense_is_said(
    workbench: Workbench, tiny_model: Path, facts: Path, arguments: tuple[str, ...], said: str
) -> None:
    ran = workbench("eval", *arguments, *(("--model", tiny_model) if arguments and "--show" not in arguments else ()))
    assert ran.code == 2
    assert said in ran.err
    assert not Path("evals").exists()


def test_references_that_are_none_are_refused(workbench: Workbench, facts: Path, tmp_path: Path) -> None:
    for text in ("[1]", '{"Rome": "text"}'[:-1] + "]", '{"Rome": [1]}', "not json", "3"):
        (tmp_path / "refs.json").write_text(text)
        ran = workbench("eval", facts, "--generate", 9, "--references", "refs.json")
        assert ran.code == 2, text
        assert "no reference texts" in ran.err


def test_help_says_what_each_measure_is(workbench: Workbench) -> None:
    ran = workbench("eval", "--help")
    for words in ("ES PS NS", "EM PM NM", "EA PA NA", "strictly", "torchrun", "attribute_snippets"):
        assert words in ran.out


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT to send there")
def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(
    workbench: Workbench, tiny_model: Path, tmp_path: Path
) -> None:
    rows = [f"Oslo,{{}} lies in the {word},Peru" for word in "abcdefghijklmnopqrstuvwxyz" * 8]
    many = tmp_path / "many.csv"
    many.write_text("subject,prompt,target_new\n" + "\n".join(rows))
    command = [sys.executable, "-m", "workbench", "eval", str(many), "--model", str(tiny_model), "--out", "o"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    results, until = tmp_path / "o" / "results.jsonl", time.monotonic() + 120
    while time.monotonic() < until and not (results.exists() and results.read_bytes().count(b"\n") > 1):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "the same command goes on" in said
    assert 1 < results.read_bytes().count(b"\n") < len(rows)


def test_a_chart_has_a_column_a_checkpoint() -> None:
    lines = list(chart("S", [10, 20, 30, 40], [1.0, 0.5, 0.2, None]))
    assert lines[0] == "      1 ┤██"
    assert lines[4] == "    0.2 ┤██ ██ ██"
    assert lines[-1].endswith("S")
    assert "10" in lines[-1]
    assert "40 edits" in lines[-1]
    assert list(chart("S", [1, 2], [0.1, 0.2])) == []


def test_a_chart_of_a_model_that_broke_marks_what_is_infinite() -> None:
    lines = list(chart("perplexity", [0, 10, 20, 30], [20.0, 40.0, math.inf, math.nan]))
    assert lines[0] == "     40 ┤   ██ ∞∞"
    assert lines[4] == "      8 ┤██ ██ ██"
    assert list(chart("perplexity", [0, 10, 20], [math.inf, math.inf, math.nan])) == []


def test_lines_show_a_dot_for_what_was_not_measured() -> None:
    case = ev.CaseScored(case=3, done=1, of=2, subject="a" * 60, target_new="b", base={}, edited={"es": None})
    assert case_line(case).split()[1:6] == ["·"] * 5
    assert len(case_line(case)) <= 80
    checkpoint = ev.CheckpointScored(edited=9, of=9, scored=4, measures={"es": 1.0}, perplexity=None, drift=0.5)
    assert "after 9, 4 asked: ES 1.000  PS ·" in checkpoint_words(checkpoint)
    found = ev.Evaluated(cases=1, of=1, failed=0, out="o", rows={"em": {"base": -0.0004, "edited": None}})
    assert "  EM efficacy    0.000" in list(table(found))[-1]
