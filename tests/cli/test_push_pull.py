"""`workbench push` and `workbench pull`: what they say, what they change, and how they end. A stand-in is the Hub."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.conftest import Workbench
from tests.hub_stand_in import Hub, point_at, serving
from workbench.stack.store import Stack

REPO = "ada/facts"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving() as server:
        point_at(server, monkeypatch)
        yield server


def ids(folder: Path) -> list[str]:
    with Stack.open(folder) as stack:
        return [edit.id for edit in stack.line]


def grow(folder: Path, created: str) -> None:
    """Appends a copy of the first edit, made at another time."""
    with Stack.open(folder, write=True) as stack:
        first = stack.line[0]
        stack.append(replace(first, created=created), stack.factors(first))


def test_what_was_pushed_is_pulled_into_a_folder_of_its_name(workbench: Workbench, stack: Path, hub: Hub) -> None:
    ran = workbench("push", stack, REPO)
    assert (ran.code, ran.out.split()[:2]) == (0, [REPO, "main"])
    assert "3 edits, 3 of them new" in ran.out
    assert f"{hub.url}/{REPO}" in ran.err
    again = workbench("push", stack, REPO)
    assert "3 edits, none of them new  0 bytes" in again.out
    came = workbench("pull", REPO)
    assert (came.code, ids(Path("edits/ada--facts"))) == (0, ids(stack))
    assert "new stack  3 new edits, 3 on its line  edits/ada--facts" in came.out
    assert "nothing new" in workbench("pull", REPO).out


def test_pushing_sends_to_the_branch_and_with_the_words_that_are_asked_for(
    workbench: Workbench, stack: Path, hub: Hub
) -> None:
    assert workbench("push", stack, REPO, "--private", "--branch", "draft", "-m", "three facts").code == 0
    repository = hub.repositories[REPO]
    assert (repository.private, repository.messages) == (True, ["first", "three facts"])
    assert repository.branches["draft"] != repository.branches["main"]
    assert workbench("pull", REPO, "--revision", "draft", "--stack", "edits/draft").code == 0
    assert workbench("pull", REPO, "--stack", "edits/other").code == 1


def test_the_json_lines_say_what_was_sent_and_what_came(workbench: Workbench, stack: Path, hub: Hub) -> None:
    pushed, done = workbench("push", stack, REPO, "--json").events[-2:]
    assert (pushed["type"], pushed["sent"], pushed["repo"], done["ok"]) == ("Pushed", 3, REPO, True)
    pulled, done = workbench("pull", REPO, "--json").events[-2:]
    assert (pulled["type"], pulled["outcome"], pulled["commit"]) == ("Pulled", "new", pushed["commit"])
    assert done["exit_code"] == 0


def test_lines_that_have_both_gone_on_are_kept_side_by_side(workbench: Workbench, stack: Path, hub: Hub) -> None:
    workbench("push", stack, REPO)
    workbench("pull", REPO, "--stack", "edits/b")
    grow(stack, "2030-01-01T00:00:00+00:00")
    workbench("push", stack, REPO)
    grow(Path("edits/b"), "2031-01-01T00:00:00+00:00")
    ours = ids(Path("edits/b"))
    ran = workbench("pull", REPO, "--stack", "edits/b")
    assert (ran.code, ids(Path("edits/b"))) == (1, ours)
    assert f"workbench merge {REPO} --stack edits/b" in ran.err
    refused = workbench("push", "edits/b", REPO)
    assert refused.code == 0  # theirs is here now, as a branch: nothing is lost by the push


def test_a_push_over_edits_that_are_not_here_is_refused(workbench: Workbench, stack: Path, hub: Hub) -> None:
    workbench("push", stack, REPO)
    workbench("pull", REPO, "--stack", "edits/b")
    grow(stack, "2030-01-01T00:00:00+00:00")
    workbench("push", stack, REPO)
    grow(Path("edits/b"), "2031-01-01T00:00:00+00:00")
    ran = workbench("push", "edits/b", REPO)
    assert (ran.code, ran.err.splitlines()[-1].startswith("hint: workbench pull ada/facts")) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["push", "ada"], 2, "cannot be the name"),
        (["push", "a", "b", "c"], 2, "Too many arguments"),
        (["push"], 2, "Too few arguments"),
        (["push", "edits/none", REPO], 2, "There is no stack"),
        (["pull", "../../etc"], 2, "cannot be the name"),
        (["pull", "ada/none"], 1, "There is no repository"),
    ],
)
def test_what_cannot_be_is_one_sentence_and_a_code(
    workbench: Workbench, stack: Path, hub: Hub, arguments: list[str], code: int, said: str
) -> None:
    ran = workbench(*arguments, "--stack", stack) if arguments == ["push", "ada"] else workbench(*arguments)
    assert (ran.code, said in ran.err, "Traceback" in ran.err) == (code, True, False)
    assert hub.repositories == {}
    assert not Path("edits/ada--none").exists()


def test_a_damaged_repository_is_code_5(workbench: Workbench, stack: Path, hub: Hub) -> None:
    workbench("push", stack, REPO)
    tree = hub.repositories[REPO].files
    victim = next(name for name in tree if name.startswith("0002-"))
    hub.repositories[REPO].add("main", {**tree, victim: tree[victim][:50]}, "harm")
    assert workbench("pull", REPO).code == 5
    damaged = bytearray(tree[victim])
    damaged[-2] ^= 1
    hub.repositories[REPO].add("main", {**tree, victim: bytes(damaged)}, "harm")
    assert workbench("pull", REPO).code == 5
    assert not Path("edits/ada--facts").exists()


def test_a_push_to_nowhere_asks_for_the_repository(workbench: Workbench, stack: Path) -> None:
    ran = workbench("push", stack)
    assert (ran.code, "where to is missing" in ran.err) == (2, True)


def test_control_characters_of_a_repository_never_reach_the_terminal(
    workbench: Workbench, stack: Path, hub: Hub
) -> None:
    workbench("push", stack, REPO)
    hub.fail = {"revision": 418}
    ran = workbench("pull", REPO)
    assert not {"\x1b", "\u202e"} & set(ran.out + ran.err)
    hub.fail = {}
    card = hub.repositories[REPO].files["README.md"].decode()
    assert not {"\x1b", "\u202e"} & set(card)


def test_no_torch_is_loaded() -> None:
    code = (
        "import sys\n"
        "import workbench.stack.pushing, workbench.stack.pulling\n"
        "from workbench.stack import hub\n"
        "from workbench.cli.main import run\n"
        "assert hub._api()\n"
        "assert run(['push', '--help']) == run(['pull', '--help']) == run(['merge', '--help']) == 0\n"
        "sys.exit(99 * bool({'torch', 'transformers', 'textual'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
