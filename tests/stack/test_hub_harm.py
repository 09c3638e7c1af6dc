"""What goes wrong with the Hub is one sentence and changes nothing; what a stranger put there is not believed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub_stand_in import Hub, point_at, serving
from tests.stack.making import base, edit, factors
from tests.stack.pushing import REPO, add, ids, pushed, state, told
from workbench.errors import BaseMismatch, HubError, StackError, UsageError, VerificationError
from workbench.stack.pulling import pull
from workbench.stack.store import Stack


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving() as server:
        point_at(server, monkeypatch)
        yield server


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


REFUSALS = [(401, "does not know"), (403, "does not allow"), (429, "too often"), (500, "fault"), (503, "fault")]
PLACES = ["api/models/ada/facts/revision", "preupload", "objects/batch", "upload/"]


@pytest.mark.parametrize(
    ("where", "status", "said"),
    [("commit", *refusal) for refusal in REFUSALS] + [(where, *REFUSALS[i]) for where in PLACES for i in (1, 3)],
)
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
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
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
