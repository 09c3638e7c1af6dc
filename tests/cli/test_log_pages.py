"""`workbench log` shows a page of a long stack without reading the rest, and what it shows is what all of it shows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Workbench
from tests.stack.making import base, edit, factors
from workbench.stack import glance, lineage
from workbench.stack.editfile import read_header
from workbench.stack.store import Stack

LENGTH = 23


@pytest.fixture
def long(tmp_path: Path) -> Path:
    """A line with undone edits, one that is off, a note and a branch."""
    folder = tmp_path / "long"
    with Stack.open(folder, write=True, base=base()) as stack:
        for number in range(1, LENGTH + 1):
            stack.append(edit(f"subject {number}"), factors(number))
        stack.append(edit("left behind"), factors(99))
        stack.undo()
        stack.append(edit("last"), factors(100))
        stack.toggle(stack.line[4].id, off=True)
        stack.note(stack.line[6].id, "a note written later")
        stack.undo(3)
    return folder


@pytest.mark.parametrize("form", [[], ["--json"]])
@pytest.mark.parametrize("order", [[], ["--reverse"]])
def test_pages_one_after_the_other_are_the_whole_list(
    workbench: Workbench, long: Path, form: list[str], order: list[str]
) -> None:
    whole = workbench("log", long, *order, *form).out.splitlines()
    pages: list[str] = []
    for skip in range(0, LENGTH + 1, 5):
        ran = workbench("log", long, "-n", 5, "--skip", skip, *order, *form)
        assert ran.code == 0
        pages += ran.out.splitlines()[: 5 if form else None]
    ended = [line for line in pages if '"JobDone"' not in line]
    assert ended == [line for line in whole if '"JobDone"' not in line]
    assert len(ended) == LENGTH + 1


def test_a_page_says_where_the_stack_is(workbench: Workbench, long: Path) -> None:
    page, whole = workbench("log", long, "--limit", 2), workbench("log", long)
    assert page.err == whole.err
    assert page.out.splitlines() == whole.out.splitlines()[:2]
    assert workbench("log", long, "-n", 3, "--skip", 100).out == ""
    assert workbench("log", long, "--skip", 20).out.splitlines() == whole.out.splitlines()[20:]
    assert len(workbench("log", long, "-n", 2, "--all").out.splitlines()) == 3


def test_a_page_reads_the_headers_of_its_own_edits_only(
    workbench: Workbench, long: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    real = read_header

    def counting(path: Path) -> object:
        read.append(path.name[:4])
        return real(path)

    monkeypatch.setattr(glance, "read_header", counting)
    monkeypatch.setattr(lineage, "read_header", counting)
    workbench("log", long, "-n", 4, "--skip", 2)
    assert read == ["0022", "0021", "0020", "0019"]


def _remove(long: Path) -> None:
    next(long.glob("0003-*")).unlink()


def _damage(long: Path) -> None:
    path = next(long.glob("0022-*"))
    path.write_bytes(path.read_bytes()[:-1])


def _double(long: Path) -> None:
    path = next(long.glob("0022-*"))
    path.with_name("0001-copy" + path.name[-22:]).write_bytes(path.read_bytes())


def _swap(long: Path) -> None:
    first, second = next(long.glob("0022-*")), next(long.glob("0021-*"))
    one, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other)
    second.write_bytes(one)
    for path in (first, second):
        os.utime(path, (0, 0))


def _no_index(long: Path) -> None:
    (long / "stack.json").unlink()


def _half(long: Path) -> None:
    (long / ".stack.json.00000000.tmp").write_bytes(b"{")


@pytest.mark.parametrize("harm", [_remove, _damage, _double, _swap, _no_index, _half])
def test_where_something_is_wrong_a_page_says_what_the_whole_list_says(
    workbench: Workbench, long: Path, harm: object
) -> None:
    assert callable(harm)
    harm(long)
    page, whole = workbench("log", long, "-n", LENGTH), workbench("log", long)
    assert (page.code, page.err) == (whole.code, whole.err)
    assert page.out.splitlines() == whole.out.splitlines()[:LENGTH]


def test_an_edit_saved_but_not_yet_listed_is_on_the_first_page(workbench: Workbench, long: Path) -> None:
    before = (long / "stack.json").read_bytes()
    journal = (long / "journal.jsonl").read_bytes()
    with Stack.open(long, write=True) as stack:
        stack.redo(3)
        stack.append(edit("in flight"), factors(7))
    (long / "journal.jsonl").write_bytes(journal)
    with Stack.open(long) as now:
        path = now.path_of(now.line[-1])
    (long / "stack.json").write_bytes(before.replace(b'"position": 21', b'"position": 24'))
    os.utime(long / "stack.json", ns=(0, path.stat().st_mtime_ns - 1))
    assert "in flight" in workbench("log", long, "-n", 1).out


@pytest.mark.parametrize("words", [["-n", "0"], ["--skip", "-1"], ["-n", "many"]])
def test_a_page_that_cannot_be_is_wrong_usage(workbench: Workbench, long: Path, words: list[str]) -> None:
    assert workbench("log", long, *words).code == 2


def test_a_page_needs_neither_torch_nor_numpy(long: Path) -> None:
    code = (
        "import sys; from workbench.cli.main import run; code = run(sys.argv[1:]);"
        "sys.exit(code or bool({'torch', 'transformers', 'numpy', 'textual'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code, "log", str(long), "-n", "3"], capture_output=True, check=False)
    assert run.returncode == 0, run.stderr
    assert len(run.stdout.splitlines()) == 3
