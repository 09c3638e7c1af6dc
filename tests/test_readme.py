"""The README is true: its commands run, in its order, and its Python too."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHELL = [line for block in re.findall(r"```sh\n(.*?)```", README, re.S) for line in block.splitlines()]
COMMANDS = [line for line in SHELL if line.startswith("workbench ")]
SET_UP = [line for line in SHELL if not line.startswith("workbench ")]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to work in, with the stack that ships."""
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "edits" / "tour", folder / "edits" / "tour", ignore=shutil.ignore_patterns("lock"))
    return folder


def run(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_commands_run_one_after_the_other(clone: Path) -> None:
    assert len(COMMANDS) >= 12
    for command in COMMANDS:
        done = run([sys.executable, "-m", "workbench", *shlex.split(command)[1:]], clone)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        if command.endswith("replay edits/tour --verify"):
            assert "bit-identical" in done.stdout
    assert (clone / "atlas-with-three-edits" / "model.safetensors").is_file()


def test_the_python_runs(clone: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
    done = run([sys.executable, "-c", code], clone)
    assert done.returncode == 0, done.stderr
    assert "EditCommitted" in done.stdout


def test_the_set_up_is_two_lines_and_ci_runs_the_second() -> None:
    assert len(SET_UP) == 2
    assert all(line.startswith("python3 -m venv .venv && .venv/bin/pip install ") for line in SET_UP)
    assert SET_UP[0].endswith(".venv/bin/workbench")
    marked = README.split("<!-- test -->\n```sh\n")[1].split("\n```")[0]
    assert marked == SET_UP[1]
    assert "<!-- test -->" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_every_file_it_links_to_is_there() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
