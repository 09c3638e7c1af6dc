"""Import and export where a model is needed: tried out first, then taken in, and out again as other things."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Workbench
from workbench.cli.main import run
from workbench.stack.bundle import write_bundle
from workbench.stack.store import Stack

FACTS = [("Lisbon", "Peru"), ("Oslo", "Chile")]


@pytest.fixture(scope="module")
def shared(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a stack of two edits on the tiny model, and its bundle. Read only."""
    folder = tmp_path_factory.mktemp("shared")
    for subject, target in FACTS:
        words = ["-s", subject, "-p", "{} lies in", "-t", target, "--model", str(tiny_model)]
        assert run(["apply", *words, "--stack", str(folder / "theirs")]) in (0, 1)
    with Stack.open(folder / "theirs") as stack:
        write_bundle(stack, folder / "theirs.zip")
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def make_ours(workbench: Workbench, tiny_model: Path) -> None:
    ran = workbench("apply", "-s", "Lima", "-p", "{} lies in", "-t", "Norway", "--model", tiny_model, "--stack", "ours")
    assert ran.code in (0, 1)


def test_a_dry_run_shows_what_would_come_of_it_and_writes_nothing(
    workbench: Workbench, shared: Path, tiny_model: Path, tmp_path: Path
) -> None:
    make_ours(workbench, tiny_model)
    (tmp_path / "bad.zip").write_bytes((shared / "theirs.zip").read_bytes()[:-1])
    before = content(tmp_path)
    ran = workbench("import", shared / "theirs.zip", "bad.zip", "--stack", "ours", "--dry-run")
    lines = ran.out.splitlines()
    assert [line.split()[:3] for line in lines[:2]] == [["●", "applied", "2"], ["●", "applied", "3"]]
    assert "Lisbon lies in → Peru" in lines[0]
    summary = next(line for line in lines if line.startswith("would add"))
    assert summary.startswith("would add 2 edits  efficacy ")
    assert summary.split()[5].endswith("/3")
    drift = next(line for line in lines if line.startswith("drift")).split()
    assert 0 < float(drift[1]) < float(drift[3])
    assert "bad.zip is refused: bad.zip is not a zip file, is truncated" in ran.err
    assert ran.code == 5
    assert content(tmp_path) == before


def test_what_a_dry_run_said_is_what_comes_of_it(
    workbench: Workbench, shared: Path, tiny_model: Path, tmp_path: Path
) -> None:
    make_ours(workbench, tiny_model)
    tried = workbench("import", shared / "theirs", "--stack", "ours", "--dry-run", "--json")
    assert tried.code == 0
    taken = workbench("import", shared / "theirs", "--stack", "ours", "--json")
    first, second = (next(e for e in ran.events if e["type"] == "Imported") for ran in (tried, taken))
    assert (first["added"], first["position"]) == (second["added"], 3)
    with Stack.open(tmp_path / "ours") as stack:
        assert [edit.id for edit in stack.line][1:] == second["added"]
    ran = workbench("replay", "ours", "--verify")
    assert (ran.code, ran.out.splitlines()[-1][:26]) == (0, "bit-identical: 3 edits, we")


def test_a_dry_run_of_a_whole_bundle_starts_from_the_base(workbench: Workbench, shared: Path, tmp_path: Path) -> None:
    ran = workbench("import", shared / "theirs.zip", "--stack", "new", "--dry-run")
    assert ran.code == 0
    assert next(line for line in ran.out.splitlines() if line.startswith("drift")).startswith("drift 0.0000 → ")
    assert content(tmp_path) == {}


def test_nothing_usable_is_the_error_itself(workbench: Workbench, tmp_path: Path) -> None:
    ran = workbench("import", "nowhere", "--dry-run")
    assert (ran.code, "nothing at 'nowhere'" in ran.err) == (2, True)


def test_requests_come_back_as_edits(workbench: Workbench, shared: Path, tiny_model: Path, tmp_path: Path) -> None:
    workbench("export", shared / "theirs", "--format", "requests", "--shape", "easyedit", "-o", "r.json")
    ran = workbench("import", "r.json", "--model", tiny_model, "--stack", "new")
    assert ran.code in (0, 1)
    with Stack.open(tmp_path / "new") as stack, Stack.open(shared / "theirs") as theirs:
        assert [edit.request for edit in stack.line] == [edit.request for edit in theirs.line]


def test_a_state_goes_out_as_an_adapter_and_comes_back_as_one_edit(
    workbench: Workbench, shared: Path, tiny_model: Path, tmp_path: Path
) -> None:
    ran = workbench("export", shared / "theirs", "--format", "peft", "-o", "lora")
    assert (ran.code, ran.out.split()[:4]) == (0, ["peft", "lora", "2", "edits"])
    first = content(tmp_path / "lora")
    assert workbench("export", shared / "theirs", "--format", "peft", "-o", "lora").code == 2
    assert workbench("export", shared / "theirs", "--format", "peft", "-o", "lora", "--force").code == 0
    assert content(tmp_path / "lora")["adapter_model.safetensors"] == first["adapter_model.safetensors"]
    assert "rank 2" in workbench("import", "lora", "--list").out
    assert workbench("import", "lora", "--model", tiny_model, "--stack", "new").code == 0
    with Stack.open(tmp_path / "new") as stack:
        assert [set(edit.ranks.values()) for edit in stack.line] == [{2}]


def test_a_folder_that_cannot_be_replaced_is_put_back(
    workbench: Workbench, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.engine import exporting
    from workbench.errors import StorageError

    workbench("export", shared / "theirs", "--format", "peft", "-o", "lora")
    before = content(tmp_path)

    def full(*_: object) -> None:
        raise StorageError("Cannot write x: the disk is full.")

    monkeypatch.setattr(exporting, "export_peft", full)
    assert workbench("export", shared / "theirs", "--format", "peft", "-o", "lora", "--force").code == 1
    assert content(tmp_path) == before


def test_a_merged_model_is_written_whole(workbench: Workbench, shared: Path, tmp_path: Path) -> None:
    ran = workbench("export", shared / "theirs", "--format", "merged", "-o", "merged")
    assert (ran.code, ran.out.split()[:4]) == (0, ["merged", "merged", "2", "edits"])
    assert {"config.json", "model.safetensors"} <= {path.name for path in (tmp_path / "merged").iterdir()}
