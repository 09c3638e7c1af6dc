"""Pushing to and pulling from the Hub: one commit of what is new, nothing lost, nothing believed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub_stand_in import Hub, point_at, serving
from tests.stack.making import edit, factors
from tests.stack.pushing import REPO, add, ids, pushed, state
from workbench.errors import HubError
from workbench.stack import hub_card
from workbench.stack.pulling import pull
from workbench.stack.pushing import push
from workbench.stack.store import Stack


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving() as server:
        point_at(server, monkeypatch)
        yield server


def test_a_stack_is_the_same_after_a_push_and_a_pull(hub: Hub, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    first, second, _ = add(here, "Paris", "Rome", "Oslo")
    with Stack.open(here, write=True) as stack:
        stack.toggle(second, off=True)
        stack.note(first, "asked for by legal")
        stack.tag("v1", second)
        stack.start_branch("other", at="v1")
        stack.append(edit("Lima"), factors(9))
        stack.switch("main")
        stack.undo()
    pushed(here)
    came = pull(REPO, there)
    assert (came.outcome, came.added, came.count) == ("new", 4, 3)
    with Stack.open(here) as a, Stack.open(there) as b:
        assert b.index == a.index
        assert [one.note for one in b.line] == ["asked for by legal", "", ""]
        assert all(check.ok for check in b.verify())
        assert [one.tip for one in b.branches] == [one.tip for one in a.branches]
        assert b.findings == ()
    assert {n: d for n, d in state(here).items() if n.endswith("s")} == {
        n: d for n, d in state(there).items() if n.endswith("s")
    }


def test_a_push_is_one_commit_of_the_edits_the_index_and_a_card(hub: Hub, tmp_path: Path) -> None:
    add(tmp_path, "Paris", "Rome")
    said = pushed(tmp_path, message="two facts")
    files = hub.repositories[REPO].files
    edits = sorted(path.name for path in tmp_path.glob("*.safetensors"))
    assert sorted(files) == [".gitattributes", *edits, "README.md", "stack.json"]
    assert all(files[name] == (tmp_path / name).read_bytes() for name in edits)
    assert hub.repositories[REPO].messages == ["first", "two facts"]
    assert said == dataclasses.replace(said, count=2, sent=2, revision="main", card=True)


def test_the_journal_and_the_lock_stay_here(hub: Hub, tmp_path: Path) -> None:
    add(tmp_path, "Paris")
    (tmp_path / "secret.txt").write_text("mine")
    with Stack.open(tmp_path, write=True, who="Ada Lovelace") as stack:
        stack.note(stack.line[0].id, "seen")
        push(stack, REPO)
    files = hub.repositories[REPO].files
    assert not any("journal" in name or "lock" in name or "secret" in name for name in files)
    assert not any(b"Lovelace" in data for data in files.values())


def test_only_new_edits_are_sent(hub: Hub, tmp_path: Path) -> None:
    add(tmp_path, "Paris", "Rome")
    pushed(tmp_path)
    assert hub.uploads == 2
    add(tmp_path, "Oslo")
    pushed(tmp_path)
    assert hub.uploads == 3
    commits = len(hub.repositories[REPO].commits)
    again = pushed(tmp_path)
    assert (hub.uploads, len(hub.repositories[REPO].commits)) == (3, commits)
    assert again == dataclasses.replace(again, sent=0, bytes=0)


def test_a_private_repository_and_a_branch_are_made_where_asked_for(hub: Hub, tmp_path: Path) -> None:
    add(tmp_path / "a", "Paris")
    pushed(tmp_path / "a", private=True)
    assert hub.repositories[REPO].private
    add(tmp_path / "b", "Rome")
    pushed(tmp_path / "b", revision="draft")
    assert ids(tmp_path / "a") != ids(tmp_path / "b")
    pull(REPO, tmp_path / "main")
    pull(REPO, tmp_path / "draft", revision="draft")
    assert ids(tmp_path / "main") == ids(tmp_path / "a")
    assert ids(tmp_path / "draft") == ids(tmp_path / "b")
    draft = hub.repositories[REPO].at("draft")
    assert draft
    assert sum(name.endswith(".safetensors") for name in draft[1]) == 1


def test_a_push_never_writes_over_edits_that_are_not_here(hub: Hub, tmp_path: Path) -> None:
    add(tmp_path / "a", "Paris")
    pushed(tmp_path / "a")
    pull(REPO, tmp_path / "b")
    add(tmp_path / "a", "Rome")
    pushed(tmp_path / "a")
    add(tmp_path / "b", "Oslo")
    before = hub.repositories[REPO].files
    with pytest.raises(HubError, match="not here") as refused:
        pushed(tmp_path / "b")
    assert "workbench pull ada/facts" in refused.value.hint
    assert hub.repositories[REPO].files == before


def test_a_push_that_somebody_else_was_faster_than_is_refused(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(tmp_path, "Paris")
    pushed(tmp_path)
    add(tmp_path, "Rome")
    real = hub.repositories[REPO].at

    def meanwhile(_: str) -> object:
        found = real("main")
        if hub.calls("preupload") > 1:
            hub.repositories[REPO].add("main", {}, "faster")
        return found

    monkeypatch.setattr(hub.repositories[REPO], "at", meanwhile)
    with pytest.raises(HubError, match="somebody else"):
        pushed(tmp_path)


def test_a_pulled_line_that_goes_on_from_ours_makes_it_grow(hub: Hub, tmp_path: Path) -> None:
    add(tmp_path / "a", "Paris")
    pushed(tmp_path / "a")
    pull(REPO, tmp_path / "b")
    line = add(tmp_path / "a", "Rome", "Oslo")
    with Stack.open(tmp_path / "a", write=True) as stack:
        stack.tag("latest", line[2])
        stack.toggle(line[1], off=True)
        stack.undo()
    pushed(tmp_path / "a")
    came = pull(REPO, tmp_path / "b")
    assert (came.outcome, came.added) == ("grown", 2)
    with Stack.open(tmp_path / "b") as stack:
        assert [one.id for one in stack.line] == line
        assert (stack.position, [*stack.off], stack.tags) == (2, [line[1]], {"latest": line[2]})
    assert pull(REPO, tmp_path / "b").outcome == "same"
    with Stack.open(tmp_path / "b", write=True) as stack:
        stack.redo()
    add(tmp_path / "b", "Lima")
    before = state(tmp_path / "b")
    assert pull(REPO, tmp_path / "b").outcome == "ahead"
    assert state(tmp_path / "b") == before


def test_a_stack_that_stands_back_stays_there_when_it_grows(hub: Hub, tmp_path: Path) -> None:
    add(tmp_path / "a", "Paris", "Rome")
    pushed(tmp_path / "a")
    pull(REPO, tmp_path / "b")
    with Stack.open(tmp_path / "b", write=True) as stack:
        stack.undo()
    line = add(tmp_path / "a", "Oslo")
    pushed(tmp_path / "a")
    pull(REPO, tmp_path / "b")
    with Stack.open(tmp_path / "b") as stack:
        assert ([one.id for one in stack.line], stack.position) == (line, 1)


def test_a_branch_that_one_is_not_on_grows_by_its_name(hub: Hub, tmp_path: Path) -> None:
    add(tmp_path / "a", "Paris")
    pushed(tmp_path / "a")
    pull(REPO, tmp_path / "b")
    with Stack.open(tmp_path / "b", write=True) as stack:
        stack.start_branch("mine", at="base")
    mine = add(tmp_path / "b", "Oslo")
    line = add(tmp_path / "a", "Rome")
    pushed(tmp_path / "a")
    came = pull(REPO, tmp_path / "b")
    assert (came.outcome, came.branch, came.added) == ("grown", "main", 1)
    with Stack.open(tmp_path / "b") as stack:
        assert ([one.id for one in stack.line], [one.id for one in stack.line_at("main")]) == (mine, line)


def test_where_both_have_gone_on_theirs_becomes_a_branch_and_ours_stays(hub: Hub, tmp_path: Path) -> None:
    add(tmp_path / "a", "Paris")
    pushed(tmp_path / "a")
    pull(REPO, tmp_path / "b")
    theirs = add(tmp_path / "a", "Rome")
    pushed(tmp_path / "a")
    ours = add(tmp_path / "b", "Oslo")
    came = pull(REPO, tmp_path / "b")
    assert (came.outcome, came.added, came.branch) == ("branch", 1, REPO)
    with Stack.open(tmp_path / "b") as stack:
        assert [one.id for one in stack.line] == ours
        assert [one.id for one in stack.line_at(REPO)] == theirs
    longer = add(tmp_path / "a", "Lima")
    pushed(tmp_path / "a")
    assert pull(REPO, tmp_path / "b").branch == REPO
    with Stack.open(tmp_path / "b") as stack:
        assert [one.id for one in stack.line_at(REPO)] == longer
        assert len(stack.branches) == 2


def test_names_that_stand_for_something_else_here_are_left_and_said(hub: Hub, tmp_path: Path) -> None:
    line = add(tmp_path / "a", "Paris", "Rome")
    pushed(tmp_path / "a")
    pull(REPO, tmp_path / "b")
    with Stack.open(tmp_path / "a", write=True) as stack:
        stack.tag("best", line[0])
    pushed(tmp_path / "a")
    with Stack.open(tmp_path / "b", write=True) as stack:
        stack.tag("best", line[1])
    assert pull(REPO, tmp_path / "b").left == ("best",)
    with Stack.open(tmp_path / "b") as stack:
        assert stack.tags == {"best": line[1]}


def test_a_card_that_somebody_wrote_stays(hub: Hub, tmp_path: Path) -> None:
    hub.put(REPO, {"README.md": b"# My own words\n"})
    add(tmp_path, "Paris")
    pushed(tmp_path)
    assert hub.repositories[REPO].files["README.md"] == b"# My own words\n"
    assert "stack.json" in hub.repositories[REPO].files


def test_the_card_shows_texts_and_never_obeys_them(tmp_path: Path) -> None:
    hostile_text = "a|b](http://x.y) <img src=x> `c` \x1b[2J\n# big"
    add(tmp_path, hostile_text, "Paris")
    with Stack.open(tmp_path) as stack:
        text = hub_card.card(stack, REPO)
    rows = [line for line in text.splitlines() if line.startswith(("| 1 ", "| 2 "))]
    assert [row.count("|") for row in rows] == [8, 8]
    assert not any(sign in rows[0] for sign in ("<", "](", "`", "\x1b", "http:"))
    assert "Paris is located in the city of" in rows[1]
