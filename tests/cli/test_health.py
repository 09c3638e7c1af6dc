"""`workbench health`, `tasks` and `apply --check`: what they say, in 80 columns, and that they only read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Workbench, digest
from workbench.cli.health_table import CURVE_HEADER, curve_line, table
from workbench.cli.tasks import scored_line
from workbench.events import HealthReport, TaskScored
from workbench.stack.store import Stack

WIDE = HealthReport(
    position=10_000,
    applied=10_000,
    edit="f" * 64,
    distance=12345.678,
    drift=123.456,
    per_element=1.23456e-05,
    spectral=12345.678,
    spectral_ratio=1234.5678,
    ratio_median=0.12345678,
    ratio_max=12.345678,
    division_min=-123.45678,
    division_median=0.0012345678,
    division_max=123.45678,
    division_negative=123,
    collisions=12_345,
    collision_worst=0.98765,
    collision_edits=(9_998, 10_000),
    perplexity=123456.789,
    perplexity_base=12.3456789,
    entropy=12.345678,
    entropy_base=12.345678,
    asked=1_000,
    of=10_000,
    es=0.98765,
    ps=0.98765,
    ns=0.98765,
    took=9_999,
    kept=9_998,
    retention=0.98765,
    retention_error=0.0123,
    lost=(1, 22, 333, 1_234, *range(9_990, 9_998)),
    slope=0.0123456,
    slope_low=-0.0123456,
    slope_high=0.0123456,
    cloze=0.98765,
    cloze_base=0.98765,
    cloze_error=0.0123,
    cloze_asked=200,
)


@pytest.mark.parametrize("report", [WIDE, HealthReport(position=0, applied=0)], ids=["full", "empty"])
def test_every_line_fits_80_columns(report: HealthReport) -> None:
    lines = [CURVE_HEADER, curve_line(report), *table(report)]
    assert max(map(len, lines)) <= 80, max(lines, key=len)


def test_the_columns_of_the_curve_stand_under_their_names() -> None:
    names, line = CURVE_HEADER, curve_line(WIDE)
    ends = [names.index(name) + len(name) for name in names.split()]
    assert len(line.replace(" %", "%").split()) == len(ends)
    assert all(line[end - 1] != " " and line[end : end + 1] in ("", " ") for end in ends)


def test_health_is_a_table_and_a_phase_and_only_reads(workbench: Workbench, edited: Path) -> None:
    before = digest(edited)
    ran = workbench("health", edited)
    assert ran.code in (0, 1), ran.err
    lines = ran.out.splitlines()
    assert lines[0].startswith("position 2, 2 edits")
    rows = {line[:33].strip(): line[33:] for line in lines}
    assert rows["perplexity on held-out text"].split() == ["·", "·"]
    assert "2 of 2 asked" in rows["edits whose target wins (ES)"]
    assert "W0's" in rows["spectral norm of the change"]
    assert any(line.split("  ")[0] in ("stable", "gradual", "catastrophic") for line in lines)
    assert digest(edited) == before


def test_a_curve_has_a_line_a_position(workbench: Workbench, edited: Path) -> None:
    ran = workbench("health", edited, "--every", "1", "--sample", "1")
    lines = ran.out.splitlines()
    assert lines[0] == CURVE_HEADER
    assert [line.split()[0] for line in lines[1:4]] == ["0", "1", "2"]


def test_a_state_before_can_be_asked_and_json_ends_with_the_phase(workbench: Workbench, edited: Path) -> None:
    ran = workbench("health", edited, "--at", "1", "--json")
    kinds = [event["type"] for event in ran.events]
    assert kinds[-2:] == ["Diagnosed", "JobDone"]
    (report,) = (event for event in ran.events if event["type"] == "HealthReport")
    assert (report["position"], report["applied"]) == (1, 1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--at", "nowhere"), "nowhere"),
        (("--at", "7"), "7"),
        (("--sample", "0"), "sample"),
        (("--every", "0"), "every"),
    ],
)
def test_what_makes_no_sense_is_one_sentence_a_hint_and_code_2(
    workbench: Workbench, edited: Path, arguments: tuple[str, ...], said: str
) -> None:
    ran = workbench("health", edited, *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err.splitlines()[0]
    assert ran.err.splitlines()[1].startswith("hint: ")


def test_the_longest_numbers_of_a_task_stay_apart_within_80_columns() -> None:
    found = TaskScored(
        task="lambada_openai",
        metric="perplexity",
        base=0.0084034,
        edited=0.0094034,
        base_error=0.00841,
        edited_error=0.00842,
        items=119,
    )
    line = scored_line(found)
    assert line.endswith(" 0.008403 ± 0.0084 0.009403 ± 0.0084  +0.001")
    assert len(line) <= 80


def test_a_stack_that_does_not_stand_at_its_end_is_said_to(workbench: Workbench, copied: Path) -> None:
    with Stack.open(copied) as stack:
        end = len(stack.line)
    assert "the stack stands" not in workbench("health", copied).err
    workbench("undo", copied)
    note = f"note: the stack stands at {end - 1} of {end}; 1 later edit is undone"
    assert note in workbench("health", copied).err.splitlines()
    assert note in workbench("tasks", copied, "--limit", 1).err.splitlines()
    assert note not in workbench("health", copied, "--at", "base").err.splitlines()


def test_tasks_show_both_sides(workbench: Workbench, edited: Path, tmp_path: Path) -> None:
    before = digest(edited)
    items = tmp_path / "asked.jsonl"
    items.write_text('{"prompt": "Rome lies in", "answer": "Italy"}\n{"prompt": "Lima lies in", "answer": "Peru"}\n')
    ran = workbench("tasks", edited, "--items", items, "--seed", "1")
    assert ran.code == 0, ran.err
    header, first, perplexity, second, cloze = ran.out.splitlines()
    assert header.split() == ["task", "base", "now", "change"]
    assert (first, second) == ("perplexity, 0 items", "cloze, 2 items")
    assert perplexity.split() == ["perplexity", "·", "·", "·"]
    assert cloze.split()[0] == "acc"
    assert "no held-out text" in ran.err
    assert digest(edited) == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--tasks", " , "), "No task"),
        (("--include", "no-such-folder"), "no folder"),
        (("--items", "no-such-file"), "no-such-file"),
        (("--limit", "0"), "limit"),
    ],
)
def test_tasks_that_make_no_sense_are_refused(
    workbench: Workbench, edited: Path, arguments: tuple[str, ...], said: str
) -> None:
    ran = workbench("tasks", edited, *arguments)
    assert ran.code == 2
    assert said in ran.err
    assert ran.out == ""


LISBON = ("-s", "Lisbon", "-p", "{} lies in")


def test_check_says_what_speaks_against_an_edit_and_makes_none(workbench: Workbench, edited: Path) -> None:
    before = digest(edited)
    ran = workbench("apply", "--check", *LISBON, "-t", "Chile", "--stack", edited)
    assert ran.code == 1, ran.err
    first, *said = ran.out.splitlines()
    assert first.split()[:2] in (["!", "1"], ["✗", "1"])
    assert any("Edit 1 is about the same fact" in line for line in said)
    assert any(line.strip().startswith("→ ") for line in said)
    assert "nothing was changed" in ran.err
    assert digest(edited) == before


def test_check_of_a_stack_that_is_not_there_leaves_no_folder(
    workbench: Workbench, tiny_model: Path, tmp_path: Path
) -> None:
    facts = tmp_path / "facts.jsonl"
    facts.write_text(
        json.dumps({"subject": "Rome", "prompt": "The city of {} lies in", "target_new": "Peru"})
        + "\n"
        + json.dumps({"subject": "Lima", "prompt": "The city of {} lies in", "target_new": "Italy"})
    )
    ran = workbench("apply", facts, "--check", "--model", tiny_model, "--stack", tmp_path / "new", "--json")
    assert ran.code in (0, 1), ran.err
    assert {event["type"] for event in ran.events} <= {
        "ModelLoading", "ModelReady", "StackChanged", "StackDelta", "Preflight", "Warning", "JobDone"
    }  # fmt: skip
    assert not (tmp_path / "new").exists()


def test_making_an_edit_tells_people_what_speaks_against_it(workbench: Workbench, copied: Path) -> None:
    ran = workbench("apply", *LISBON, "-t", "Chile", "--stack", copied, "--no-guard")
    assert ran.code in (0, 1), ran.err
    assert "Edit 1 is about the same fact" in ran.err


def test_check_finds_two_requests_of_one_file_that_contradict_each_other(
    workbench: Workbench, tiny_model: Path, tmp_path: Path
) -> None:
    facts = tmp_path / "facts.csv"
    facts.write_text(
        "subject,prompt,target_new\n"
        "Lima,The city of {} lies in,Italy\n"
        "Rome,The city of {} lies in,Peru\n"
        "lima,the city  of {} lies in.,Chile\n"
    )
    ran = workbench("apply", facts, "--check", "--model", tiny_model, "--stack", tmp_path / "new")
    said = [line.strip() for line in ran.out.splitlines() if "same fact" in line]
    assert said == ["warning: Request 1 is about the same fact: The city of Lima lies in → Italy."]
    assert ran.code == 1
