"""A file is there whole or not at all, and a disk that refuses says so in plain words."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from tests.stack.making import Disk, PowerCutError, names
from workbench.errors import StackError, StorageError
from workbench.stack import files

NEEDS_USER = pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0, reason="an administrator may write anywhere"
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    files.write_atomic(tmp_path / "a", b"one")
    files.write_atomic(tmp_path / "a", b"two")
    assert files.read_bytes(tmp_path / "a", 10) == b"two"
    assert names(tmp_path) == ["a"]


def test_a_file_is_on_the_disk_before_it_has_its_name_and_then_the_folder_is(tmp_path: Path, quick_disk: Disk) -> None:
    files.write_atomic(tmp_path / "a", b"one")
    assert quick_disk.log == ["write", "fsync", "replace", "fsync"]


def test_a_line_is_on_the_disk_before_appending_returns(tmp_path: Path, quick_disk: Disk) -> None:
    files.append_line(tmp_path / "log", b"one\n")
    files.append_line(tmp_path / "log", b"two\n")
    assert quick_disk.log == ["write", "fsync", "fsync", "write", "fsync"]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "the disk quota is used up"),
        (errno.EROFS, "the file system is read-only"),
        (errno.EACCES, "permission is denied"),
        (errno.EIO, "the disk reports an error"),
    ],
)
def test_a_disk_that_refuses_is_told_in_plain_words(
    number: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write_atomic(tmp_path / "a", b"before")
    for step in range(4):
        monkeypatch.setattr(files, "os", Disk(step, number))
        with pytest.raises(StorageError, match=f"Cannot write a: {words}.") as caught:
            files.write_atomic(tmp_path / "a", b"after" * 100)
        assert caught.value.hint
        monkeypatch.undo()
        assert names(tmp_path) == ["a"]
        assert (tmp_path / "a").read_bytes() in (b"before", b"after" * 100)


def test_a_power_cut_leaves_the_old_or_the_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for step in range(4):
        (tmp_path / "a").write_bytes(b"before")
        monkeypatch.setattr(files, "os", Disk(step))
        with pytest.raises(PowerCutError):
            files.write_atomic(tmp_path / "a", b"after")
        monkeypatch.undo()
        assert (tmp_path / "a").read_bytes() == (b"before" if step < 3 else b"after")


def test_a_line_that_did_not_fit_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.append_line(tmp_path / "log", b"one\n")
    monkeypatch.setattr(files, "os", Disk(0, errno.ENOSPC))
    with pytest.raises(StorageError, match="full"):
        files.append_line(tmp_path / "log", b"two\n")
    assert (tmp_path / "log").read_bytes() == b"one\n"


def test_a_line_after_a_torn_one_starts_on_its_own(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"one\ntw")
    files.append_line(tmp_path / "log", b"three\n")
    assert (tmp_path / "log").read_bytes() == b"one\ntw\nthree\n"


def test_a_file_in_a_folders_place_is_told_in_plain_words(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    for folder in (tmp_path / "a", tmp_path / "a" / "b"):
        with pytest.raises(StorageError, match="a file stands where a folder should be"):
            files.make_folder(folder)


@NEEDS_USER
def test_a_folder_that_may_not_be_written_is_told_in_plain_words(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="permission is denied"):
        files.write_atomic(tmp_path / "a", b"x")
    tmp_path.chmod(0o700)


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"mine")
    (tmp_path / "a").symlink_to(tmp_path / "target")
    files.write_atomic(tmp_path / "a", b"new")
    assert (tmp_path / "target").read_bytes() == b"mine"
    (tmp_path / "log").symlink_to(tmp_path / "target")
    with pytest.raises(StorageError):
        files.append_line(tmp_path / "log", b"x\n")
    assert (tmp_path / "target").read_bytes() == b"mine"


def test_more_than_the_limit_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    with pytest.raises(StackError, match="larger than 4 bytes"):
        files.read_bytes(tmp_path / "a", 4)


def test_removing_what_is_not_there_is_fine(tmp_path: Path) -> None:
    files.remove(tmp_path / "a")
    (tmp_path / "a").write_bytes(b"")
    files.remove(tmp_path / "a")
    assert not names(tmp_path)


def test_a_folder_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "above" / "out"

    def fill_half() -> None:
        with files.folder_atomic(target) as unfinished:
            (unfinished / "half").write_text("of it")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(StorageError, match="the disk is full"):
        fill_half()
    assert names(target.parent) == []
    target.mkdir()
    with files.folder_atomic(target) as unfinished:
        (unfinished / "all").write_text("of it")
    assert names(target.parent) == ["out"]
    assert names(target) == ["all"]
