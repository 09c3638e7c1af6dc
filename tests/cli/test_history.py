"""Commands that need no model: log, show, undo, redo, travel and note read and move a stack on disk."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.conftest import ESCAPE, Workbench
from tests.stack.making import base, edit, factors
from workbench import events as ev
from workbench.stack.store import Stack

TOUR = Path(__file__).parents[2] / "edits" / "tour"


def position(folder: Path) -> int:
    with Stack.open(folder) as stack:
        return stack.position


def ids(folder: Path) -> list[str]:
    with Stack.open(folder) as stack:
        return [edit.id for edit in stack.line]


def test_log_lists_the_edits_newest_first(workbench: Workbench, stack: Path) -> None:
    ran = workbench("log", stack)
    assert ran.code == 0
    assert [line.split()[:4] for line in ran.out.splitlines()] == [
        ["●", "applied", str(number), id_[:8]] for number, id_ in reversed(list(enumerate(ids(stack), 1)))
    ]
    assert "Lisbon lies in → Peru" in ran.out.splitlines()[2]
    assert ran.out.splitlines()[1].split()[6:10] == ["✗", "·", "·", "0.0246"]
    assert "position 3 of 3 on tiny" in ran.err


def test_the_stack_is_an_argument_an_option_or_the_model_s(workbench: Workbench, stack: Path) -> None:
    by_argument = workbench("log", stack)
    assert by_argument.out
    assert workbench("log", "--stack", stack).out == by_argument.out
    assert workbench("log", "--model", "tiny").out == by_argument.out
    assert workbench("log", stack, "--stack", stack).code == 0


def test_a_stack_that_is_not_there_is_answered_with_those_that_are(workbench: Workbench, stack: Path) -> None:
    assert stack.is_dir()
    ran = workbench("log", "edits/tyni")
    assert (ran.code, ran.err.splitlines()[1]) == (2, "hint: There is edits/tiny.")


@pytest.mark.parametrize("command", [["log"], ["show", "3"], ["travel", "3"], ["note", "3", "a\x1b[2J"]])
def test_control_characters_of_a_file_never_reach_the_terminal(
    workbench: Workbench, stack: Path, command: list[str]
) -> None:
    ran = workbench(*command, "--stack", stack)
    assert ran.code == 0
    assert "␛[31mred" in ran.out
    assert not {"\x1b", "\u202e"} & set(ran.out + ran.err)


def test_log_as_json_is_one_row_a_line_and_an_end(workbench: Workbench, stack: Path) -> None:
    ran = workbench("log", stack, "--json")
    events = [ev.from_line(line) for line in ran.out.splitlines()]
    assert [type(event) for event in events] == [ev.EditRow] * 3 + [ev.JobDone]
    assert isinstance(events[0], ev.EditRow)
    assert events[0].subject == ESCAPE


def test_show_takes_a_number_or_the_beginning_of_an_id(workbench: Workbench, stack: Path) -> None:
    second = ids(stack)[1]
    by_number, by_id = workbench("show", stack, 2), workbench("show", stack, second[:6])
    assert by_number.out == by_id.out
    facts = [line.split(maxsplit=1) for line in by_number.out.splitlines()]
    assert ["edit", second] in facts
    assert ["subject", "Oslo"] in facts
    assert ["neighbour", "Rome lies in → Italy"] in facts
    assert ["after", f"{3:064x}"] in facts
    assert any(name == "probe" and "fail" in value for name, value in facts)
    assert facts[-1] == ["state", "applied; the stack stands at 3 of 3"]


def test_show_says_of_an_undone_edit_that_it_is_undone(workbench: Workbench, stack: Path) -> None:
    workbench("travel", stack, 1)
    assert workbench("show", stack, 2).out.splitlines()[-1] == "state         undone; the stack stands at 1 of 3"


def test_show_tells_perplexity_as_it_came_about_and_no_probability_of_a_text(workbench: Workbench) -> None:
    shown = workbench("show", TOUR, 1).out
    assert re.search(r"^perplexity +base \S+  before \S+  after \S+$", shown, re.M)
    assert not re.search(r"generation .*\?$", shown, re.M)


def test_show_as_json_is_the_whole_record(workbench: Workbench, stack: Path) -> None:
    record, done = workbench("show", stack, 1, "--json").events
    assert (record["type"], record["id"], done["type"]) == ("Edit", ids(stack)[0], "JobDone")
    assert record["request"]["target_new"] == "Peru"
    assert record["metrics"]["norms"]["ratio"] == 0.0123


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "4"], "There is no edit 4"),
        (["show", "0"], "There is no edit 0"),
        (["show", "zzzz"], "There is no edit, branch or tag 'zzzz'"),
        (["show", ""], "too short for an id"),
        (["travel", "9"], "There is no edit 9"),
        (["note", "7", "text"], "There is no edit 7"),
        (["undo", "4"], "There are only 3 edits to undo"),
        (["redo"], "There is nothing to redo"),
    ],
)
def test_what_is_not_there_is_wrong_usage_and_changes_nothing(
    workbench: Workbench, stack: Path, arguments: list[str], said: str
) -> None:
    ran = workbench(*arguments, "--stack", stack)
    assert ran.code == 2
    assert said in ran.err
    assert position(stack) == 3


def test_undo_and_redo_move_the_position_on_disk_and_say_so(workbench: Workbench, stack: Path) -> None:
    ran = workbench("undo", stack)
    assert (ran.code, position(stack)) == (0, 2)
    assert ran.out.startswith("3 → 2 of 3  ")
    assert "Oslo lies in → Chile" in ran.out
    assert "next loaded" in ran.err
    assert "↶ undone" in workbench("log", stack).out.splitlines()[0]
    assert workbench("undo", stack, 2).out == "2 → 0 of 3  the base\n"
    assert workbench("redo", stack, 3).code == 0
    assert position(stack) == 3


def test_travel_goes_to_a_number_an_id_or_the_base(workbench: Workbench, stack: Path) -> None:
    for wanted, at in (("1", 1), (ids(stack)[1][:8], 2), ("0", 0), ("3", 3), ("base", 0)):
        assert workbench("travel", stack, wanted).code == 0
        assert position(stack) == at


def test_a_move_as_json_is_the_stack_as_it_is_now(workbench: Workbench, stack: Path) -> None:
    changed, done = workbench("undo", stack, "--json").events
    assert (changed["type"], changed["position"], done["ok"]) == ("StackChanged", 2, True)
    assert [row["state"] for row in changed["edits"]] == ["applied", "applied", "undone"]


def test_digits_that_are_no_number_of_the_line_begin_an_id(workbench: Workbench, tmp_path: Path) -> None:
    folder, digits = tmp_path / "digits", ""
    with Stack.open(folder, write=True, base=base()) as stack:
        while not digits:
            added = stack.append(edit(f"subject {len(stack.line)}"), factors(1))
            digits = added.id[:5] if added.id[:5].isdecimal() and added.id[0] != "0" else ""
        last = len(stack.line)
    assert workbench("show", folder, digits).out == workbench("show", folder, last).out
    assert "No edit is in one and not in the other." in workbench("diff", folder, digits, last, "--no-model").err
    assert workbench("show", folder, "99999").err.startswith("workbench: There is no edit 99999 in this stack.")


def test_a_note_is_shown_as_it_is_written(workbench: Workbench, stack: Path) -> None:
    assert "“by legal”" in workbench("note", stack, 1, "by legal").out


def test_a_note_stands_in_the_log_until_it_is_taken_away(workbench: Workbench, stack: Path) -> None:
    assert workbench("note", stack, 2, "ask legal first").code == 0
    assert "“ask legal first”" in workbench("log", stack).out.splitlines()[1]
    assert "note          ask legal first" in workbench("show", stack, 2).out
    workbench("note", stack, 2, "")
    assert "legal" not in workbench("log", stack).out


def test_edits_on_another_branch_are_listed_when_asked_for(workbench: Workbench, stack: Path) -> None:
    third = ids(stack)[2]
    workbench("undo", stack)
    with Stack.open(stack, write=True) as opened:
        edit, factors = opened.line[0], opened.factors(opened.line[0])
        opened.append(replace(edit, created="2030-01-01T00:00:00+00:00"), factors)
    plain, everything = workbench("log", stack), workbench("log", stack, "--all")
    assert third[:8] not in plain.out
    assert "1 not on the line (--all shows them)" in plain.err
    assert "--all" not in everything.err
    assert everything.out.splitlines()[-1].split()[:4] == ["◇", "other", "3", third[:8]]
    assert workbench("travel", stack, third[:8]).code == 0
    assert ids(stack)[2] == third


def test_the_log_shows_tags_and_where_branches_end(workbench: Workbench, stack: Path) -> None:
    workbench("tag", stack, "first-one", 1)
    assert [line.count("(first-one)") for line in workbench("log", stack, "--reverse").out.splitlines()] == [1, 0, 0]
    assert "main" not in workbench("log", stack).out
    workbench("tag", stack, "second-one", 2)
    workbench("branch", stack, "try", "--at", 2)
    everything = workbench("log", stack, "--all").out.splitlines()
    ends = ["(second-one, try)" in everything[0], "(first-one)" in everything[1], "(main)" in everything[2]]
    assert ends == [True, True, True]
    assert workbench("log", stack, "-n", 1, "--json").events[0]["names"] == ["second-one", "try"]


def test_a_damaged_edit_is_code_5_and_the_rest_is_shown(workbench: Workbench, stack: Path) -> None:
    victim = next(stack.glob("0002-*"))
    victim.write_bytes(victim.read_bytes()[:40])
    ran = workbench("log", stack)
    assert ran.code == 5
    assert "Lisbon lies in → Peru" in ran.out
    assert victim.name in ran.err
    assert "Traceback" not in ran.err


ALTERED = (
    ("verify", "{}", "--no-model"),
    ("export", "{}", "-o", "x.zip"),
    ("import", "{}/0002-*", "--stack", "new"),
    ("import", "{}", "--list"),
    ("verify", "{}", "--model", "{model}"),
    ("replay", "{}", "--model", "{model}"),
    ("probe", "{}", "--model", "{model}"),
    ("health", "{}", "--model", "{model}"),
    ("doctor", "{}", "--model", "{model}"),
)


def test_an_edit_whose_content_is_not_its_id_is_code_5_whoever_reads_it(
    workbench: Workbench, tiny_model: Path, tmp_path: Path
) -> None:
    stack = tmp_path / "mine"
    for subject in ("Lisbon", "Oslo"):
        made = ("-s", subject, "-p", "{} lies in", "-t", "Peru", "--set", "steps=2", "--no-guard")
        assert workbench("apply", *made, "--model", tiny_model, "--stack", stack).code in (0, 1)
    victim = next(stack.glob("0002-*"))
    data = bytearray(victim.read_bytes())
    data[-2] ^= 1
    victim.write_bytes(data)
    for words in ALTERED:
        ran = workbench(*(word.format(stack, model=tiny_model).replace("0002-*", victim.name) for word in words))
        assert (words, ran.code) == (words, 5)
        assert "another id" in ran.err
    assert not (tmp_path / "new").exists()


def test_a_lost_index_is_rebuilt_and_that_is_said(workbench: Workbench, stack: Path) -> None:
    before = workbench("log", stack).out
    (stack / "stack.json").write_text("{", encoding="utf-8")
    ran = workbench("log", stack)
    assert (ran.code, ran.out) == (0, before)
    assert "note: " in ran.err
    assert "stack.json" in ran.err


def test_a_stack_that_another_process_writes_to_can_be_read_but_not_moved(workbench: Workbench, stack: Path) -> None:
    code = "import sys, pathlib; from workbench.stack.store import Stack\n"
    code += "with Stack.open(pathlib.Path(sys.argv[1]), write=True): print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(stack)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert workbench("log", stack).code == 0
        ran = workbench("undo", stack)
        assert (ran.code, position(stack)) == (1, 3)
        assert str(holder.pid) in ran.err
        holder.communicate()


@pytest.mark.parametrize("command", [["log"], ["show", "1"], ["undo"], ["travel", "1"], ["note", "1", "x"]])
def test_no_torch_is_loaded(stack: Path, command: list[str]) -> None:
    code = (
        "import sys; from workbench.cli.main import run\n"
        f"code = run([*{command!r}, '--stack', {str(stack)!r}])\n"
        "sys.exit(code or 99 * bool({'torch', 'transformers', 'textual'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_reader_that_leaves_early_is_no_error(stack: Path) -> None:
    command = [sys.executable, "-m", "workbench", "log", str(stack), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stderr is not None
        writer.stdout.close()
        assert writer.stderr.read() == ""
    assert writer.returncode == 141


def test_output_that_cannot_be_written_is_an_error_in_plain_words(stack: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    with full.open("w") as nowhere:
        command = [sys.executable, "-m", "workbench", "log", str(stack)]
        done = subprocess.run(command, stdout=nowhere, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("workbench: Writing failed: no space left on device.")
    assert "Traceback" not in done.stderr


def test_json_lines_stay_lines_whatever_the_text(workbench: Workbench, stack: Path) -> None:
    for line in workbench("log", stack, "--json").out.splitlines():
        assert isinstance(json.loads(line), dict)
