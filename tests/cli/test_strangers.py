"""A stranger's stack on the command line: odd metrics, texts that a terminal would obey, edits that are not there."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Workbench
from tests.stack.making import base, edit, factors
from workbench.stack.store import Stack
from workbench.text import visible

ODD: tuple[Any, ...] = (None, True, 3, 2**62, "x", [], {})


def test_show_passes_over_probes_whose_fields_are_of_any_type(workbench: Workbench, tmp_path: Path) -> None:
    good = {"kind": "efficacy", "prompt": "Rome is", "passed": True, "answer": " in", "p_answer": 0.5}
    odd = [{**good, name: value} for name, value in itertools.product((*good, "expected", "before", "value"), ODD)]
    with Stack.open(tmp_path / "odd", write=True, base=base()) as stack:
        stack.append(edit(metrics={"probes": [*odd, *ODD, good]}), factors())
    ran = workbench("show", tmp_path / "odd", "1")
    assert (ran.code, ran.err) == (0, "")
    assert "✓ pass  efficacy       Rome is  answers 'in' 0.500" in ran.out


@pytest.mark.parametrize("command", [["show", "1"], ["log"], ["note", "1", "\x9b2J\u202e"]])
def test_json_holds_nothing_that_a_terminal_would_obey(
    workbench: Workbench, tmp_path: Path, command: list[str]
) -> None:
    text = "x\x9b31m\x7f\u202e\u2066\U000e0041"
    with Stack.open(tmp_path / "s", write=True, base=base()) as stack:
        stack.append(replace(edit(text), note=text, made_by={text: text}), factors())
    first, *words = command
    ran = workbench(first, tmp_path / "s", *words, "--json")
    assert ran.code == 0
    assert visible(ran.out, keep="\n") == ran.out
    row = ran.events[0]
    assert text in (row.get("subject"), row.get("request", {}).get("subject"))


def test_a_branch_or_tag_of_a_missing_edit_is_listed_beside_the_others(workbench: Workbench, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    with Stack.open(folder, write=True, base=base()) as stack:
        lost = stack.append(edit("Lisbon"), factors(1))
        stack.tag("lost", lost.id)
        stack.start_branch("other", "base")
        kept = stack.append(edit("Oslo"), factors(2))
        stack.tag("kept", kept.id)
        path = stack.path_of(lost)
    path.unlink()
    for command, name in (("branch", "main"), ("tag", "lost")):
        ran = workbench(command, folder)
        assert ran.code == 0
        assert f"✗ {lost.id[:8]}  its file is missing" in next(line for line in ran.out.splitlines() if name in line)
        assert kept.id[:8] in ran.out
    names = [json.loads(line)["name"] for line in workbench("tag", folder, "--json").out.splitlines()[:-1]]
    assert names == ["kept", "lost"]


@pytest.mark.parametrize("command", [["log"], ["undo", "--stack"], ["tag"], ["branch"], ["import"], ["log", "--model"]])
def test_a_name_that_no_file_can_have_is_wrong_usage(workbench: Workbench, stack: Path, command: list[str]) -> None:
    assert stack.is_dir()
    ran = workbench(*command, "x" * 5_000)
    assert ran.code == 2
    assert "inside the workbench" not in ran.err


@pytest.mark.parametrize("kind", [["bundle"], ["requests"], ["edit", "--edit", "1"]])
def test_an_export_of_nothing_leaves_no_folder_behind(workbench: Workbench, tmp_path: Path, kind: list[str]) -> None:
    Stack.open(tmp_path / "empty", write=True, base=base()).close()
    ran = workbench("export", tmp_path / "empty", "-o", tmp_path / "new" / "out", "--format", *kind)
    assert ran.code == 2
    assert not (tmp_path / "new").exists()
