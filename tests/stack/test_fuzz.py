"""Whatever a file holds, reading it ends well or in one plain sentence: never another error, never a changed folder.

The number of tries is small; with WORKBENCH_THOROUGH=1 it is in the thousands for each test.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.stack.making import base, edit, factors, names
from tests.stack.mutating import changed_bytes, changed_edit, changed_json, spelled
from tests.stack.thorough import tries
from workbench.errors import StackError, VerificationError, WorkbenchError
from workbench.stack import archive
from workbench.stack.bundle import FOLDER, MANIFEST, Bundle, write_bundle
from workbench.stack.editfile import decode_edit, encode_edit, read_header
from workbench.stack.glance import glance
from workbench.stack.lock import WriterLock
from workbench.stack.store import Stack
from workbench.stack.strictjson import MalformedError, canonical, parse, parse_canonical

NAME = "0001-gift-00000000.safetensors"
GOOD = encode_edit(edit(created="2026-01-02T03:04:05+00:00"), factors())[1]

often = settings(max_examples=tries(150, 5_000), deadline=None, suppress_health_check=[HealthCheck.too_slow])
seldom = settings(max_examples=tries(40, 1_500), deadline=None, suppress_health_check=[HealthCheck.too_slow])


@contextmanager
def fresh(make: Callable[[], Path]) -> Iterator[Path]:
    """A copy of what `make` gives, to be harmed."""
    with tempfile.TemporaryDirectory() as place:
        yield Path(shutil.copytree(make(), Path(place) / "stack"))


@cache
def stack() -> Path:
    """Three edits, one undone, one on another branch, one off, a tag and a note."""
    folder = Path(tempfile.mkdtemp())
    with Stack.open(folder, write=True, base=base()) as made:
        for number, subject in enumerate("abc"):
            made.append(edit(subject), factors(number))
        made.tag("first", made.line[0].id)
        made.note(made.line[1].id, "a note")
        made.undo()
        made.append(edit("d"), factors(7))
        made.toggle(made.line[0].id, off=True)
    return folder


@cache
def bundle() -> bytes:
    out = Path(tempfile.mkdtemp()) / "stack.zip"
    with Stack.open(stack()) as made:
        write_bundle(made, out)
    return out.read_bytes()


def plainly(error: WorkbenchError, begin: str = "") -> None:
    """It is one sentence, beginning so."""
    assert error.message.startswith(begin)
    assert error.message.endswith(".")
    assert "\n" not in error.message
    assert len(error.message) < 500


def read_edit_bytes(data: bytes) -> None:
    try:
        found, _ = decode_edit(data, NAME)
    except (StackError, VerificationError) as error:
        plainly(error, NAME)
        return
    again, _ = encode_edit(found, decode_edit(data, NAME)[1])
    assert again.id == found.id


@often
@given(st.data())
def test_a_changed_edit_file_is_refused_in_one_sentence(data: st.DataObject) -> None:
    read_edit_bytes(changed_edit(data.draw, GOOD))


@often
@given(st.binary(max_size=300), st.booleans())
def test_random_bytes_are_no_edit(content: bytes, framed: bool) -> None:
    read_edit_bytes(len(content).to_bytes(8, "little") + content if framed else content)


@often
@given(st.data())
def test_a_header_alone_is_read_as_safely(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / NAME
        path.write_bytes(changed_edit(data.draw, GOOD))
        try:
            read_header(path)
        except StackError as error:
            plainly(error)


@often
@given(st.data())
def test_json_is_read_as_itself_or_refused(data: st.DataObject) -> None:
    good = json.loads(GOOD[8 : 8 + int.from_bytes(GOOD[:8], "little")])
    text = data.draw(st.sampled_from([spelled, lambda draw, _: changed_bytes(draw, json.dumps(good).encode())]))(
        data.draw, changed_json(data.draw, good)
    )
    for read in (parse, lambda raw: parse_canonical(raw.decode("utf-8"))):
        try:
            document = read(text)
        except (MalformedError, UnicodeDecodeError):
            continue
        assert json.loads(canonical(document)) == document


def use(folder: Path) -> None:
    """Opens a stack in every way, and looks at and changes all that can be."""
    harmed = {path.name: path.read_bytes() for path in folder.iterdir()}
    with Stack.open(folder) as seen:
        line, position = seen.line, seen.position
        assert 0 <= position <= len(line)
        assert (seen.branches, seen.others, seen.journal, seen.verify(), seen.tags, seen.active) is not None
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == harmed
    if (quick := glance(folder)) is not None and (page := quick.page(range(1, quick.length + 1))) is not None:
        assert [one.id for one in page] == [one.id for one in line]
    with Stack.open(folder, write=True, base=base()) as held:
        assert (held.line, held.position) == (line, position)
        held.append(edit("new"), factors(99))
    with Stack.open(folder) as after:
        assert after.applied[-1].request.subject == "new"
        assert after.applied[:-1] == line[:position]


def harmed(data: st.DataObject, name: str, change: Callable[[bytes], bytes]) -> None:
    with fresh(stack) as folder:
        (folder / name).write_bytes(change((folder / name).read_bytes()))
        before = names(folder)
        try:
            use(folder)
        except WorkbenchError as error:
            plainly(error)
            assert [name for name in before if name.endswith(".safetensors") and name not in names(folder)] == []


@seldom
@given(st.data())
def test_a_stack_with_a_changed_index_opens_or_says_why_not(data: st.DataObject) -> None:
    def change(content: bytes) -> bytes:
        if data.draw(st.booleans()):
            return changed_bytes(data.draw, content)
        return spelled(data.draw, changed_json(data.draw, json.loads(content)))

    harmed(data, "stack.json", change)


@seldom
@given(st.data())
def test_a_stack_with_a_changed_journal_opens_or_says_why_not(data: st.DataObject) -> None:
    def change(content: bytes) -> bytes:
        lines = content.splitlines(keepends=True)
        at = data.draw(st.integers(0, len(lines) - 1))
        kind = data.draw(st.sampled_from(["json", "bytes", "leave out", "double", "random"]))
        if kind == "json":
            lines[at] = spelled(data.draw, changed_json(data.draw, json.loads(lines[at]))) + b"\n"
        elif kind == "bytes":
            return changed_bytes(data.draw, content)
        elif kind == "random":
            lines[at] = data.draw(st.binary(max_size=60))
        else:
            lines[at : at + 1] = [] if kind == "leave out" else [lines[at]] * 2
        return b"".join(lines)

    harmed(data, "journal.jsonl", change)


@seldom
@given(st.data())
def test_a_stack_with_a_changed_edit_opens_or_says_why_not(data: st.DataObject) -> None:
    names_there = sorted(path.name for path in stack().glob("*.safetensors"))
    harmed(data, data.draw(st.sampled_from(names_there)), lambda content: changed_edit(data.draw, content))


@seldom
@given(st.data())
def test_a_stack_with_anything_missing_opens_or_says_why_not(data: st.DataObject) -> None:
    with fresh(stack) as folder:
        everything = names(folder)
        for name in data.draw(st.lists(st.sampled_from(everything), min_size=1, unique=True)):
            (folder / name).unlink()
        try:
            use(folder)
        except WorkbenchError as error:
            plainly(error)


def read_bundle(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "gift.zip"
        path.write_bytes(content)
        try:
            found = Bundle.open(path)
            for one in found.line:
                found.factors(one)
            found.verify()
        except (StackError, VerificationError) as error:
            plainly(error)
        assert names(Path(place)) == ["gift.zip"]


@seldom
@given(st.data())
def test_a_bundle_with_changed_bytes_is_refused_in_one_sentence(data: st.DataObject) -> None:
    read_bundle(changed_bytes(data.draw, bundle()))


def members() -> list[tuple[str, bytes]]:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "stack.zip"
        path.write_bytes(bundle())
        with path.open("rb") as file:
            listed = archive.read_directory(file.fileno(), len(bundle()))
            return [(member.name, archive.read_member(file.fileno(), member)) for member in listed]


@seldom
@given(st.data())
def test_a_bundle_put_together_by_a_stranger_is_refused_in_one_sentence(data: st.DataObject) -> None:
    parts = members()
    at = data.draw(st.integers(0, len(parts) - 1))
    name, content = parts[at]
    kind = data.draw(st.sampled_from(["content", "name", "leave out", "double", "order"]))
    if kind == "content" and name == MANIFEST:
        parts[at] = (name, spelled(data.draw, changed_json(data.draw, json.loads(content))))
    elif kind == "content":
        parts[at] = (name, changed_edit(data.draw, content))
    elif kind == "name":
        hostile = ["../x", "/etc/passwd", f"{FOLDER}../x", f"{FOLDER}a\x00b", "edits", "", "x" * 100, MANIFEST, "C:x"]
        parts[at] = (data.draw(st.sampled_from(hostile)), content)
    elif kind == "order":
        parts = data.draw(st.permutations(parts))
    else:
        parts[at : at + 1] = [] if kind == "leave out" else [(name, content)] * 2
    try:
        whole = b"".join(archive.build(parts))
    except MalformedError:
        return
    read_bundle(whole)


def test_the_files_that_are_changed_here_are_good_to_begin_with() -> None:
    read_edit_bytes(GOOD)
    assert decode_edit(GOOD, NAME)
    with fresh(stack) as folder:
        use(folder)
    assert len(Bundle.open(_written(bundle())).line) == 3


def _written(content: bytes) -> Path:
    path = Path(tempfile.mkdtemp()) / "gift.zip"
    path.write_bytes(content)
    return path


@often
@given(st.binary(max_size=200))
def test_nonsense_in_a_lock_file_is_no_obstacle(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "lock").write_bytes(content)
        lock = WriterLock(Path(place))
        assert lock.finding.isprintable()
        lock.release()


@pytest.fixture(scope="module", autouse=True)
def swept() -> Iterator[None]:
    """What was made once is taken away in the end."""
    yield
    shutil.rmtree(stack())
    stack.cache_clear()
    bundle.cache_clear()
