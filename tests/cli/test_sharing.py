"""Export and import without a model: bundles, edit files and requests go out and come back the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import ESCAPE, Workbench
from tests.stack.making import base, edit, factors
from workbench import events as ev
from workbench.requests import read_requests
from workbench.stack.editfile import read_edit
from workbench.stack.store import Stack


def everything(folder: Path) -> tuple[object, ...]:
    """All that a stack is but its place and its journal."""
    with Stack.open(folder) as stack:
        files = {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}
        return files, stack.index, stack.line, stack.branches


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.fixture
def rich(stack: Path) -> Path:
    """The stack with a branch, a tag, a note, an edit off and one undone."""
    with Stack.open(stack, write=True) as opened:
        first = opened.line[0]
        opened.tag("v1", first.id)
        opened.note(first.id, "from legal")
        opened.toggle(first.id, off=True)
        opened.start_branch("trial", opened.line[1].id)
    return stack


def test_a_bundle_comes_back_as_the_same_stack(workbench: Workbench, rich: Path, tmp_path: Path) -> None:
    ran = workbench("export", rich, "-o", "x.zip")
    assert (ran.code, ran.out.split()[:4]) == (0, ["bundle", "x.zip", "3", "edits"])
    ran = workbench("import", "x.zip", "--stack", "edits/theirs")
    assert (ran.code, ran.out) == (0, "imported  3 edits  position 2  edits/theirs\n")
    assert everything(tmp_path / "edits/theirs") == everything(rich)
    assert workbench("log", "edits/theirs", "--all").out == workbench("log", rich, "--all").out


def test_a_folder_is_taken_over_like_a_bundle(workbench: Workbench, rich: Path, tmp_path: Path) -> None:
    assert workbench("import", rich, "--stack", "copy").code == 0
    assert everything(tmp_path / "copy") == everything(rich)


def test_an_empty_stack_of_the_same_base_is_filled(workbench: Workbench, rich: Path, tmp_path: Path) -> None:
    with Stack.open(rich) as opened, Stack.open(tmp_path / "empty", write=True, base=opened.base):
        pass
    assert workbench("import", rich, "--stack", "empty").code == 0
    assert everything(tmp_path / "empty") == everything(rich)


def test_exporting_again_gives_the_same_bytes_and_only_with_force(workbench: Workbench, stack: Path) -> None:
    workbench("export", stack, "-o", "x.zip")
    first = Path("x.zip").read_bytes()
    ran = workbench("export", stack, "-o", "x.zip")
    assert (ran.code, "--force" in ran.err) == (2, True)
    assert workbench("export", stack, "-o", "x.zip", "--force").code == 0
    assert Path("x.zip").read_bytes() == first


def test_force_replaces_no_folder_and_no_link(workbench: Workbench, stack: Path) -> None:
    Path("folder").mkdir()
    Path("target").write_text("mine", encoding="utf-8")
    Path("link").symlink_to("target")
    for out in ("folder", "link"):
        assert workbench("export", stack, "-o", out, "--force").code == 2
    Path("folder/keep").write_text("mine", encoding="utf-8")
    assert workbench("export", stack, "--format", "merged", "-o", "folder", "--force").code == 2
    assert (Path("target").read_text(encoding="utf-8"), names(Path("folder"))) == ("mine", {"keep"})


def test_one_edit_goes_out_as_its_file(workbench: Workbench, stack: Path) -> None:
    ran = workbench("export", stack, "--format", "edit", "--edit", 2, "-o", "oslo.safetensors")
    assert (ran.code, ran.out.split()[:3]) == (0, ["edit", "oslo.safetensors", "1"])
    with Stack.open(stack) as opened:
        assert Path("oslo.safetensors").read_bytes() == opened.path_of(opened.line[1]).read_bytes()
        assert read_edit(Path("oslo.safetensors"))[0] == opened.line[1]


@pytest.mark.parametrize("shape", ["workbench", "counterfact", "easyedit"])
def test_requests_read_back_the_same(workbench: Workbench, stack: Path, shape: str) -> None:
    workbench("undo", stack)
    ran = workbench("export", stack, "--format", "requests", "--shape", shape, "-o", "r.json")
    assert (ran.code, ran.out.split()[2:4]) == (0, ["2", "requests"])
    assert "1 left out" in ran.err
    with Stack.open(stack) as opened:
        assert read_requests(Path("r.json")) == [edit.request for edit in opened.active]


def test_json_is_one_event_and_an_end(workbench: Workbench, stack: Path) -> None:
    exported, done = workbench("export", stack, "-o", "x.zip", "--json").events
    assert exported["type"] == "Exported"
    assert (exported["format"], exported["count"], exported["bytes"]) == ("bundle", 3, Path("x.zip").stat().st_size)
    imported, done = workbench("import", "x.zip", "--stack", "new", "--json").events
    with Stack.open(stack) as opened:
        assert imported["added"] == [edit.id for edit in opened.line]
    assert (imported["type"], imported["position"], done["type"]) == ("Imported", 3, "JobDone")


def test_a_listing_checks_and_shows_everything_and_writes_nothing(
    workbench: Workbench, rich: Path, tmp_path: Path
) -> None:
    workbench("export", rich, "-o", "x.zip")
    workbench("export", rich, "--format", "edit", "--edit", 1, "-o", "one.safetensors")
    before = names(tmp_path)
    ran = workbench("import", "x.zip", "one.safetensors", rich, "--list")
    assert ran.code == 0
    states = [line.split()[:3] for line in ran.out.splitlines()]
    branch = [["◌", "off", "1"], ["●", "applied", "2"], ["◇", "other", "3"]]
    assert states == [*branch, ["●", "applied", "1"], *branch]
    assert "bundle of 3 edits on tiny (ffffffffffff, float32), position 2, branches main, trial, tags v1" in ran.err
    assert names(tmp_path) == before


def test_a_listing_as_json_is_a_row_an_edit(workbench: Workbench, stack: Path) -> None:
    workbench("export", stack, "-o", "x.zip")
    rows = [ev.from_line(line) for line in workbench("import", "x.zip", "--list", "--json").out.splitlines()]
    assert [type(row) for row in rows] == [ev.EditRow] * 3 + [ev.JobDone]


def test_control_characters_of_a_stranger_never_reach_the_terminal(workbench: Workbench, stack: Path) -> None:
    workbench("export", stack, "-o", "x.zip")
    for command in (["import", "x.zip", "--list"], ["import", "x.zip", "--stack", "new"], ["log", "new"]):
        ran = workbench(*command)
        assert ran.code == 0
        assert not {"\x1b", "\u202e"} & set(ran.out + ran.err)
    assert ESCAPE not in Path("new/stack.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("option", ["--list", "--stack=new", "--dry-run"])
def test_a_damaged_bundle_is_refused_and_leaves_nothing(
    workbench: Workbench, stack: Path, tmp_path: Path, option: str
) -> None:
    workbench("export", stack, "-o", "x.zip")
    data = bytearray(Path("x.zip").read_bytes())
    data[300] ^= 1
    Path("x.zip").write_bytes(data)
    before = names(tmp_path)
    ran = workbench("import", "x.zip", option)
    assert ran.code in (4, 5)
    assert "Traceback" not in ran.err
    assert names(tmp_path) == before


def test_a_damaged_stack_is_not_exported_and_not_imported(workbench: Workbench, stack: Path, tmp_path: Path) -> None:
    victim = next(stack.glob("0002-*"))
    victim.write_bytes(victim.read_bytes()[:40])
    before = names(tmp_path)
    assert workbench("export", stack, "-o", "x.zip").code == 5
    assert workbench("import", stack, "--stack", "new").code == 5
    assert workbench("import", stack, "--list").code == 5
    assert names(tmp_path) == before


def test_a_stack_of_another_base_is_refused_before_a_model_is_loaded(
    workbench: Workbench, stack: Path, tmp_path: Path
) -> None:
    with Stack.open(tmp_path / "other", write=True, base=base("e" * 64)) as opened:
        opened.append(edit(base=base("e" * 64)), factors())
    before = everything(stack)
    for more in ([], ["--dry-run"]):
        ran = workbench("import", "other", "--stack", stack, *more)
        assert ran.code == 4
        assert "was made on atlas (eeeeeeeeeeee), not on tiny (ffffffffffff)" in ran.err
    assert everything(stack) == before


def test_without_a_stack_named_it_goes_to_its_own_model_s_or_nowhere(
    workbench: Workbench, stack: Path, tmp_path: Path
) -> None:
    workbench("export", stack, "-o", "x.zip")
    ran = workbench("import", "x.zip")
    assert ran.code == 4
    assert "--stack" in ran.err
    assert not (tmp_path / "edits" / "atlas").exists()
    stack.rename(tmp_path / "elsewhere")
    assert workbench("import", "x.zip", "--model", "tiny").code == 0
    assert everything(tmp_path / "edits" / "tiny") == everything(tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["export", "STACK"], "--out"),
        (["export", "STACK", "-o", "x", "--format", "edit"], "--edit"),
        (["export", "STACK", "-o", "x", "--edit", "1"], "--edit"),
        (["export", "STACK", "-o", "x", "--shape", "easyedit"], "--shape"),
        (["export", "STACK", "-o", "x", "--format", "edit", "--edit", "9"], "no edit 9"),
        (["export", "nowhere", "-o", "x"], "no stack"),
        (["import"], "FILE"),
        (["import", "nowhere"], "nothing at 'nowhere'"),
        (["import", "notes.txt"], "neither an edit file nor a bundle"),
        (["import", "hollow"], "no edits"),
        (["import", "STACK", "--list", "--dry-run"], "--list"),
        (["import", "STACK", "facts.json"], "request file"),
        (["import", "facts.json", "--dry-run"], "request file"),
    ],
)
def test_wrong_usage_is_said_and_nothing_is_written(
    workbench: Workbench, stack: Path, tmp_path: Path, arguments: list[str], said: str
) -> None:
    (tmp_path / "notes.txt").write_text("hello", encoding="utf-8")
    (tmp_path / "facts.json").write_text("[]", encoding="utf-8")
    (tmp_path / "hollow").mkdir()
    before = names(tmp_path)
    ran = workbench(*[str(stack) if word == "STACK" else word for word in arguments])
    assert ran.code == 2
    assert said in ran.err
    assert names(tmp_path) == before


def test_a_full_disk_leaves_no_half_stack(
    workbench: Workbench, stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workbench("export", stack, "-o", "x.zip")
    before, written = names(tmp_path), 0
    real = os.fsync

    def full(descriptor: int) -> None:
        nonlocal written
        written += 1
        if written > 4:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    ran = workbench("import", "x.zip", "--stack", "new")
    monkeypatch.undo()
    assert (ran.code, "disk is full" in ran.err) == (1, True)
    assert names(tmp_path) == before


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "..", "\0", "a" * 400])
def test_what_a_stranger_calls_the_base_decides_nothing_about_where_files_go(
    workbench: Workbench, tmp_path: Path, name: str
) -> None:
    hostile = base("e" * 64, name)
    with Stack.open(tmp_path / "other", write=True, base=hostile) as opened:
        opened.append(edit(base=hostile), factors())
    assert workbench("export", "other", "-o", "x.zip").code == 0
    before = names(tmp_path)
    assert workbench("import", "x.zip").code == 4
    assert names(tmp_path) == before
    assert workbench("import", "x.zip", "--stack", "here").code == 0
    assert names(tmp_path) - before == {"here", *(f"here/{file}" for file in names(tmp_path / "here"))}


@pytest.mark.parametrize("command", [["export", "-o", "y.zip"], ["import", "x.zip", "--list"], ["import", "x.zip"]])
def test_no_torch_is_loaded(workbench: Workbench, stack: Path, tmp_path: Path, command: list[str]) -> None:
    workbench("export", stack, "-o", "x.zip")
    where = str(stack) if command[0] == "export" else "new"
    code = (
        "import sys; from workbench.cli.main import run\n"
        f"code = run([*{command!r}, '--stack', {where!r}])\n"
        "sys.exit(code or 99 * bool({'torch', 'transformers', 'textual'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_what_the_journal_says_of_an_import_names_no_stranger(workbench: Workbench, stack: Path) -> None:
    workbench("export", stack, "-o", "x.zip")
    workbench("import", "x.zip", "--stack", "new")
    entries = [json.loads(line) for line in Path("new/journal.jsonl").read_text(encoding="utf-8").splitlines()]
    assert "import" in [entry["what"] for entry in entries]
    assert len({entry["who"] for entry in entries}) == 1
