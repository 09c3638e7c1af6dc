"""`workbench merge`: the report comes first, and nothing is written while it is not decided what shall become of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Workbench
from workbench.edits import EditRequest
from workbench.stack.store import Stack

LISBON = EditRequest("{} lies in", "Lisbon", "Peru", "Portugal")
OSLO = EditRequest("{} lies in", "Oslo", "Chile", "Norway")
LIMA = EditRequest("{} lies in", "Lima", "Italy", "Peru")
CONTRARY = EditRequest("{}  LIES in", "Oslo", "Italy", "Norway")


@pytest.fixture(scope="module")
def two(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two stacks on the tiny model that begin alike: `ours` with OSLO, `theirs` with LIMA and CONTRARY. Read only."""
    from tests.engine.making import drain, open_on

    folder = tmp_path_factory.mktemp("two")
    for name, before, requests in (
        ("ours", None, (LISBON,)),
        ("theirs", "ours", (LIMA, CONTRARY)),
        ("ours", None, (OSLO,)),
    ):
        if before:
            shutil.copytree(folder / before, folder / name)
        engine = open_on(tiny_model, folder / name)
        for request in requests:
            assert drain(engine.apply(request))[1]
        engine.close()
    return folder


@pytest.fixture
def stacks(two: Path, tmp_path: Path) -> Path:
    """A copy of both, in the folder where the commands run."""
    for name in ("ours", "theirs"):
        shutil.copytree(two / name, tmp_path / name)
    return tmp_path


def line(folder: Path) -> list[tuple[str, str]]:
    with Stack.open(folder) as stack:
        return [(edit.request.subject, edit.request.target_new) for edit in stack.line]


def state(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_conflict_is_reported_and_nothing_is_written(workbench: Workbench, stacks: Path) -> None:
    before = state(stacks / "ours")
    ran = workbench("merge", "theirs", "--stack", "ours")
    lines = ran.out.splitlines()
    assert ran.code == 1
    assert lines[0] == "common 1  ours 1  theirs 2  ours-first"
    (target,) = [text for text in lines if text.startswith("target")]
    assert "Oslo lies in | Oslo  LIES in  ours → Chile  theirs → Italy" in target
    assert lines[-1].startswith("nothing written  in conflict: 1 target, ")
    assert "--keep-both, --ours or --theirs" in ran.err
    assert state(stacks / "ours") == before


def test_a_choice_lets_it_be_written(workbench: Workbench, stacks: Path) -> None:
    ran = workbench("merge", "theirs", "--stack", "ours", "--ours")
    assert ran.code == 0
    assert ran.out.splitlines()[-1] == "merged  1 edit placed  position 3  ours"
    assert line(stacks / "ours") == [("Lisbon", "Peru"), ("Oslo", "Chile"), ("Lima", "Italy")]
    assert workbench("verify", "ours").code == 0


def test_order_and_both_as_json(workbench: Workbench, stacks: Path) -> None:
    ran = workbench("merge", "theirs", "--stack", "ours", "--order", "theirs-first", "--keep-both", "--json")
    kinds = [event["type"] for event in ran.events]
    merged, done = ran.events[-2:]
    assert (ran.code, merged["type"], merged["written"], merged["targets"], done["ok"]) == (0, "Merged", True, 1, True)
    assert kinds.index("MergePlanned") < kinds.index("Conflict") < kinds.index("StackChanged", kinds.index("Conflict"))
    assert [target for _, target in line(stacks / "ours")] == ["Peru", "Italy", "Italy", "Chile"]
    again = workbench("merge", "theirs", "--stack", "ours")
    assert (again.code, again.out.splitlines()[-1]) == (0, "nothing to merge: all of theirs is here")


def test_a_dry_run_ends_as_the_merge_would_and_needs_no_lock(workbench: Workbench, stacks: Path) -> None:
    before = state(stacks / "ours")
    with Stack.open(stacks / "ours", write=True):
        assert workbench("merge", "theirs", "--stack", "ours", "--dry-run").code == 1
        assert workbench("merge", "theirs", "--stack", "ours", "--dry-run", "--theirs").code == 0
    after = state(stacks / "ours")
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["theirs", "--ours", "--theirs"], "exclude each other"),
        (["nowhere"], "There is no branch, stack or bundle 'nowhere'"),
        (["main"], "the line itself"),
        (["theirs/stack.json"], "neither an edit file nor a bundle"),
        (["theirs", "--order", "mine"], "mine"),
    ],
)
def test_what_makes_no_sense_is_wrong_usage(
    workbench: Workbench, stacks: Path, arguments: list[str], said: str
) -> None:
    before = state(stacks / "ours")
    ran = workbench("merge", *arguments, "--stack", "ours")
    assert (ran.code, said in ran.err, "Traceback" in ran.err) == (2, True, False)
    assert {name: data for name, data in state(stacks / "ours").items() if name in before} == before


def test_a_damaged_edit_of_theirs_is_code_5_and_changes_nothing(workbench: Workbench, stacks: Path) -> None:
    victim = next((stacks / "theirs").glob("0002-*"))
    victim.write_bytes(victim.read_bytes()[:-1])
    before = state(stacks / "ours")
    assert workbench("merge", "theirs", "--stack", "ours", "--keep-both").code == 5
    assert {name: data for name, data in state(stacks / "ours").items() if name in before} == before
