"""The walls between the rooms, seen from a fresh process: what each start costs and does not cost."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import workbench
from workbench import events
from workbench.tui import screens

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


FIRST_PICTURE = "import workbench.cli.main, workbench.cli.open, workbench.tui.run, workbench.tui.app"
NOT_IN_IT = (
    "cli.apply",
    "cli.log",
    "edit_events",
    "health",
    "recording",
    "requests",
    "stack.store",
    "stack_rows",
    "tui.keymap",
    "tui.palette",
    *(f"tui.screens.{name}" for name in ("compare", "confirm", "form", "help", "history", "live", "log", "trace")),
)


def test_the_first_picture_waits_for_nothing_that_is_not_in_it() -> None:
    tell = "import sys; print(' '.join(name for name in sys.modules if name.startswith('workbench.')))"
    done = subprocess.run(
        [sys.executable, "-c", f"{FIRST_PICTURE}\n{tell}"], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "workbench.tui.screens.edit" in loaded
    assert not loaded & {f"workbench.{name}" for name in NOT_IN_IT}


LAZY = {"workbench": workbench, "workbench.events": events, "workbench.tui.screens": screens}


@pytest.mark.parametrize("package", LAZY)
def test_every_lazy_name_is_found_where_it_lives(package: str) -> None:
    module = LAZY[package]
    seen = names_for_type_checkers(Path(str(module.__file__)))
    assert seen
    for name, home in seen.items():
        assert getattr(module, name) is getattr(importlib.import_module(home), name)
    homes = {name: home for home, names in vars(module)[HOMES[package]].items() for name in names}
    assert homes == seen
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        module.nonsense  # noqa: B018  looking is the test


HOMES = {"workbench": "_HOMES", "workbench.events": "HOMES", "workbench.tui.screens": "HOMES"}
"""The table of each."""


def names_for_type_checkers(path: Path) -> dict[str, str]:
    """Where the names come from that a module imports under TYPE_CHECKING."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    blocks = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    imports = [node for block in blocks for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: str(node.module) for node in imports for alias in node.names}


def test_every_public_name_is_one_of_them() -> None:
    assert {*workbench.__all__} == {*names_for_type_checkers(Path(workbench.__file__)), "__version__"}


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
