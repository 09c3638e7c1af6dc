"""toggle, reorder, remove, branch, switch, tag: what they do to a stack, and what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Workbench
from workbench.stack.store import Stack


def subjects(folder: Path) -> list[str]:
    with Stack.open(folder) as stack:
        return [edit.request.subject for edit in stack.applied]


@pytest.fixture
def three(workbench: Workbench, tiny_model: Path, tmp_path: Path) -> Path:
    """A stack of three real edits on the tiny model."""
    requests = tmp_path / "three.csv"
    requests.write_text(
        "subject,prompt,target_new\nLisbon,{} lies in,Peru\nOslo,{} lies in,Chile\nRome,{} lies in,Norway\n"
    )
    folder = tmp_path / "mine"
    workbench("apply", requests, "--model", tiny_model, "--stack", folder)
    assert subjects(folder) == ["Lisbon", "Oslo", "Rome"]
    return folder


def test_toggle_needs_no_model_and_says_what_later_edits_rest_on(workbench: Workbench, stack: Path) -> None:
    ran = workbench("toggle", stack, "1")
    assert (ran.code, ran.out.split()[:2]) == (0, ["off", "1"])
    assert "2 later edits were computed while it was on." in ran.err
    assert "◌" in workbench("log", stack).out.splitlines()[2]
    back = workbench("toggle", stack, "1")
    assert (back.code, back.out.split()[:2], back.err) == (0, ["on", "1"], "")
    assert workbench("toggle", stack, "3").err == ""
    changed = workbench("toggle", stack, "3", "--json").events[0]
    assert (changed["type"], [row["state"] for row in changed["edits"]]) == ("StackChanged", ["applied"] * 3)


def test_toggle_can_make_later_edits_anew(workbench: Workbench, three: Path) -> None:
    with Stack.open(three) as stack:
        line = stack.line
    ran = workbench("toggle", three, "1", "--resolve")
    assert (ran.code, ran.out.split()[:2]) == (0, ["off", "1"])
    assert "a branch of its own, main-2; main keeps the line as it was" in ran.err
    with Stack.open(three) as stack:
        assert [edit.copied_from for edit in stack.line] == [edit.id for edit in line]
        assert stack.off == {stack.line[0].id}
    assert workbench("verify", three).code == 0


def test_an_edit_made_after_an_undo_is_said_to_be_a_branch(
    workbench: Workbench, copied: Path, tiny_model: Path
) -> None:
    asked = ("-s", "Rome", "-p", "{} lies in", "-t", "Norway", "--model", tiny_model, "--stack", copied)
    assert "branch" not in workbench("apply", *asked).err
    workbench("undo", copied)
    assert "note: this is a branch of its own, main-2; main keeps the line as it was" in workbench("apply", *asked).err


def test_a_new_order_leaves_the_old_one_on_its_branch(workbench: Workbench, three: Path) -> None:
    ran = workbench("reorder", three, "3,1-2")
    assert (ran.code, ran.out.split(":")[0]) == (0, "main-2")
    assert "3 edits keep updates" in ran.err
    assert subjects(three) == ["Rome", "Lisbon", "Oslo"]
    assert workbench("replay", three, "--verify").code == 0
    assert workbench("switch", three, "main").code == 0
    assert subjects(three) == ["Lisbon", "Oslo", "Rome"]


def test_remove_takes_several_edits_out_at_once(workbench: Workbench, three: Path) -> None:
    ran = workbench("remove", three, "3", "1", "--branch", "only-oslo")
    assert (ran.code, subjects(three)) == (0, ["Oslo"])
    assert workbench("branch", three).out.splitlines()[1].startswith("* only-oslo")
    assert "copied from" in workbench("show", three, "1").out


@pytest.mark.parametrize(
    ("order", "said"),
    [
        ("3,1", "The order leaves out edit 2."),
        ("1,2,3,4", "The order names edit 4, which is not applied, or names it twice."),
        ("1,1,2,3", "The order names edit 1, which is not applied, or names it twice."),
        ("1-999999", "The order names edit 4, which is not applied, or names it twice."),
        ("1-3-2", "'1-3-2' is not a number or a range."),
        ("", "'' is not a number or a range."),
    ],
)
def test_an_order_must_name_every_edit_once(workbench: Workbench, stack: Path, order: str, said: str) -> None:
    ran = workbench("reorder", stack, order)
    assert (ran.code, ran.err.splitlines()[0]) == (2, f"workbench: {said}")


def test_what_is_not_applied_cannot_be_removed(workbench: Workbench, stack: Path) -> None:
    workbench("undo", stack)
    ran = workbench("remove", stack, "3")
    assert ran.code == 2
    assert "is not applied" in ran.err


def test_branches_are_listed_begun_left_and_forgotten(workbench: Workbench, stack: Path) -> None:
    assert workbench("branch", stack).out.split()[:3] == ["*", "main", "3"]
    assert workbench("branch", stack, "early", "--at", "1").code == 0
    assert subjects(stack) == ["Lisbon"]
    assert workbench("branch", stack, "empty", "--at", "base").code == 0
    listed = workbench("branch", stack).out.splitlines()
    assert [line[:2] + line[2:].split()[0] for line in listed] == ["  early", "* empty", "  main"]
    assert "no edits" in listed[1]
    assert workbench("switch", "--stack", stack, "early").code == 0
    forgotten = workbench("branch", stack, "--delete", "main")
    assert "2 edits are on no branch now" in forgotten.err
    assert "On no branch: 2" in workbench("branch", stack).err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["switch", "nowhere"], "There is no branch 'nowhere'."),
        (["branch", "main"], "The name 'main' is taken."),
        (["branch", "7be104c2"], "'7be104c2' cannot be the name of a branch or tag."),
        (["branch", "--delete", "main"], "'main' is the current branch."),
        (["branch", "--at", "1"], "The arguments do not fit together."),
        (["tag", "--delete", "nothing"], "There is no tag 'nothing'."),
        (["tag", "first", "9"], "There is no edit 9 in this stack."),
        (["remove"], "Too few arguments."),
        (["toggle"], "Too few arguments."),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(
    workbench: Workbench, stack: Path, arguments: list[str], said: str
) -> None:
    ran = workbench(*arguments, "--stack", stack)
    assert (ran.code, ran.err.splitlines()[0]) == (2, f"workbench: {said}")


def test_a_tag_stands_for_its_edit_in_every_command(workbench: Workbench, stack: Path) -> None:
    assert "No tags yet" in workbench("tag", stack).err
    assert workbench("tag", stack, "newest").out.split()[:2] == ["newest", "3"]
    assert workbench("tag", stack, "first", "1").code == 0
    assert "Lisbon" in workbench("show", stack, "first").out
    assert workbench("travel", stack, "first").out.startswith("3 → 1 of 3")
    assert workbench("tag", stack, "--delete", "first").out.split()[0] == "newest"


def test_travel_goes_to_the_end_of_a_branch_by_name(workbench: Workbench, stack: Path) -> None:
    workbench("branch", stack, "early", "--at", "1")
    assert workbench("travel", stack, "main").out.startswith("1 → 3 of 3")
