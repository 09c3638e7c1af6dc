"""The command line before any model: help, wrong arguments, and what is said of them."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from tests.cli.conftest import Workbench
from workbench.cli.commands import NAMES, Commands

COMMANDS = (
    "apply",
    "replay",
    "log",
    "show",
    "undo",
    "redo",
    "travel",
    "verify",
    "probe",
    "note",
    "bisect",
    "diff",
    "doctor",
)


ONE = ("-s", "a", "-p", "{} is", "-t", "c")
"""A request by options."""


def test_every_command_of_the_first_version_is_there() -> None:
    assert set(COMMANDS) <= set(NAMES)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_has_examples_that_name_the_command(workbench: Workbench, command: str) -> None:
    ran = workbench(command, "--help")
    assert (ran.code, ran.err) == (0, "")
    assert "Examples:" in ran.out
    assert ran.out.count(f"workbench {command}") >= 2
    assert max(map(len, ran.out.splitlines())) <= 80


def test_the_first_help_tells_both_ways_to_start_and_the_exit_codes(workbench: Workbench) -> None:
    ran = workbench("--help")
    assert "workbench [MODEL]" in ran.out
    assert "130 interrupted" in ran.out
    assert max(map(len, ran.out.splitlines())) <= 80


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_that_of_a_command(name: str) -> None:
    assert _command(name).callback is not None


@pytest.mark.parametrize("command", COMMANDS)
def test_the_common_options_have_the_same_words_everywhere(command: str) -> None:
    names = {name for parameter in _command(command).params for name in parameter.opts}
    needs_model = command in ("apply", "replay", "verify", "probe", "bisect", "diff", "doctor")
    assert {"--model", "--stack", "--json"} <= names
    assert ({"--device", "--dtype"} <= names) == needs_model


@pytest.mark.parametrize(
    ("arguments", "said", "hint"),
    [
        (["aply", "x.json"], "There is no command 'aply'.", "workbench apply"),
        (["--stack", "x", "log"], "The command 'log' comes after its options.", "workbench log"),
        (["log", "--colour"], "No such option '--colour'.", "workbench log --help"),
        (["apply"], "There is nothing to edit.", "-s SUBJECT"),
        (["apply", "-s", "a", "-p", "{}"], "There is nothing to edit.", "-t TARGET"),
        (["apply", "a.json", "-s", "b"], "Both a file and a single edit are given.", "REQUESTS"),
        (["apply", "a.json"], "a.json cannot be read: no such file or directory.", "JSON"),
        (["apply", "-s", "a", "-p", "b is", "-t", "c"], "The subject 'a' is not in the prompt.", "{}"),
        (["apply", "-s", "a", "-p", "{} {}", "-t", "c"], "The prompt has 2 slots.", "{}"),
        (["apply", "-s", "", "-p", "{} is", "-t", "c"], "The subject is empty.", "Say who"),
        (["apply", "-s", "a", "-p", "{} is", "-t", " "], "The target is empty.", "text"),
        (["apply", "-s", "a", "-p", "{} is", "-t", "c", "--set", "lr"], "--set lr has no value.", "name=value"),
        (["apply", "-s", "a", "-p", "{} is", "-t", "c", "--set", "v_lr=1"], "Unknown setting 'v_lr'.", "steps"),
        (["apply", "-s", "a", "-p", "{} is", "-t", "c", "--set", "steps=0"], "steps = 0 is out of range.", "1000"),
        (["apply", "-s", "a", "-p", "{} is", "-t", "c", "--method", "mend"], "'mend' is not one of", "--help"),
        (["apply", *ONE, "--method", "rome", "--batch", "2"], "--batch is for methods that make one edit", "emmet"),
        (["apply", *ONE, "--method", "emmet", "--together", "2"], "--together is for methods that make", "--batch"),
        (["apply", *ONE, "--method", "memit", "--layers", "1,x"], "--layers 1,x is no list of layers.", "3,4,5"),
        (["apply", *ONE, "--method", "memit", "--layers", "4,3"], "layers = 4, 3 is out of order.", "above"),
        (["apply", *ONE, "--method", "emmet", "--layers", "3,4"], "layers is no setting of emmet.", "memit"),
        (["apply", "-s", "a", "-p", "{} is", "-t", "c", "--dtype", "int8"], "'int8' is not one of", "--help"),
        (["log", "nowhere"], "There is no stack at 'nowhere'.", "workbench apply"),
        (["log"], "There is no stack at 'edits/atlas'.", "workbench apply"),
        (["log", "--model", "a/b"], "There is no stack at 'edits/a--b'.", "workbench apply"),
        (["log", "a", "--stack", "b"], "Two stacks are named: 'a' and 'b'.", "one"),
        (["show"], "Too few arguments.", "show [STACK] N|ID"),
        (["undo", "1", "2"], "Too many arguments.", "undo [STACK] [COUNT]"),
        (["replay", "--to", "-1"], "-1 is not in the range", "--help"),
        (["gpt2", "--model", "atlas"], "Two models are named: 'gpt2' and 'atlas'.", "one"),
        ([], "The screen needs a terminal.", "workbench apply"),
    ],
)
def test_a_wrong_command_line_gets_one_sentence_a_hint_and_code_2(
    workbench: Workbench, arguments: list[str], said: str, hint: str
) -> None:
    ran = workbench(*arguments)
    first, second = ran.err.splitlines()
    assert (ran.code, ran.out) == (2, "")
    assert first.startswith("workbench: ")
    assert said in first
    assert second.startswith("hint: ")
    assert hint in second


def test_a_file_is_not_a_stack(workbench: Workbench, tmp_path: Path) -> None:
    (tmp_path / "facts.json").write_text("[]")
    ran = workbench("log", "facts.json")
    assert (ran.code, ran.err.splitlines()[0]) == (2, "workbench: 'facts.json' is a file, and a stack is a folder.")


def test_a_bad_record_refuses_the_file_before_a_model_is_loaded(workbench: Workbench, tmp_path: Path) -> None:
    (tmp_path / "facts.jsonl").write_text('{"prompt": "{} is", "subject": "a", "target_new": "b"}\n{"prompt": "{}"}\n')
    ran = workbench("apply", "facts.jsonl")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("workbench: facts.jsonl, line 2: there is no 'subject'.")
    assert not (tmp_path / "edits").exists()


def test_what_files_say_is_shown_and_not_sent_in_errors_too(workbench: Workbench) -> None:
    ran = workbench("apply", "-s", "\x1b[31m", "-p", "x", "-t", "y")
    assert "\x1b" not in ran.err
    assert "␛[31m" in ran.err


def _command(name: str) -> click.Command:
    group = Commands()
    command = group.get_command(click.Context(group), name)
    assert command is not None
    return command
