"""Pushing to and pulling from the Hub: one commit of what is new, nothing lost, nothing believed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub_stand_in import Hub, point_at, serving
from tests.stack.making import base, edit, factors
from workbench.errors import BaseMismatch, HubError, StackError, UsageError, VerificationError, WorkbenchError
from workbench.stack import hub_card
from workbench.stack.pulling import pull
from workbench.stack.pushing import push
from workbench.stack.store import Stack

REPO = "ada/facts"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving() as server:
        point_at(server, monkeypatch)
        yield server


def add(folder: Path, *subjects: str) -> list[str]:
    """Appends an edit for each subject; returns the ids of the line."""
    with Stack.open(folder, write=True, base=base()) as stack:
        for subject in subjects:
            seed = len(stack.line) + len(stack.others) + sum(map(ord, subject))
            stack.append(edit(subject), factors(seed))
        return [one.id for one in stack.line]


def ids(folder: Path) -> list[str]:
    with Stack.open(folder) as stack:
        return [one.id for one in stack.line]


def pushed(folder: Path, repo: str = REPO, **more: object) -> object:
    with Stack.open(folder) as stack:
        return push(stack, repo, **more)  # type: ignore[arg-type]  # whatever a test gives


def state(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


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
    assert said == dataclasses.replace(said, count=2, sent=2, revision="main", card=True)  # type: ignore[type-var]


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
    assert again == dataclasses.replace(again, sent=0, bytes=0)  # type: ignore[type-var]


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


def test_a_stack_of_another_base_is_refused_in_both_directions(hub: Hub, tmp_path: Path) -> None:
    add(tmp_path / "a", "Paris")
    pushed(tmp_path / "a")
    other = base(fingerprint="a" * 64, name="other")
    with Stack.open(tmp_path / "b", write=True, base=other) as stack:
        stack.append(edit("Rome", base=other), factors())
    before = state(tmp_path / "b")
    with pytest.raises(BaseMismatch):
        pull(REPO, tmp_path / "b")
    with pytest.raises(BaseMismatch):
        pushed(tmp_path / "b")
    assert state(tmp_path / "b") == before


def test_a_damaged_or_empty_stack_is_not_pushed(hub: Hub, tmp_path: Path) -> None:
    with Stack.open(tmp_path, write=True, base=base()), pytest.raises(UsageError, match="empty"):
        pushed(tmp_path)
    add(tmp_path, "Paris")
    victim = next(tmp_path.glob("0001-*"))
    data = bytearray(victim.read_bytes())
    data[-1] ^= 1
    victim.write_bytes(data)
    with pytest.raises(VerificationError):
        pushed(tmp_path)
    assert hub.asked == []


def hostile(name: str, tree: dict[str, bytes]) -> dict[str, bytes]:
    """What `tree` is after somebody meant harm."""
    edits = sorted(path for path in tree if path.endswith(".safetensors"))
    first = bytearray(tree[edits[0]])
    index = json.loads(tree["stack.json"])
    if name == "one bit of an edit":
        first[-3] ^= 4
        return {**tree, edits[0]: bytes(first)}
    if name == "an edit cut short":
        return {**tree, edits[0]: bytes(first[:100])}
    if name == "an edit is missing":
        return {path: data for path, data in tree.items() if path != edits[0]}
    if name == "an index that is no JSON":
        return {**tree, "stack.json": b"{"}
    if name == "an index in another order":
        return {**tree, "stack.json": json.dumps({**index, "order": index["order"][::-1]}).encode()}
    if name == "a tag on nothing":
        return {**tree, "stack.json": json.dumps({**index, "tags": {"v1": "0" * 64}}).encode()}
    if name == "a branch that escapes":
        return {**tree, "stack.json": json.dumps({**index, "branch": "../../x"}).encode()}
    if name == "another base":
        index["base"]["fingerprint"] = "0" * 64
        return {**tree, "stack.json": json.dumps(index).encode()}
    return {**tree, "stack.json": b"[" * 100_000}


@pytest.mark.parametrize(
    "harm",
    [
        "one bit of an edit", "an edit cut short", "an edit is missing", "an index that is no JSON", "another base",
        "an index in another order", "a tag on nothing", "a branch that escapes", "an index nested deep",
    ],
)  # fmt: skip
@pytest.mark.parametrize("new", [True, False])
def test_a_hostile_repository_changes_nothing_here(hub: Hub, tmp_path: Path, harm: str, new: bool) -> None:
    add(tmp_path / "a", "Paris", "Rome")
    pushed(tmp_path / "a")
    hub.repositories[REPO].add("main", hostile(harm, hub.repositories[REPO].files), harm)
    target = tmp_path / "b"
    if not new:
        add(target, "Oslo")
    before = state(target) if target.exists() else None
    with pytest.raises((StackError, VerificationError)):
        pull(REPO, target)
    assert (state(target) if target.exists() else None) == before


def test_files_that_are_no_edits_are_never_downloaded(hub: Hub, tmp_path: Path) -> None:
    add(tmp_path / "a", "Paris")
    pushed(tmp_path / "a")
    tree = hub.repositories[REPO].files
    strange = (
        "../../escaped.safetensors",
        "model.safetensors",
        "sub/0001-x-00000000.safetensors",
        "journal.jsonl",
        "x.pkl",
    )
    hub.repositories[REPO].add("main", {**tree, **dict.fromkeys(strange, b"\x80")}, "more")
    pull(REPO, tmp_path / "b")
    assert ids(tmp_path / "b") == ids(tmp_path / "a")
    assert not any(
        name in path for _, path in hub.asked for name in ("escaped", "model.safe", "sub/", "journal", "pkl")
    )


def test_a_repository_with_too_much_in_it_is_not_downloaded(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(tmp_path / "a", "Paris", "Rome")
    pushed(tmp_path / "a")
    for limit in ("MAX_EDITS", "MAX_TOTAL", "MAX_BYTES"):
        with monkeypatch.context() as patch:
            patch.setattr(f"workbench.stack.pulling.{limit}", 1)
            told(HubError, "holds", REPO, tmp_path / "b")
    assert not hub.calls("resolve")


def test_a_repository_without_a_stack_says_so(hub: Hub, tmp_path: Path) -> None:
    hub.put(REPO, {"model.safetensors": b"x"})
    with pytest.raises(HubError, match="holds no stack"):
        pull(REPO, tmp_path / "b")
    assert not (tmp_path / "b").exists()


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


@pytest.mark.parametrize(
    ("status", "said"),
    [(401, "does not know"), (403, "does not allow"), (429, "too often"), (500, "fault"), (503, "fault")],
)
@pytest.mark.parametrize("where", ["api/models/ada/facts/revision", "preupload", "objects/batch", "upload/", "commit"])
def test_what_the_hub_refuses_is_one_sentence_and_changes_nothing(
    hub: Hub, tmp_path: Path, where: str, status: int, said: str
) -> None:
    hub.put(REPO, {})
    add(tmp_path, "Paris")
    before = state(tmp_path)
    hub.fail = {where: status}
    with pytest.raises(HubError, match=said) as refused:
        pushed(tmp_path)
    assert (refused.value.exit_code, bool(refused.value.hint), "\n" in refused.value.message) == (1, True, False)
    assert state(tmp_path) == before
    assert hub.repositories[REPO].messages == ["first"]


def told(error: type[WorkbenchError], match: str, repo: str, folder: Path) -> None:
    with pytest.raises(error, match=match):
        pull(repo, folder)
    assert not folder.exists()


def test_no_repository_no_revision_no_name(hub: Hub, tmp_path: Path) -> None:
    told(HubError, "There is no repository 'ada/nothing'", "ada/nothing", tmp_path / "x")
    for name in ("ada", "a/b/c", "../x", "-a/b", "a/b\n", ""):
        told(UsageError, "cannot be the name", name, tmp_path / "x")
    hub.put(REPO, {})
    with pytest.raises(HubError, match="no such branch"):
        pull(REPO, tmp_path / "x", revision="nope")
    hub.repositories[REPO].gated = True
    told(HubError, "must be asked for", REPO, tmp_path / "x")


def test_nobody_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    told(HubError, "cannot be reached at http://127.0.0.1:9", REPO, tmp_path / "x")


def test_offline_mode_is_said(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    told(HubError, "stay offline", REPO, tmp_path / "x")


def test_without_a_token_a_public_stack_is_pulled_and_nothing_is_pushed(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(tmp_path / "a", "Paris")
    pushed(tmp_path / "a")
    point_at(hub, monkeypatch, token="")
    assert pull(REPO, tmp_path / "b").added == 1
    add(tmp_path / "a", "Rome")
    with pytest.raises(HubError) as refused:
        pushed(tmp_path / "a")
    assert "HF_TOKEN" in refused.value.hint
