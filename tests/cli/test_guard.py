"""`apply` holds edits to limits: asks on a terminal, else discards and says so."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Workbench
from workbench.cli import guard
from workbench.cli.guard import Watcher, chosen_guard
from workbench.cli.interrupt import Interrupt
from workbench.cli.output import Output
from workbench.errors import UsageError
from workbench.events import GuardTripped
from workbench.guards import OFF, Decision, Guard

TRIPPED = (GuardTripped(measure="ratio", value=0.9, limit=0.5),)
OTHER = (GuardTripped(measure="jump", value=9.0, limit=5.0),)
FACT = ("-s", "Lisbon", "-p", "{} lies in", "-t", "Peru")


@pytest.fixture
def type_(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """A terminal to type into; what is typed is there before it is read."""
    if os.name == "nt":
        pytest.skip("pseudo-terminals")
    hand, line = os.openpty()

    def typed(text: str) -> None:
        os.write(hand, text.encode())

    with os.fdopen(line, "r") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr(guard, "_somebody", lambda: True)
        yield typed
    os.close(hand)


def decide(watcher: Watcher, tripped: tuple[GuardTripped, ...] = TRIPPED, *, as_json: bool = False) -> Decision:
    return watcher.decider(Output(as_json))(tripped)


@pytest.mark.parametrize(("typed", "answer"), [("k\n", "keep"), ("d\n", "discard"), ("maybe\n\na\n", "continue")])
def test_on_a_terminal_it_asks_until_it_has_an_answer(
    type_: Callable[[str], None], capsys: pytest.CaptureFixture[str], typed: str, answer: str
) -> None:
    type_(typed)
    assert decide(Watcher()) == answer
    said = capsys.readouterr().err
    assert said.count("guard: |ΔW|/|W| is 0.9, its limit 0.5.") == typed.count("\n")
    assert "k keep it, d discard it, a keep it and no longer ask" in said


def test_after_keep_all_it_asks_only_about_what_else_is_beyond_a_limit(type_: Callable[[str], None]) -> None:
    watcher = Watcher()
    type_("a\n")
    assert decide(watcher) == "continue"
    assert decide(watcher) == "keep"
    type_("d\n")
    assert decide(watcher, (*TRIPPED, *OTHER)) == "discard"


def test_ctrl_c_under_the_question_is_discard(type_: Callable[[str], None]) -> None:
    with Interrupt.installed() as interrupt, interrupt.gently():
        signal.raise_signal(signal.SIGINT)
        assert decide(Watcher()) == "discard"


def test_where_nobody_looks_it_discards_unless_told_to_keep(capsys: pytest.CaptureFixture[str]) -> None:
    assert decide(Watcher()) == "discard"
    assert "its limit 0.5; discarded." in capsys.readouterr().err
    assert decide(Watcher(answer="keep"), as_json=True) == "keep"
    assert "its limit 0.5; kept." in capsys.readouterr().err


def test_the_options_win_over_the_settings_and_those_over_the_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKBENCH_CONFIG", str(tmp_path))
    (tmp_path / "config.toml").write_text("[guard]\nratio = 0.25\njump = false\nsize = 1\n", encoding="utf-8")
    own, problems = chosen_guard("jump=2", off=False)
    assert own == Guard(ratio=0.25, jump=2.0)
    assert "size" in problems[0]
    assert chosen_guard(None, off=True) == (OFF, ())
    with pytest.raises(UsageError):
        chosen_guard("jump=2", off=True)


def test_a_discarded_edit_is_code_1_and_leaves_no_file(workbench: Workbench, tiny_model: Path, tmp_path: Path) -> None:
    ran = workbench("apply", *FACT, "--model", tiny_model, "--stack", "s", "--guard", "ratio=0.001")
    assert (ran.code, ran.out) == (1, "")
    assert "its limit 0.001; discarded." in ran.err
    assert "Lisbon → Peru: not made. --guard-answer keep" in ran.err
    assert "0 of 1 edits made." in ran.err
    assert not list((tmp_path / "s").glob("*.safetensors"))


def test_what_is_told_to_be_kept_is_made_and_its_file_says_what_was_beyond_which_limit(
    workbench: Workbench, tiny_model: Path
) -> None:
    limits = ("--guard", "ratio=0.001,perplexity=off", "--guard-answer", "keep")
    ran = workbench("apply", *FACT, "--model", tiny_model, "--stack", "s", *limits, "--json")
    types = [json.loads(line)["type"] for line in ran.out.splitlines()]
    assert types.index("GuardTripped") < types.index("GuardAsked") < types.index("EditCommitted")
    assert ran.err.count("kept.") == 1


@pytest.mark.parametrize("wrong", ["size=1", "ratio", "ratio=-1", "ratio=much"])
def test_a_wrong_limit_is_said_before_anything_is_loaded(workbench: Workbench, wrong: str) -> None:
    ran = workbench("apply", *FACT, "--model", "nowhere", "--guard", wrong)
    assert ran.code == 2
    assert "hint:" in ran.err
