"""The zip container: any unzip reads it, and nothing in it can hide."""

from __future__ import annotations

import io
import os
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from workbench.stack import archive
from workbench.stack.strictjson import MalformedError

MEMBERS = [("edits/0001-a-01234567.safetensors", b"first" * 7), ("edits/b", b""), ("manifest.json", b"{}")]


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def read(path: Path) -> list[tuple[str, bytes]]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        members = archive.read_directory(descriptor, path.stat().st_size)
        return [(member.name, archive.read_member(descriptor, member)) for member in members]
    finally:
        os.close(descriptor)


def zipped(fill: Callable[[zipfile.ZipFile], None]) -> bytes:
    """What Python's own zip module makes of it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        fill(file)
    return buffer.getvalue()


def test_what_is_built_reads_back(tmp_path: Path) -> None:
    assert read(write(tmp_path / "x.zip", b"".join(archive.build(MEMBERS)))) == MEMBERS
    assert read(write(tmp_path / "empty.zip", b"".join(archive.build([])))) == []


def test_any_zip_reader_reads_it(tmp_path: Path) -> None:
    path = write(tmp_path / "x.zip", b"".join(archive.build(MEMBERS)))
    with zipfile.ZipFile(path) as file:
        assert file.testzip() is None
        assert [(info.filename, file.read(info)) for info in file.infolist()] == MEMBERS
        assert {stat.filemode(info.external_attr >> 16) for info in file.infolist()} == {"-rw-r--r--"}
        assert {info.date_time for info in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_the_same_members_give_the_same_bytes() -> None:
    assert b"".join(archive.build(MEMBERS)) == b"".join(archive.build(list(MEMBERS)))


def _link(file: zipfile.ZipFile) -> None:
    info = zipfile.ZipInfo("edits/link")
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    file.writestr(info, "/etc/passwd")


def _bomb(file: zipfile.ZipFile) -> None:
    file.writestr("manifest.json", b"\0" * 10**6, zipfile.ZIP_DEFLATED)


def _named(*names: str) -> Callable[[zipfile.ZipFile], None]:
    def fill(file: zipfile.ZipFile) -> None:
        for name in names:
            file.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), b"x")

    return fill


def _commented(file: zipfile.ZipFile) -> None:
    _named("a")(file)
    file.comment = b"hello"


def _extra(file: zipfile.ZipFile) -> None:
    info = zipfile.ZipInfo("a")
    info.extra = b"\xfe\xca\4\0spam"
    file.writestr(info, b"x")


@pytest.mark.parametrize(
    ("fill", "said"),
    [
        (_link, "link"),
        (_bomb, "compressed"),
        (_named("dir/"), "link or a folder|does not write"),
        (_named("é"), "name is not plain"),
        (_named("x" * 500), "longer names|plain and short"),
        (_commented, "bytes after its end|does not fit"),
        (_extra, "does not write|gap"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_zips_of_another_kind_are_refused_with_the_reason(
    tmp_path: Path, fill: Callable[[zipfile.ZipFile], None], said: str
) -> None:
    with pytest.raises(MalformedError, match=said):
        read(write(tmp_path / "x.zip", zipped(fill)))


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    data = b"".join(archive.build([("a", b"1"), ("a", b"2")]))
    with pytest.raises(MalformedError, match="two files of one name"):
        read(write(tmp_path / "x.zip", data))


@pytest.mark.parametrize(
    "spoil", [lambda d: b"\0" + d, lambda d: d + b"\0", lambda d: d[:-1], lambda d: d[:0], lambda d: d[30:]]
)
def test_bytes_before_behind_or_missing_are_refused(tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    with pytest.raises(MalformedError):
        read(write(tmp_path / "x.zip", spoil(b"".join(archive.build(MEMBERS)))))


def test_every_changed_bit_is_found(tmp_path: Path) -> None:
    good = b"".join(archive.build(MEMBERS))
    descriptor = os.open(write(tmp_path / "x.zip", good), os.O_RDWR)
    for bit in range(len(good) * 8):
        at, changed = bit // 8, good[bit // 8] ^ 1 << bit % 8
        os.pwrite(descriptor, bytes([changed]), at)
        with pytest.raises(MalformedError):
            [archive.read_member(descriptor, member) for member in archive.read_directory(descriptor, len(good))]
        os.pwrite(descriptor, good[at : at + 1], at)
    os.close(descriptor)


def test_limits_hold_for_writing_and_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "x.zip", b"".join(archive.build(MEMBERS)))
    monkeypatch.setattr(archive, "MAX_MEMBERS", 2)
    with pytest.raises(MalformedError, match="more than 2"):
        list(archive.build(MEMBERS))
    with pytest.raises(MalformedError, match="more than 2"):
        read(path)
    monkeypatch.undo()
    monkeypatch.setattr(archive, "MAX_FILE", 100)
    with pytest.raises(MalformedError, match="larger than 100"):
        list(archive.build(MEMBERS))
    with pytest.raises(MalformedError, match="larger than 100"):
        read(path)
