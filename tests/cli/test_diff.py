"""`workbench diff` on the command line: how states are named, what is listed, and what needs no model."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Workbench, digest
from workbench.stack.store import Stack


def kinds(events: list[dict[str, object]]) -> list[object]:
    return [event["type"] for event in events]


def test_two_positions_of_one_stack_without_a_model(workbench: Workbench, stack: Path) -> None:
    with Stack.open(stack) as opened:
        second = opened.line[1].id
    ran = workbench("diff", stack, 1, 2, "--no-model")
    assert (ran.code, ran.out) == (0, f"only in B  2 {second[:8]}  Oslo lies in → Chile\n")
    back = workbench("diff", stack, second[:8], 1, "--no-model")
    assert back.out.startswith(f"only in A  2 {second[:8]}")
    same = workbench("diff", stack, "now", "3", "--no-model")
    assert (same.code, same.out) == (0, "")
    assert "No edit is in one and not in the other." in same.err


def test_the_stack_of_a_state_is_that_of_the_folder_beside_it(workbench: Workbench, stack: Path) -> None:
    shutil.copytree(stack, stack.parent / "other")
    wanted = workbench("diff", stack, 1, "now", "--no-model").out
    assert len(wanted.splitlines()) == 2
    for words in (
        ("1", "now", "--stack", "edits/tiny"),
        ("1", "now", "--model", "tiny"),
        ("edits/tiny@1", "edits/tiny"),
        ("1", "edits/tiny"),
        ("edits/tiny@1", "edits/other"),
        ("edits/other@1", "now"),
    ):
        assert workbench("diff", *words, "--no-model").out == wanted


def test_what_files_say_is_shown_and_not_sent(workbench: Workbench, stack: Path) -> None:
    ran = workbench("diff", stack, 2, 3, "--no-model")
    assert "␛[31mred" in ran.out
    assert "\x1b" not in ran.out + ran.err


def test_stacks_on_two_bases_are_not_compared(workbench: Workbench, stack: Path, edited: Path) -> None:
    ran = workbench("diff", stack, edited, "--no-model")
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (4, "", 2)
    assert "two bases" in ran.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("1",), "Too few arguments."),
        (("a", "b", "c", "d"), "Too many arguments."),
        (("edits/tiny", "1", "9"), "no position 9"),
        (("edits/tiny", "1", "elsewhere"), "elsewhere"),
        (("edits/tiny@ffff", "1"), "ffff"),
        (("nowhere", "1", "2"), "There is no stack at 'nowhere'."),
        (("edits/tiny", "1", "2", "--probe", "a"), "nothing can be asked"),
    ],
)
def test_what_names_no_state_is_one_sentence_a_hint_and_code_2(
    workbench: Workbench, stack: Path, words: tuple[str, ...], said: str
) -> None:
    assert stack.is_dir()
    ran = workbench("diff", *words, "--no-model")
    first, second = ran.err.splitlines()
    assert (ran.code, ran.out) == (2, "")
    assert said in first
    assert second.startswith("hint: ")


def test_listing_without_the_model_imports_no_torch(stack: Path) -> None:
    code = (
        "import sys; from workbench.cli.main import run\n"
        f"code = run(['diff', {str(stack)!r}, '1', 'now', '--no-model'])\n"
        "sys.exit(code or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_with_the_model_weights_and_answers_follow(workbench: Workbench, edited: Path) -> None:
    before = digest(edited)
    ran = workbench("diff", edited, "base", "now")
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert [line.split("  ")[0] for line in lines[:2]] == ["only in B", "only in B"]
    assert lines[2].startswith("weight     transformer.h.0.mlp.c_proj  |W_A - W_B| / |W_0| ")
    assert len(lines) == 3 + 4
    assert all(line.startswith(("= ", "≠ ")) and "KL " in line for line in lines[3:])
    assert digest(edited) == before


def test_asked_probes_take_the_place_of_those_of_the_edits(workbench: Workbench, edited: Path) -> None:
    ran = workbench("diff", edited, 1, 2, "--probe", "Rome lies in => Italy", "--probe", "Lima lies in", "--json")
    answers = [event for event in ran.events if event["type"] == "AnswersDiffer"]
    assert [(event["prompt"], event["expected"]) for event in answers] == [
        ("Rome lies in", "Italy"),
        ("Lima lies in", ""),
    ]
    assert answers[0]["p_expected_a"] > 0
    assert kinds(ran.events)[-5:] == ["EditDiffers", "WeightsDiffer", "AnswersDiffer", "AnswersDiffer", "JobDone"]
