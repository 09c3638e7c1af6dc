"""Sources of an import: what they are, what of them is taken, and that a stack takes all of one or nothing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from unittest import mock

import pytest

from tests.stack.making import Disk, PowerCutError, base, edit, factors
from workbench.errors import BaseMismatch, StackError, StorageError, UsageError, VerificationError
from workbench.stack import files
from workbench.stack.bundle import write_bundle
from workbench.stack.index import Index
from workbench.stack.sources import is_empty, open_source, take
from workbench.stack.store import Stack


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """Four edits on two branches, one undone, one off."""
    folder = tmp_path / "stack"
    with Stack.open(folder, write=True, base=base()) as opened:
        first, *_ = [opened.append(edit(name), factors(seed)) for seed, name in enumerate(("Rome", "Oslo", "Lima"))]
        opened.start_branch("trial", first.id)
        opened.append(edit("Bern"), factors(7))
        opened.switch("main")
        opened.undo()
        opened.toggle(first.id, off=True)
        opened.note(opened.line[1].id, "why not")
    return folder


def content(folder: Path) -> tuple[Index, set[str]]:
    with Stack.open(folder) as opened:
        return opened.index, {one.id for one in (*opened.line, *opened.others)}


def test_what_is_active_is_taken_with_its_later_note_and_the_rest_stays_behind(stack: Path) -> None:
    source = open_source(stack)
    assert (source.kind, [one.request.subject for one in source.edits], source.left_behind) == ("stack", ["Oslo"], 3)
    ((taken, update),) = source.pairs()
    assert (taken.note, taken.copied_from) == ("why not", source.edits[0].id)
    assert update[0].a.tolist() == factors(1)[0].a.tolist()
    assert list(source.pairs(without={source.edits[0].id})) == []


def test_what_something_is_follows_from_what_it_holds(stack: Path, tmp_path: Path) -> None:
    with Stack.open(stack) as opened:
        write_bundle(opened, tmp_path / "x.dat")
        shutil.copy(opened.path_of(opened.line[0]), tmp_path / "one.safetensors")
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "link").symlink_to(tmp_path / "x.dat")
    kinds = [open_source(tmp_path / name).kind for name in ("x.dat", "one.safetensors", "adapter", "link")]
    assert kinds == ["bundle", "edit", "adapter", "bundle"]


def test_what_is_nothing_to_import_is_said(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello", encoding="utf-8")
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.safetensors").write_bytes(b"\0" * 20)
    os.mkfifo(tmp_path / "pipe")
    for name, error in (("text", UsageError), ("empty", UsageError), ("no", UsageError), ("x.safetensors", StackError)):
        with pytest.raises(error):
            open_source(tmp_path / name)
    with pytest.raises(StackError, match="not a regular file"):
        open_source(tmp_path / "pipe")


def test_a_changed_edit_file_is_not_the_edit_it_says_it_is(stack: Path, tmp_path: Path) -> None:
    data = bytearray(next(stack.glob("0001-*")).read_bytes())
    data[-1] ^= 1
    (tmp_path / "x.safetensors").write_bytes(data)
    with pytest.raises(VerificationError):
        open_source(tmp_path / "x.safetensors")


def test_a_stack_is_empty_while_it_has_no_edits(stack: Path, tmp_path: Path) -> None:
    with Stack.open(tmp_path / "empty", write=True, base=base()):
        pass
    (tmp_path / "bare").mkdir()
    assert all(is_empty(tmp_path / name) for name in ("empty", "bare", "nowhere"))
    assert not is_empty(stack)
    (stack / "stack.json").unlink()
    (stack / "journal.jsonl").unlink()
    for path in stack.glob("*.safetensors"):
        path.write_bytes(b"")
    assert not is_empty(stack)


def test_an_empty_stack_of_another_base_takes_nothing(stack: Path, tmp_path: Path) -> None:
    with Stack.open(tmp_path / "empty", write=True, base=base("e" * 64)):
        pass
    before = sorted((path.name, path.read_bytes()) for path in (tmp_path / "empty").iterdir())
    with pytest.raises(BaseMismatch):
        take(tmp_path / "empty", Stack.open(stack))
    assert sorted((path.name, path.read_bytes()) for path in (tmp_path / "empty").iterdir()) == before


@pytest.mark.parametrize("new", [True, False])
def test_a_power_cut_at_any_moment_leaves_all_or_nothing(stack: Path, tmp_path: Path, new: bool) -> None:
    view, wanted = Stack.open(stack), content(stack)
    outcomes = set()
    for moment in range(200):
        target = tmp_path / f"target-{moment}"
        if not new:
            with Stack.open(target, write=True, base=base()):
                pass
        with mock.patch.object(files, "os", Disk(fail_at=moment)) as disk:
            try:
                take(target, view)
            except PowerCutError:
                assert disk.dead
        whole = _settled(target, wanted)
        outcomes.add(whole)
        if not disk.dead:
            assert whole
            break
    assert outcomes == {True, False}


def _settled(target: Path, wanted: tuple[Index, set[str]]) -> bool:
    """Whether the stack at `target` is whole; else it must be empty, or not there."""
    if not target.exists():
        return False
    with Stack.open(target, write=True, base=base()) as opened:
        assert not opened.broken
    with Stack.open(target) as again:
        assert again.findings == ()
    index, held = content(target)
    if index == wanted[0]:
        assert held == wanted[1]
        return True
    assert (index.order, index.position, index.branches) == ((), 0, {})
    return False


@pytest.mark.parametrize("new", [True, False])
def test_a_full_disk_at_any_moment_leaves_all_or_nothing(stack: Path, tmp_path: Path, new: bool) -> None:
    view, target = Stack.open(stack), tmp_path / "target"
    moments = 0
    for moment in range(200):
        shutil.rmtree(target, ignore_errors=True)
        if not new:
            with Stack.open(target, write=True, base=base()):
                pass
        with mock.patch.object(files, "os", Disk(fail_at=moment, error=28)) as disk:
            try:
                take(target, view)
            except StorageError:
                moments += 1
                synced_last = disk.log[-1] == "fsync" and new and target.exists()
                assert content(target) == content(stack) if synced_last else is_empty(target)
            else:
                break
    assert moments > 10
    assert content(target) == content(stack)
    assert {path.name for path in tmp_path.iterdir()} == {"stack", "target"}
