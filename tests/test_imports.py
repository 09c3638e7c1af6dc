"""The walls between the rooms, seen from a fresh process: what each start costs and does not cost."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import workbench

PACKAGE = Path(workbench.__file__).parent
HEAVY = ("torch", "transformers", "numpy", "textual")


def loaded_after(code: str) -> set[str]:
    """The top-level packages that a new process has loaded after `code`."""
    tell = "import sys; print(' '.join({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{tell}"], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("code", "barred"),
    [
        ("import workbench", HEAVY),
        ("import workbench.errors, workbench.edits, workbench.events, workbench.requests, workbench.text", HEAVY),
        ("import workbench.engine.protocol, workbench.engine.stamp", HEAVY),
        ("import workbench.cli.main", (*HEAVY, "rich", "safetensors")),
        ("from workbench import EditRequest, Recipe, RequestError, read_requests", HEAVY),
        ("import workbench.stack.store, workbench.stack.editfile, workbench.engine.views", ("torch", "textual")),
    ],
)
def test_a_start_costs_no_more_than_it_must(code: str, barred: tuple[str, ...]) -> None:
    assert not loaded_after(code) & set(barred)


def test_every_public_name_is_found_where_it_lives() -> None:
    for name in workbench.__all__:
        assert getattr(workbench, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        workbench.nonsense  # noqa: B018  looking is the test


def imports_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return found | {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}


@pytest.mark.parametrize("room", ["tui", "cli"])
def test_the_front_ends_never_import_torch(room: str) -> None:
    files = sorted((PACKAGE / room).rglob("*.py"))
    assert files
    heavy = {
        file.name for file in files for name in imports_of(file) if name.split(".")[0] in ("torch", "transformers")
    }
    assert not heavy


def test_only_the_screen_imports_textual() -> None:
    files = [file for file in PACKAGE.rglob("*.py") if "tui" not in file.relative_to(PACKAGE).parts]
    assert not {file.name for file in files for name in imports_of(file) if name.split(".")[0] == "textual"}
