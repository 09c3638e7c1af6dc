"""`workbench log` shows a long stack again without reading it, and never what the stack no longer is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Workbench
from tests.damage import edited
from tests.stack.batches import batch
from tests.stack.making import base, edit, factors
from workbench.engine import kept_list
from workbench.models.kept import VARIABLE
from workbench.stack import lineage
from workbench.stack.editfile import read_header
from workbench.stack.store import Stack

LENGTH = 9
FORMS = [[], ["--json"], ["--reverse"], ["--skip", "4"], ["--all"]]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where lists are kept; a few edits are enough, and files need not be old."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(kept_list, "FEWEST", LENGTH)
    monkeypatch.setattr(kept_list, "SETTLED", 0)
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A line with undone edits, one that is off, a tag, a note and a branch."""
    folder = tmp_path_factory.mktemp("made") / "stack"
    with Stack.open(folder, write=True, base=base()) as made:
        for number in range(1, LENGTH):
            made.append(edit(f"subject {number}"), factors(number))
        made.append(edit("left behind"), factors(99))
        made.undo()
        made.append(edit("last\u202e"), factors(100))
        made.toggle(made.line[4].id, off=True)
        made.note(made.line[6].id, "a note written later")
        made.tag("here", made.line[2].id)
        made.undo(3)
    return folder


@pytest.fixture
def stack(made_once: Path, tmp_path: Path, cache: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(made_once, tmp_path / "stack"))


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the edit files that were read."""
    names: list[str] = []

    def counting(path: Path) -> object:
        names.append(path.name)
        return read_header(path)

    monkeypatch.setattr(lineage, "read_header", counting)
    return names


def kept_file(cache: Path) -> Path:
    (found,) = cache.rglob("lists/*.json")
    return found


@pytest.mark.parametrize("form", FORMS, ids=" ".join)
def test_what_is_kept_shows_as_what_is_read(
    workbench: Workbench, stack: Path, read: list[str], form: list[str]
) -> None:
    def shown() -> tuple[list[str], str]:
        ran = workbench("log", stack, *form)
        return [line for line in ran.out.splitlines() if '"JobDone"' not in line], ran.err

    first = shown()
    count = len(read)
    assert workbench("log", stack).code == 0
    assert shown() == first
    assert (len(read) == count) == (form != ["--all"])


def _rewrite(stack: Path) -> None:
    path = next(stack.glob("0003-*"))
    path.write_bytes(path.read_bytes())


def _flip_with_its_old_times(stack: Path) -> None:
    path = next(stack.glob("0003-*"))
    times, data = path.stat(), path.read_bytes()
    path.write_bytes(data.replace(b"subject 3", b"subject X"))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def _truncate(stack: Path) -> None:
    path = next(stack.glob("0003-*"))
    path.write_bytes(path.read_bytes()[:-1])


def _remove(stack: Path) -> None:
    next(stack.glob("0003-*")).unlink()


def _add(stack: Path) -> None:
    (stack / "0001-stray-00000000.safetensors").write_bytes(b"{")


def _redo(stack: Path) -> None:
    with Stack.open(stack, write=True) as opened:
        opened.redo()


def _note(stack: Path) -> None:
    with Stack.open(stack, write=True) as opened:
        opened.note(opened.line[0].id, "another")


def _lose_the_journal(stack: Path) -> None:
    (stack / "journal.jsonl").unlink()


CHANGES = [_rewrite, _flip_with_its_old_times, _truncate, _remove, _add, _redo, _note, _lose_the_journal]


@pytest.mark.parametrize("change", CHANGES)
def test_after_any_change_of_the_folder_it_is_read_again(
    workbench: Workbench, stack: Path, read: list[str], cache: Path, change: Callable[[Path], None]
) -> None:
    workbench("log", stack)
    change(stack)
    read.clear()
    now = workbench("log", stack)
    assert read
    kept_file(cache).unlink()
    fresh = workbench("log", stack)
    assert (now.code, now.out, now.err) == (fresh.code, fresh.out, fresh.err)


@pytest.mark.parametrize("harm", [_truncate, _add, _lose_the_journal])
def test_a_stack_that_is_not_in_order_is_not_kept(
    workbench: Workbench, stack: Path, cache: Path, harm: Callable[[Path], None]
) -> None:
    harm(stack)
    workbench("log", stack)
    assert not [*cache.rglob("lists")]


def test_a_folder_that_changed_a_moment_ago_is_not_kept(
    workbench: Workbench, stack: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_list, "SETTLED", 10**12)
    workbench("log", stack)
    assert not [*cache.rglob("lists")]


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda data: data[:-9],
        lambda _: b"[1, 2]",
        edited(lambda d: d["about"].update(stamp="0" * 64)),
        edited(lambda d: d["about"].update(workbench="0.0.0")),
        edited(lambda d: d.update(more=1)),
        edited(lambda d: d.update(position="3")),
        edited(lambda d: d.update(base=None)),
        edited(lambda d: d.update(rows={})),
        edited(lambda d: d["rows"].append(7)),
        edited(lambda d: d["rows"][0].pop("id")),
        edited(lambda d: d["rows"][0].update(state="strange")),
        edited(lambda d: d["rows"][0].update(number="1")),
        edited(lambda d: d["rows"][0].update(paraphrases=[1])),
        edited(lambda d: d["rows"][0].update(names=[1])),
        edited(lambda d: d["rows"][0].update(note=None)),
    ],
)
def test_an_odd_file_is_ignored_and_made_again(
    workbench: Workbench, stack: Path, cache: Path, read: list[str], damage: Callable[[bytes], bytes]
) -> None:
    first = workbench("log", stack)
    path = kept_file(cache)
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    read.clear()
    assert workbench("log", stack).out == first.out
    assert read
    assert path.read_bytes() == whole


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_a_kept_list_is_nobody_elses_to_read(workbench: Workbench, stack: Path, cache: Path) -> None:
    workbench("log", stack)
    assert kept_file(cache).parent.stat().st_mode & 0o077 == 0


def test_where_nothing_can_be_kept_it_is_read_every_time(
    workbench: Workbench, stack: Path, cache: Path, read: list[str]
) -> None:
    cache.write_text("a file where the folder should be")
    assert workbench("log", stack).out == workbench("log", stack).out
    assert len(read) == 2 * (LENGTH + 1)


def test_a_kept_list_needs_no_torch_and_opens_no_stack(workbench: Workbench, stack: Path) -> None:
    assert workbench("log", stack).code == 0
    code = (
        "import sys; from workbench.engine import kept_list; kept_list.SETTLED = 0\n"
        "from workbench.cli.main import run; code = run(sys.argv[1:]);"
        "sys.exit(code or bool({'torch', 'numpy', 'textual', 'workbench.stack.store'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code, "log", str(stack)], capture_output=True, check=False)
    assert run.returncode == 0, run.stderr
    assert len(run.stdout.splitlines()) == LENGTH


@pytest.mark.usefixtures("cache")
def test_a_few_edits_of_many_requests_are_kept_as_many_edits_are(
    workbench: Workbench, tmp_path: Path, read: list[str]
) -> None:
    made, folder = batch(LENGTH - 1), tmp_path / "batches"
    with Stack.open(folder, write=True, base=made.base) as stack:
        for seed in (1, 2):
            stack.append(made, factors(seed, rank=3, module="h.0"))
    first = workbench("log", folder)
    assert first.out.count(f"and {LENGTH - 2} more") == 2
    read.clear()
    assert workbench("log", folder).out == first.out
    assert read == []
