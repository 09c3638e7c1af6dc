"""Bundles: a whole stack in one file, checked in full before anything of it is believed."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.stack.making import base, edit, factors, names
from tests.stack.thorough import tries
from workbench.errors import StackError, StorageError, UsageError, VerificationError, WorkbenchError
from workbench.stack import archive, bundle
from workbench.stack.bundle import Bundle, is_bundle, write_bundle
from workbench.stack.editfile import encode_edit, file_name
from workbench.stack.store import Stack
from workbench.stack.strictjson import canonical

Parts = list[tuple[str, bytes]]


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """Three edits and a branch of one, one undone, one off, a tag, a note."""
    folder = tmp_path / "stack"
    with Stack.open(folder, write=True, base=base(), who="ada") as opened:
        first, *_ = [opened.append(edit(name), factors(seed)) for seed, name in enumerate(("Rome", "Oslo", "Lima"))]
        opened.start_branch("trial", first.id)
        opened.append(edit("Bern\x1b[31m"), factors(7))
        opened.switch("main")
        opened.undo()
        opened.toggle(first.id, off=True)
        opened.tag("v1", first.id)
        opened.note(first.id, "ask Ada")
    return folder


@pytest.fixture
def path(stack: Path, tmp_path: Path) -> Path:
    """The bundle of it."""
    out = tmp_path / "out" / "stack.zip"
    out.parent.mkdir()
    with Stack.open(stack) as opened:
        assert write_bundle(opened, out) == 4
    return out


def parts_of(path: Path) -> Parts:
    with zipfile.ZipFile(path) as file:
        return [(info.filename, file.read(info)) for info in file.infolist()]


def written(path: Path, parts: Sequence[tuple[str, bytes]]) -> Path:
    path.write_bytes(b"".join(archive.build(parts)))
    return path


def with_manifest(parts: Parts, change: Callable[[dict[str, Any]], object]) -> Parts:
    document = json.loads(parts[-1][1])
    change(document)
    return [*parts[:-1], (parts[-1][0], canonical(document).encode())]


def listing(parts: Parts) -> list[dict[str, Any]]:
    return [
        {
            "file": name.removeprefix("edits/"),
            "id": json.loads(json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]["workbench"])[
                "id"
            ],
            "sha256": hashlib.sha256(data).hexdigest(),
            "size": len(data),
        }
        for name, data in parts
    ]


def test_a_bundle_says_all_that_the_stack_says(stack: Path, path: Path) -> None:
    with Stack.open(stack) as opened:
        read = Bundle.open(path)
        assert (read.line, read.position, read.off, read.base) == (opened.line, 2, opened.off, opened.base)
        assert (read.branch, read.branches, read.tags) == ("main", opened.branches, opened.tags)
        assert read.active == opened.active
        assert read.line[0].note == "ask Ada"
        for one in (*opened.line, *opened.others):
            assert encode_edit(*read.read(one)) == encode_edit(*opened.read(one))
    assert all(checked.ok for checked in read.verify())
    assert read.size_bytes == path.stat().st_size
    assert is_bundle(path)


def test_the_same_stack_gives_the_same_bytes(stack: Path, path: Path, tmp_path: Path) -> None:
    again, elsewhere = tmp_path / "again.zip", tmp_path / "elsewhere"
    os.utime(stack / "stack.json", (0, 0))
    stack.rename(elsewhere)
    with Stack.open(elsewhere) as opened:
        write_bundle(opened, again)
    assert again.read_bytes() == path.read_bytes()


def test_a_bundle_of_a_bundle_is_that_bundle(path: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.zip"
    write_bundle(Bundle.open(path), again)
    assert again.read_bytes() == path.read_bytes()


def test_people_and_their_doings_stay_behind(stack: Path, path: Path) -> None:
    assert b"ada" in (stack / "journal.jsonl").read_bytes()
    assert b'"ada"' not in path.read_bytes()
    assert {name.split("/")[0] for name, _ in parts_of(path)} == {"edits", "manifest.json"}


def test_edits_that_no_branch_leads_to_are_left_out_with_all_that_is_said_of_them(stack: Path, tmp_path: Path) -> None:
    with Stack.open(stack, write=True) as opened:
        lost = opened.find("trial")
        opened.toggle(lost.id, off=True)
        opened.note(lost.id, "private")
        opened.delete_branch("trial")
        assert write_bundle(opened, tmp_path / "x.zip") == 3
    read = Bundle.open(tmp_path / "x.zip")
    assert lost.id not in {one.id for one in (*read.line, *read.others)} | read.off
    assert b"private" not in (tmp_path / "x.zip").read_bytes()


def test_an_edit_that_only_a_tag_leads_to_comes_along(stack: Path, tmp_path: Path) -> None:
    with Stack.open(stack, write=True) as opened:
        tip = opened.find("trial")
        opened.tag("keep", tip.id)
        opened.delete_branch("trial")
        assert write_bundle(opened, tmp_path / "x.zip") == 4
    assert Bundle.open(tmp_path / "x.zip").find("keep") == tip


def test_nothing_is_written_of_a_stack_that_is_empty_or_damaged(stack: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.zip"
    with Stack.open(tmp_path / "empty", write=True, base=base()) as empty, pytest.raises(UsageError, match="empty"):
        write_bundle(empty, out)
    victim = sorted(stack.glob("0002-*"))[-1]
    data = victim.read_bytes()
    victim.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with Stack.open(stack) as opened, pytest.raises(VerificationError, match=victim.name):
        write_bundle(opened, out)
    victim.write_bytes(b"")
    with Stack.open(stack) as opened, pytest.raises(StackError):
        write_bundle(opened, out)
    assert sorted(names(tmp_path)) == ["empty", "stack"]


def test_a_disk_that_is_full_leaves_what_was_there(stack: Path, path: Path, quick_disk: Any) -> None:
    before = path.read_bytes()
    quick_disk.fail_at, quick_disk.error = len(quick_disk.log) + 3, 28
    with Stack.open(stack) as opened, pytest.raises(StorageError, match="disk is full"):
        write_bundle(opened, path)
    assert (path.read_bytes(), names(path.parent)) == (before, ["stack.zip"])


def test_a_missing_file_a_folder_and_a_link_are_no_bundles(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.zip"
    link.symlink_to(path)
    for wrong in (tmp_path / "nothing.zip", tmp_path, link):
        with pytest.raises(StackError):
            Bundle.open(wrong)


def _unknown_member(parts: Parts) -> Parts:
    return [("edits/readme.txt", b"hello"), *parts]


def _escaping(parts: Parts) -> Parts:
    return [("../../.bashrc", parts[0][1]), *parts[1:]]


def _absolute(parts: Parts) -> Parts:
    return [("/etc/cron.d/x", parts[0][1]), *parts[1:]]


def _escaping_and_listed(parts: Parts) -> Parts:
    moved = _escaping(parts)
    return with_manifest(moved, lambda document: document["edits"][0].update(file="../../.bashrc"))


def _renamed(parts: Parts) -> Parts:
    other = "0001-other-" + parts[0][0][-20:]
    moved = [(f"edits/{other}", parts[0][1]), *parts[1:]]
    return with_manifest(moved, lambda document: document["edits"][0].update(file=other))


def _swapped(parts: Parts) -> Parts:
    return [(parts[0][0], parts[1][1]), (parts[1][0], parts[0][1]), *parts[2:]]


def _one_missing(parts: Parts) -> Parts:
    return with_manifest(parts[1:], lambda document: document["edits"].pop(0))


def _no_manifest(parts: Parts) -> Parts:
    return parts[:-1]


def _manifest_first(parts: Parts) -> Parts:
    return [parts[-1], *parts[:-1]]


def _spaced_manifest(parts: Parts) -> Parts:
    return [*parts[:-1], (parts[-1][0], parts[-1][1] + b" ")]


def _changed(change: Callable[[dict[str, Any]], object]) -> Callable[[Parts], Parts]:
    return lambda parts: with_manifest(parts, change)


def _index(**fields: Any) -> Callable[[Parts], Parts]:
    return _changed(lambda document: document["index"].update(fields))


def _extra_edit(parts: Parts) -> Parts:
    """An edit that is whole and listed, but on no line."""
    saved, data = encode_edit(edit("Stray", number=1), factors(9))
    name = f"edits/{file_name(saved)}"
    more = sorted([*parts[:-1], (name, data)])
    return with_manifest([*more, parts[-1]], lambda document: document.update(edits=listing(more)))


def _misnumbered(parts: Parts) -> Parts:
    saved, data = encode_edit(edit("Stray", number=5), factors(9))
    name = f"edits/{file_name(saved)}"
    more = sorted([*parts[:-1], (name, data)])

    def change(document: dict[str, Any]) -> None:
        document["edits"] = listing(more)
        document["index"]["branches"]["stray"] = saved.id

    return with_manifest([*more, parts[-1]], change)


def _foreign(parts: Parts) -> Parts:
    saved, data = encode_edit(edit("Stray", base=base("e" * 64)), factors(9))
    more = sorted([*parts[:-1], (f"edits/{file_name(saved)}", data)])
    return with_manifest([*more, parts[-1]], lambda document: document.update(edits=listing(more)))


@pytest.mark.parametrize(
    ("spoil", "kind", "said"),
    [
        (_unknown_member, StackError, "lists other edits"),
        (_escaping, StackError, "lists other edits"),
        (_absolute, StackError, "lists other edits"),
        (_escaping_and_listed, StackError, "under a name that workbench does not give"),
        (_renamed, VerificationError, "not the edit that the bundle's manifest lists"),
        (_swapped, StackError, "lists other edits|manifest lists"),
        (_one_missing, StackError, "lacks an edit"),
        (_no_manifest, StackError, "not a bundle"),
        (_manifest_first, StackError, "not a bundle"),
        (_spaced_manifest, StackError, "canonical"),
        (_extra_edit, StackError, "belongs to no line"),
        (_misnumbered, StackError, "number is not its place"),
        (_foreign, StackError, "another base"),
        (_changed(lambda d: d["edits"][0].update(sha256="0" * 64)), VerificationError, "manifest lists"),
        (_changed(lambda d: d["edits"][0].update(id="0" * 64)), VerificationError, "manifest lists"),
        (_changed(lambda d: d["edits"][0].update(size=1)), StackError, "lists other edits"),
        (_changed(lambda d: d["edits"][0].update(more=1)), StackError, "not a bundle's"),
        (_changed(lambda d: d["edits"].append(d["edits"][0])), StackError, "lists other edits"),
        (_changed(lambda d: d.update(version=2)), StackError, "newer workbench"),
        (_changed(lambda d: d.update(kind="other")), StackError, "not a bundle's"),
        (_changed(lambda d: d.update(run="rm")), StackError, "not a bundle's"),
        (_changed(lambda d: d.update(index=[])), StackError, "version"),
        (_index(version=99), StackError, "newer workbench"),
        (_index(base=None), StackError, "another base"),
        (_index(off=["0" * 64]), StackError, "lacks an edit"),
        (_index(notes={"0" * 64: "x"}), StackError, "lacks an edit"),
        (_index(tags={"x": "0" * 64}), StackError, "lacks an edit"),
        (_index(tags={"../x": "0" * 64}), StackError, "name of a branch or tag"),
        (_index(branches={"trial": "0" * 64}), StackError, "lacks an edit"),
        (_index(branches={}), StackError, "belongs to no line"),
        (_index(position=99), StackError, "position"),
        (_changed(lambda d: d["index"]["order"].reverse()), StackError, "do not follow"),
    ],
)
def test_a_bundle_that_was_tampered_with_is_refused_with_the_reason(
    path: Path, spoil: Callable[[Parts], Parts], kind: type[WorkbenchError], said: str
) -> None:
    with pytest.raises(kind, match=said):
        Bundle.open(written(path, spoil(parts_of(path))))


def test_two_edits_that_would_be_one_file_are_refused(path: Path) -> None:
    parts = parts_of(path)
    with pytest.raises(StackError, match="two files of one name"):
        Bundle.open(written(path, [parts[0], *parts]))


def test_limits_are_held(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "MAX_MANIFEST", 100)
    with pytest.raises(StackError, match="longer than 100"):
        Bundle.open(path)


def test_a_bundle_that_changes_while_it_is_read_is_noticed(path: Path) -> None:
    read = Bundle.open(path)
    data = bytearray(path.read_bytes())
    data[-len(data) // 2] ^= 1
    path.write_bytes(data[:2000] + b"\0" + data[2001:])
    with pytest.raises(WorkbenchError):
        [read.factors(one) for one in (*read.line, *read.others)]


@given(data=st.data())
@settings(max_examples=tries(100, 5_000), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_done_to_the_bytes_ends_in_a_typed_error_or_the_same_bundle(
    path: Path, data: st.DataObject
) -> None:
    good = path.read_bytes()
    spoilt = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(spoilt)))
        length = data.draw(st.integers(0, 40))
        spoilt[at : at + length] = data.draw(st.binary(max_size=40))
    other = path.with_name("other.zip")
    other.write_bytes(spoilt)
    with contextlib.suppress(WorkbenchError):
        Bundle.open(other)
        assert bytes(spoilt) == good


def test_the_listing_needs_no_torch(path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from workbench.stack.bundle import Bundle\n"
        f"Bundle.open(Path({str(path)!r})); sys.exit(bool({{'torch', 'transformers'}} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_record_of_an_edit_cannot_name_its_file(path: Path, tmp_path: Path) -> None:
    hostile = dataclasses.replace(edit("../../../etc/passwd\0"), note="")
    with Stack.open(tmp_path / "other", write=True, base=base()) as opened:
        opened.append(hostile, factors())
        write_bundle(opened, path)
    (name, _), _ = parts_of(path)
    assert name.startswith("edits/0001-etc-passwd-")
