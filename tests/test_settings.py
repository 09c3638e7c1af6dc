"""What a person sets in a file, and what the screen keeps of their choices."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from workbench import settings
from workbench.errors import StorageError

GOOD = """
[keys]
run = "f9"
queue.add = "n"
"queue.remove" = "x,delete"

[theme]
name = "nord"

[guard]
ratio = 0.5
perplexity = false

[screen]
ascii = true
"""


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WORKBENCH_CONFIG", str(tmp_path / "config"))
    (tmp_path / "config").mkdir()
    return tmp_path / "config"


def write(folder: Path, text: str) -> None:
    (folder / "config.toml").write_text(text, encoding="utf-8")


def test_without_files_everything_is_as_the_program_has_it() -> None:
    assert settings.read() == settings.Settings()


def test_every_section_is_read(own_folder: Path) -> None:
    write(own_folder, GOOD)
    found = settings.read()
    assert found.keys == {"run": "f9", "queue.add": "n", "queue.remove": "x,delete"}
    assert (found.theme, found.ascii) == ("nord", True)
    assert found.guard == {"ratio": 0.5, "perplexity": False}
    assert found.problems == ()
    assert found.place("keys", "queue.add") == "config.toml, line 4"
    assert found.place("keys", "queue.remove") == "config.toml, line 5"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[keys]\n\nrun = 9\n", 'config.toml, line 3: run must be a key in quotes, as in "ctrl+x".'),
        ("[colours]\n", "config.toml, line 1: there is no section [colours]; known are keys, theme, guard, screen."),
        ("keys = 3\n", "config.toml: keys must be a section, written [keys]."),
        ("[screen]\nascii = 'yes'\n", "config.toml, line 2: ascii must be true or false."),
        ("[guard]\nratio = nan\n", "config.toml, line 2: ratio must be a number, or false for no limit."),
        ("[theme]\ncolour = 'red'\n", "config.toml, line 2: colour is not known; a theme has a name."),
    ],
)
def test_what_is_wrong_is_one_sentence_with_its_line(own_folder: Path, text: str, problem: str) -> None:
    write(own_folder, text)
    assert settings.read().problems == (problem,)


@pytest.mark.parametrize(
    ("text", "line"), [("[keys]\nrun = f9\n", 2), ("[keys]\n'\x7f'='a'", 2), ("[keys]\nrun = '''\n\n", 4)]
)
def test_a_file_that_is_not_toml_is_left_out_with_its_line(own_folder: Path, text: str, line: int) -> None:
    write(own_folder, text)
    (problem,) = settings.read().problems
    assert problem.startswith(f"config.toml, line {line}: ")
    assert problem.endswith("; the file is left out.")
    assert "(at" not in problem
    assert "\x7f" not in problem


def test_a_wrong_value_costs_only_itself(own_folder: Path) -> None:
    write(own_folder, GOOD.replace('"f9"', "9"))
    found = settings.read()
    assert found.keys == {"queue.add": "n", "queue.remove": "x,delete"}
    assert found.theme == "nord"
    assert len(found.problems) == 1


@pytest.mark.parametrize("harm", [b"\xff\xfe", b"[" * 100_000, b"a" * 2_000_000, b'[keys]\nrun = "\\ud800"'])
def test_no_file_stops_the_program(own_folder: Path, harm: bytes) -> None:
    (own_folder / "config.toml").write_bytes(harm)
    (own_folder / "state.json").write_bytes(harm)
    found = settings.read()
    assert found.keys == {}
    assert len(found.problems) == 2
    assert all(len(problem) < 200 for problem in found.problems)


def test_a_folder_in_the_files_place_is_said(own_folder: Path) -> None:
    (own_folder / "config.toml").mkdir()
    assert "is not a file" in settings.read().problems[0]


def test_what_is_remembered_is_read_again_and_can_be_forgotten(own_folder: Path) -> None:
    settings.remember("theme", {"name": "dracula"})
    settings.remember("guard", {"ratio": 0.25, "perplexity": True})
    assert settings.read().theme == "dracula"
    assert settings.read().guard == {"ratio": 0.25, "perplexity": True}
    settings.remember("theme", {})
    assert settings.read().theme == ""
    assert [path.name for path in own_folder.iterdir()] == ["state.json"]


def test_the_newest_word_counts(own_folder: Path) -> None:
    write(own_folder, GOOD)
    settings.remember("theme", {"name": "dracula"})
    assert settings.read().theme == "dracula", "chosen on the screen after the file was written"
    write(own_folder, GOOD.replace("ratio = 0.5", "ratio = 0.6"))
    assert settings.read().theme == "dracula", "another section was changed"
    write(own_folder, GOOD.replace("nord", "gruvbox"))
    assert settings.read().theme == "gruvbox", "written after it was chosen"


def test_a_state_that_was_tampered_with_is_left_out(own_folder: Path) -> None:
    (own_folder / "state.json").write_text('{"theme": {"values": {"name": 3}, "over": {}}, "x": 1, "guard": []}')
    assert settings.read() == settings.Settings()


def test_what_no_section_takes_is_not_remembered() -> None:
    with pytest.raises(ValueError, match="guard"):
        settings.remember("guard", {"ratio": "much"})
    with pytest.raises(KeyError):
        settings.remember("colours", {"red": 1})


def test_a_folder_that_cannot_be_written_is_said(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = own_folder / "file"
    file.write_text("")
    monkeypatch.setenv("WORKBENCH_CONFIG", str(file))
    with pytest.raises(StorageError):
        settings.remember("theme", {"name": "nord"})


def test_a_linked_config_is_followed(own_folder: Path, tmp_path: Path) -> None:
    real = tmp_path / "dotfiles.toml"
    real.write_text(GOOD)
    (own_folder / "config.toml").symlink_to(real)
    assert settings.read().theme == "nord"
    assert stat.S_ISREG(real.stat().st_mode)
