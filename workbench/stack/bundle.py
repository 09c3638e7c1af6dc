"""The bundle: a whole stack as one file, to be listed, checked and read without unpacking it.

A zip of stored members: `edits/<file name>` for every edit that a branch or tag leads to, then `manifest.json`, which
says what each of them is and holds the stack's index. The journal stays behind: it names people. The same stack gives
the same bytes. A stranger's bundle is checked in full before anything of it is believed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from workbench.errors import AlteredFile, StackError, UsageError
from workbench.stack import archive, files
from workbench.stack.audit import Checked
from workbench.stack.editfile import decode_edit, file_name
from workbench.stack.index import Index
from workbench.stack.journal import Journal
from workbench.stack.lineage import Found, line_of
from workbench.stack.reconcile import Opened, belongs
from workbench.stack.record import Edit, check_id, check_version
from workbench.stack.strictjson import MalformedError, canonical, naming, parse
from workbench.stack.view import StackView

SUFFIX = ".zip"
FORMAT = 1
"""Version of the bundle."""
KIND = "workbench-bundle"
MANIFEST = "manifest.json"
FOLDER = "edits/"
MAX_MANIFEST = 64 * 1024 * 1024
"""Longest manifest, in bytes."""

EDIT_FILE = re.compile(r"[0-9]{4,7}-[a-z0-9-]{1,40}-[0-9a-f]{8}\.safetensors")
"""The names that edit files have."""
_HINT = "Ask for the bundle again; nothing of it was used."


def write_bundle(stack: StackView, out: Path) -> int:
    """Writes `stack` as a bundle at `out`, whole or not at all; returns how many edits it holds.

    Raises:
        UsageError: the stack is empty, or too large for one file.
        StackError, VerificationError: an edit is damaged or missing; nothing was written.
        StorageError: the disk would not take it; nothing was written.
    """
    if stack.incomplete:
        raise StackError(stack.incomplete, "Only a whole stack can be bundled; see workbench verify.")
    reached = edits_reached(stack)
    if not reached:
        raise UsageError("The stack is empty.", "There is nothing to bundle.")
    files.make_folder(out.parent)
    try:
        files.write_parts(out, archive.build(_members(stack, reached)))
    except MalformedError as error:
        raise UsageError(f"The bundle {error}.", "Share the stack's folder instead.") from error
    return len(reached)


class Bundle(StackView):
    """A bundle as a stack that can be read; made by `Bundle.open`, which checks all of it."""

    def __init__(self, path: Path, opened: Opened, members: Mapping[str, archive.Member], size: int) -> None:
        super().__init__(path, opened, None)
        self._members = members
        self._size = size

    @classmethod
    def open(cls, path: Path) -> Self:
        """Reads and checks a bundle: container, manifest, and every edit in full. Torch is not needed.

        Raises:
            StackError: it is damaged, hostile or no bundle, or a newer workbench wrote it.
            VerificationError: an edit in it is not the one it says it is.
            StorageError: it may not be read.
        """
        with files.storage("read", path), files.open_regular(path) as (descriptor, size), naming(path.name, _HINT):
            members = archive.read_directory(descriptor, size)
            index, listed = _manifest(descriptor, members)
            found = Found()
            for member, entry in zip(members, listed, strict=False):
                edit = _edit(archive.read_member(descriptor, member), member, entry)
                found.edits[edit.id], found.paths[edit.id] = edit, path / file_name(edit)
            check_whole(index, found.edits)
        opened = Opened(index, found, _NoJournal(path), [], [], rebuilt=False)
        return cls(path, opened, {member.name.removeprefix(FOLDER): member for member in members}, size)

    @property
    def size_bytes(self) -> int:
        """Size of the bundle."""
        return self._size

    def data(self, edit: Edit) -> bytes:
        """The file of an edit as it is in the bundle. Raises StackError, StorageError."""
        member = self._members[self.path_of(edit).name]
        path = self.folder
        with files.storage("read", path), files.open_regular(path) as (descriptor, _), naming(path.name, _HINT):
            return archive.read_member(descriptor, member)

    def verify(self) -> tuple[Checked, ...]:
        """One result an edit: opening has checked them all."""
        return tuple(Checked(path.name, ident) for ident, path in self._found.paths.items())


class _NoJournal(Journal):
    """A bundle has none."""

    def _read(self) -> list[Any]:
        return []


def is_bundle(path: Path) -> bool:
    """Whether the file at `path` begins as a zip does. Raises StackError, StorageError if it cannot be read."""
    with files.storage("read", path), files.open_regular(path) as (descriptor, _):
        return files.read_exactly(descriptor, 2) == b"PK"


def edits_reached(stack: StackView) -> dict[str, Edit]:
    """The edits that a branch or tag leads to, by file name."""
    words = [*(branch.name for branch in stack.branches if not branch.current), *stack.tags]
    lines = [stack.line, *(stack.line_at(word) for word in words)]
    return dict(sorted((file_name(edit), edit) for line in lines for edit in line))


def _members(stack: StackView, reached: Mapping[str, Edit]) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of every edit, checked in full on the way, and of the manifest."""
    listed = []
    notes = {}
    for name, edit in reached.items():
        data = stack.data(edit)
        kept, _ = decode_edit(data, name)
        if kept.id != edit.id:
            raise AlteredFile(f"{name} is no longer the edit that it was.", "Get an intact copy.")
        if stack.note_of(kept) != kept.note:
            notes[kept.id] = stack.note_of(kept)
        listed.append({"file": name, "id": kept.id, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)})
        yield FOLDER + name, data
    index = shared_index(stack, {edit.id for edit in reached.values()}, notes)
    document = {"kind": KIND, "version": FORMAT, "index": parse(index.encode()), "edits": listed}
    yield MANIFEST, canonical(document).encode("utf-8")


def shared_index(stack: StackView, held: set[str], notes: dict[str, str]) -> Index:
    """The stack's index, in one spelling, with these notes and without what it says of edits that are not `held`."""
    return Index(
        order=tuple(edit.id for edit in stack.line),
        position=stack.position,
        off=tuple(sorted(stack.off & held)),
        notes=notes,
        base=stack.base,
        branch=stack.branch,
        branches={branch.name: branch.tip for branch in stack.branches if not branch.current},
        tags=stack.tags,
    )


def _manifest(descriptor: int, members: Sequence[archive.Member]) -> tuple[Index, list[dict[str, Any]]]:
    """The index, and for every member but the last what it shall be."""
    if not members or members[-1].name != MANIFEST:
        raise MalformedError("is a zip file, but not a bundle of workbench")
    if members[-1].size > MAX_MANIFEST:
        raise MalformedError(f"has a manifest longer than {MAX_MANIFEST} bytes")
    text = archive.read_member(descriptor, members[-1])
    document = parse(text)
    check_version(document, FORMAT)
    if document.keys() != {"kind", "version", "index", "edits"} or document["kind"] != KIND:
        raise MalformedError("has a manifest that is not a bundle's")
    if canonical(document).encode("utf-8") != text:
        raise MalformedError("has a manifest that is not in its canonical form")
    listed = document["edits"]
    if not isinstance(listed, list) or len(listed) != len(members) - 1:
        raise MalformedError("has a manifest that lists other edits than are there")
    for entry, member in zip(listed, members, strict=False):
        _check_entry(entry, member)
    return Index.decode(canonical(document["index"]).encode("utf-8")), listed


def _check_entry(entry: object, member: archive.Member) -> None:
    if not isinstance(entry, dict) or entry.keys() != {"file", "id", "sha256", "size"}:
        raise MalformedError("has a manifest that is not a bundle's")
    check_id(entry["id"])
    check_id(entry["sha256"])
    if not isinstance(entry["file"], str) or not EDIT_FILE.fullmatch(entry["file"]):
        raise MalformedError("lists an edit under a name that workbench does not give")
    if FOLDER + entry["file"] != member.name or entry["size"] != member.size:
        raise MalformedError("has a manifest that lists other edits than are there")


def _edit(data: bytes, member: archive.Member, entry: Mapping[str, Any]) -> Edit:
    """The edit that `member` holds, if it is the one that the manifest's `entry` says."""
    if hashlib.sha256(data).hexdigest() != entry["sha256"]:
        raise AlteredFile(f"{member.name} is not the file that the bundle's manifest lists.", _HINT)
    edit, _ = decode_edit(data, member.name)
    if edit.id != entry["id"] or file_name(edit) != entry["file"]:
        raise AlteredFile(f"{member.name} is not the edit that the bundle's manifest lists.", _HINT)
    return edit


def check_whole(index: Index, edits: Mapping[str, Edit]) -> None:
    """Raises MalformedError if a line is not whole, or something is said of an edit that is not there."""
    tips = {tip for tip in (*index.tips.values(), *index.tags.values()) if tip}
    if index.base is None or any(not belongs(index.base, edit) for edit in edits.values()):
        raise MalformedError("holds an edit of another base than it says")
    if not edits.keys() >= {*index.order, *index.off, *index.notes, *tips}:
        raise MalformedError("lacks an edit that it speaks of")
    for edit in edits.values():
        _check_place(edit, edits)
    if line_of(edits, index.tip) != index.order:
        raise MalformedError("has a line whose edits do not follow on each other")
    if _reachable(edits, tips) != edits.keys():
        raise MalformedError("holds an edit that belongs to no line of it")


def _check_place(edit: Edit, edits: Mapping[str, Edit]) -> None:
    if edit.parent is not None and edit.parent not in edits:
        raise MalformedError("lacks an edit of one of its lines")
    if edit.number != (edits[edit.parent].number + 1 if edit.parent else 1):
        raise MalformedError("holds an edit whose number is not its place")


def _reachable(edits: Mapping[str, Edit], tips: Iterable[str]) -> set[str]:
    """Ids of all edits that lead to `tips`, each visited once."""
    seen: set[str] = set()
    for tip in tips:
        at: str | None = tip
        while at is not None and at not in seen:
            seen.add(at)
            at = edits[at].parent
    return seen
