"""`workbench doctor` and `workbench verify` on the command line: what is said, and with which exit code."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Workbench, digest
from workbench.stack.store import Stack

ONE = ("-s", "Rome", "-p", "{} lies in", "-t", "Chile")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def second(folder: Path) -> Path:
    return next(folder.glob("0002-*.safetensors"))


def test_nothing_wrong_is_code_0(workbench: Workbench, edited: Path) -> None:
    before = digest(edited)
    ran = workbench("doctor", edited)
    assert ran.code == 0, ran.out
    assert not [line for line in ran.out.splitlines() if line.startswith("✗")]
    assert ran.err.splitlines()[-1] == "Nothing is wrong; 2 pieces of advice above (→)."
    assert digest(edited) == before


def test_a_model_that_has_all_it_needs_is_well(workbench: Workbench) -> None:
    ran = workbench("doctor")
    assert (ran.code, ran.err.splitlines()[-1]) == (0, "All is well.")


def test_without_a_stack_the_model_is_looked_at(workbench: Workbench, tiny_model: Path) -> None:
    ran = workbench("doctor", "--model", tiny_model)
    assert ran.code == 0
    assert "checkpoint" not in ran.out
    assert "0.00 GiB" not in ran.out
    pieces = ran.out.count("→")
    assert pieces
    assert f"Nothing is wrong; {pieces} piece" in ran.err
    assert "All is well" not in ran.err
    assert (workbench("doctor", "nowhere").code, workbench("doctor", "--stack", "nowhere").code) == (2, 2)


def test_a_mismatch_is_code_4_with_what_can_be_done(workbench: Workbench, edited: Path) -> None:
    ran = workbench("doctor", edited, "--dtype", "bfloat16", "--json")
    assert ran.code == 4
    found = {event["topic"]: event for event in ran.events if event["type"] == "Finding"}
    assert found["dtype"]["verdict"] == "mismatch"
    assert found["recorded dtype"]["verdict"] == "fine"
    assert [event["distance"] > 0 for event in ran.events if event["type"] == "WeightsDiffer"] == [True]
    assert ran.events[-1]["exit_code"] == 4


def test_a_model_that_is_not_there_is_code_3(workbench: Workbench, edited: Path) -> None:
    ran = workbench("doctor", edited, "--model", "./nowhere")
    assert ran.code == 3
    assert "✗ model" in ran.out
    assert "✓ stack" in ran.out
    assert "Traceback" not in ran.err


def test_damage_is_code_5_also_where_the_model_is_not_there(workbench: Workbench, copied: Path) -> None:
    flip(second(copied))
    for more in ((), ("--model", "./nowhere")):
        ran = workbench("doctor", copied, *more)
        assert ran.code == 5
        assert second(copied).name in ran.out


def test_verify_says_of_every_file_and_weight_that_it_is_intact(workbench: Workbench, edited: Path) -> None:
    ran = workbench("verify", edited)
    assert ran.code == 0, ran.err
    said = [line.split()[:2] for line in ran.out.splitlines()]
    assert said[:3] == [["✓", "intact"]] * 3
    assert said[3:5] == [["✓", "agrees"]] * 2
    assert said[5:7] == [["✓", "bit-identical"]] * 2
    assert ran.out.splitlines()[-1].startswith("bit-identical: 2 edits, weight sha256 ")
    files = workbench("verify", edited, "--no-model")
    assert (files.code, files.out.splitlines()[-1]) == (0, "intact: 3 files, no weight compared")


def test_verify_names_the_damaged_file_with_code_5(workbench: Workbench, copied: Path) -> None:
    flip(second(copied))
    for more in ((), ("--no-model",)):
        ran = workbench("verify", copied, *more)
        assert ran.code == 5
        assert f"damaged; {second(copied).name}: " in ran.err
        assert [line[:9] for line in ran.out.splitlines()[:3]] == ["✓ intact ", "✓ intact ", "✗ damaged"]
        assert "bit-identical: 2" not in ran.out


@pytest.mark.parametrize("damage", ["gone", "index", "renamed"])
def test_verify_says_what_is_missing_or_out_of_order(workbench: Workbench, copied: Path, damage: str) -> None:
    victim = second(copied)
    if damage == "gone":
        victim.unlink()
    elif damage == "renamed":
        first = next(copied.glob("0001-*.safetensors"))
        shutil.copy(first, victim)
    else:
        (copied / "stack.json").write_text("{", encoding="utf-8")
    ran = workbench("verify", copied, "--no-model", "--json")
    assert ran.code == 5
    problems = {event["file"] for event in ran.events if event["type"] == "FileChecked" and event["problem"]}
    assert problems
    assert ran.events[-1]["exit_code"] == 5


def test_verify_compares_what_lies_on_other_branches(workbench: Workbench, copied: Path) -> None:
    assert workbench("undo", copied).code == 0
    assert workbench("apply", *ONE, "--stack", copied).code in (0, 1)
    ran = workbench("verify", copied, "--json")
    assert ran.code == 0, ran.err
    with Stack.open(copied) as stack:
        ids = [edit.id for edit in (*stack.line, *stack.others)]
    assert [event["edit"] for event in ran.events if event["type"] == "Verified"] == ids
    assert len(ids) == 3


def test_another_tokenizer_is_code_4_and_the_weights_are_still_compared(
    workbench: Workbench, copied: Path, tiny_model: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(tiny_model, tmp_path / "other"))
    path = other / "tokenizer.json"
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    ran = workbench("verify", copied, "--model", other)
    assert ran.code == 4
    assert "✗ differs         tokenizer" in ran.out
    assert ran.out.count("✓ bit-identical") == 2
    assert "2 of 2 edits" in ran.err


def test_checking_files_alone_imports_no_torch(edited: Path) -> None:
    code = (
        "import sys; from workbench.cli.main import run\n"
        f"code = run(['verify', {str(edited)!r}, '--no-model', '--json'])\n"
        "sys.exit(code or 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["ok"]
