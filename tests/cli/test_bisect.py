"""`workbench bisect` on the command line: what can be asked, what it says, and that it only reads."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Workbench, digest
from workbench.stack.store import Stack

LISBON = "Lisbon lies in"


@pytest.fixture
def line(edited: Path) -> list[str]:
    """Ids of the two edits: the first about Lisbon, the second about Oslo."""
    with Stack.open(edited) as stack:
        return [edit.id for edit in stack.line]


def test_the_last_line_names_the_edit_that_broke_the_probe(
    workbench: Workbench,
    edited: Path,
    line: list[str],
) -> None:
    before = digest(edited)
    ran = workbench("bisect", edited, "--probe", LISBON)
    assert ran.code == 0, ran.err
    *steps, last = ran.out.splitlines()
    words = [step.split()[:3] for step in steps]
    assert words[:2] == [["0", "base", "holds"], ["2", line[1][:8], "fails"]]
    culprit = 1 if words[2] == ["1", line[0][:8], "fails"] else 2
    assert words[2][:2] == ["1", line[0][:8]]
    assert last.startswith(f"broken by edit {culprit}  {line[culprit - 1][:8]}  ")
    assert f"holds at {culprit - 1} and fails at {culprit}; 3 positions were asked." in ran.err
    assert digest(edited) == before


def test_the_recorded_probe_of_an_edit_is_asked_by_its_numbers(workbench: Workbench, edited: Path) -> None:
    first = workbench("bisect", edited, "--probe", "1", "--json")
    paraphrase = workbench("bisect", edited, "--probe", "1.2", "--json")
    for ran, prompt in ((first, LISBON), (paraphrase, "The town of Lisbon lies in")):
        asked = [event for event in ran.events if event["type"] == "ProbeResult"]
        assert {(event["prompt"], event["expected"], event["rival"]) for event in asked} == {
            (prompt, "Peru", "Portugal")
        }
        assert [event["type"] for event in ran.events][-2:] == ["Bisected", "JobDone"]
    for wrong in ("3", "0", "1.9"):
        ran = workbench("bisect", edited, "--probe", wrong)
        assert (ran.code, len(ran.err.splitlines())) == (2, 2)


def test_where_both_ends_agree_it_is_said_with_code_1(workbench: Workbench, edited: Path) -> None:
    ran = workbench("bisect", edited, "--probe", LISBON, "--expect", "nonsense that no model says")
    assert ran.code == 1
    assert ran.out.splitlines()[-1] == "The probe fails at both ends, at 0 and at 2: there is no one culprit."
    holds = workbench("bisect", edited, "--probe", LISBON, "--from", "1", "--expect", "Peru", "--rival", "nonsense")
    assert holds.code in (0, 1)


def test_a_program_of_one_s_own_judges_each_merged_model(
    workbench: Workbench,
    edited: Path,
    tiny_model: Path,
    tmp_path: Path,
) -> None:
    seen = tmp_path / "seen"
    check = tmp_path / "check.py"
    check.write_text(
        "import sys, pathlib, hashlib\n"
        "weights = (pathlib.Path(sys.argv[1]) / 'model.safetensors').read_bytes()\n"
        f"open({str(seen)!r}, 'a').write(hashlib.sha256(weights).hexdigest() + ' ' + sys.argv[1] + chr(10))\n"
        "print('looked at')\n"
        f"seen = open({str(seen)!r}).read().split()[::2]\n"
        "sys.exit(0 if seen[-1] == seen[0] else 3)\n"
    )
    ran = workbench("bisect", edited, "--run", f"'{sys.executable}' {check} {{}}")
    assert ran.code == 0, ran.err
    assert ran.out.splitlines()[-1].startswith("broken by edit 1")
    assert "looked at" not in ran.out
    hashes, folders = zip(*(row.split() for row in seen.read_text().splitlines()), strict=True)
    assert len(set(hashes)) == 3
    assert not any(Path(folder).exists() for folder in folders)


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("sh -c 'exit 125'", 1, "cannot tell"),
        ("sh -c 'kill -9 $$'", 1, "signal 9"),
        ("./no-such-program", 1, "cannot be run"),
        ("", 2, "empty"),
        ("'", 2, "cannot be read"),
    ],
)
def test_a_program_that_cannot_judge_ends_the_search(
    workbench: Workbench, edited: Path, command: str, code: int, said: str
) -> None:
    ran = workbench("bisect", edited, "--run", command)
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "nothing to ask"),
        (("--probe", "a", "--perplexity", "3"), "several things"),
        (("--perplexity", "lots"), "no limit"),
        (("--perplexity", "3", "--expect", "a"), "no probe"),
        (("--probe", "1", "--expect", "a"), "its own answers"),
        (("--probe", " "), "empty"),
        (("--probe", "a", "--rival", "b"), "no answer"),
        (("--probe", "a", "--to", "0"), "no active edit"),
        (("--probe", "a", "--to", "9"), "no position 9"),
        (("--probe", "a", "--to", "elsewhere"), "elsewhere"),
        (("--probe", "a", "--from", "2", "--to", "1"), "does not come before"),
    ],
)
def test_what_makes_no_sense_is_one_sentence_a_hint_and_code_2(
    workbench: Workbench,
    edited: Path,
    arguments: tuple[str, ...],
    said: str,
) -> None:
    ran = workbench("bisect", edited, *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err.splitlines()[0]
    assert ran.err.splitlines()[1].startswith("hint: ")


def test_a_model_without_held_out_text_is_said(workbench: Workbench, edited: Path) -> None:
    ran = workbench("bisect", edited, "--perplexity", "1.5x")
    assert (ran.code, "held-out" in ran.err) == (1, True)


def test_ctrl_c_ends_the_search_and_leaves_the_stack(copied: Path, tmp_path: Path) -> None:
    before, seen = digest(copied), tmp_path / "seen"
    only_the_first = f"sh -c 'sleep 0.3; test ! -e {seen} && touch {seen}'"
    command = [sys.executable, "-m", "workbench", "bisect", str(copied), "--run", only_the_first, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        kinds = []
        for text in process.stdout:
            kinds.append(json.loads(text)["type"])
            if kinds[-1] == "BisectStep" and kinds.count("BisectStep") == 1:
                process.send_signal(signal.SIGINT)
    assert process.returncode == 130
    assert "Bisected" not in kinds
    assert digest(copied) == before
