"""The options that say how a model is loaded, from the command line to the engine and into what is shown."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests import zoo
from tests.cli.conftest import Workbench
from tests.models.checkpoints import as_pickle
from workbench.engine import server
from workbench.engine.priority import NICE
from workbench.models.options import LoadOptions
from workbench.tui.client import engine_arguments

FACT = ("-s", "Lisbon", "-p", "{} lies in", "-t", "Peru", "--set", "template_lengths=[]")
ALL = LoadOptions("auto", keep_fp32=True, allow_pickle=True, trust_remote_code=True)


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Llama. Read only."""
    return zoo.save(tmp_path_factory.mktemp("loading") / "model", "llama")


@pytest.fixture
def model(untouched: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(untouched, tmp_path / "model"))


def test_a_chat_edit_is_made_and_shown_as_one(workbench: Workbench, model: Path) -> None:
    template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<bot>"
    (model / "chat_template.jinja").write_text(template)
    assert workbench("apply", *FACT, "--model", model, "--stack", "s", "--chat").code in (0, 1)
    assert workbench("apply", *FACT, "--model", model, "--stack", "s").code in (0, 1)
    assert 'asked as      chat, user\'s turn: "<user>" PROMPT "<bot>"' in workbench("show", "s", "1").out
    assert "asked as      raw text" in workbench("show", "s", "2").out


def test_a_chat_without_a_template_is_one_sentence_and_code_3(workbench: Workbench, model: Path) -> None:
    ran = workbench("apply", *FACT, "--model", model, "--stack", "s", "--chat")
    assert ran.code == 3
    assert "no chat template" in ran.err
    assert "Leave out --chat" in ran.err


def test_a_small_edit_survives_with_a_master_and_verifies_without_the_flag(workbench: Workbench, model: Path) -> None:
    small = ("--set", "clamp_factor=0.0001", "--dtype", "bfloat16", "--model", model)
    kept = workbench("apply", *FACT, *small, "--stack", "kept", "--keep-fp32", "--json")
    lost = workbench("apply", *FACT, *small, "--stack", "lost", "--json")

    def realised(events: list[dict[str, Any]]) -> float:
        return float(next(event["realised"] for event in events if event["type"] == "NormReport"))

    assert realised(kept.events) == pytest.approx(1, abs=1e-3)
    assert realised(lost.events) < 0.5
    ran = workbench("verify", "kept", "--model", model, "--dtype", "bfloat16")
    assert ran.code == 0, ran.err
    assert "down_proj, held in float32" in workbench("show", "kept", "1").out


def test_a_bin_file_needs_the_flag(workbench: Workbench, model: Path) -> None:
    as_pickle(model)
    refused = workbench("apply", *FACT, "--model", model, "--stack", "s")
    assert refused.code == 3
    assert "--allow-pickle" in refused.err
    assert workbench("apply", *FACT, "--model", model, "--stack", "s", "--allow-pickle").code in (0, 1)


def test_a_device_and_a_map_contradict_each_other(workbench: Workbench, model: Path) -> None:
    ran = workbench("apply", *FACT, "--model", model, "--stack", "s", "--device", "cpu", "--device-map", "auto")
    assert ran.code == 2
    assert "a device and a device map" in ran.err


@pytest.mark.parametrize("options", [LoadOptions(), LoadOptions(keep_fp32=True), ALL])
def test_the_screens_engine_is_told_all_of_it(
    options: LoadOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = engine_arguments("model", tmp_path, tmp_path / "log", None, None, options)
    told: list[object] = []

    class Server:
        def __init__(self, *_: object) -> None:
            pass

        def run(self, _: object) -> int:
            return 0

    monkeypatch.setattr(server, "own_descriptors", lambda _: ())
    monkeypatch.setattr(server, "Server", Server)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    lowered: list[int] = []
    monkeypatch.setattr("os.nice", lowered.append)  # of this process it would be for good
    monkeypatch.setattr(server, "load", lambda *given: told.append(given[-1]))
    server.main(arguments[3:])
    assert told == [options]
    assert lowered == [NICE]


def test_every_command_with_a_model_has_the_options_and_says_what_they_do(workbench: Workbench) -> None:
    for command in ("apply", "replay", "verify", "probe", "doctor", "export"):
        shown = workbench(command, "--help").out
        for option in ("--device-map", "--keep-fp32", "--allow-pickle", "--trust-remote-code"):
            assert option in shown, command


def test_a_stack_whose_model_is_not_here_says_how_to_name_it(workbench: Workbench, stack: Path) -> None:
    ran = workbench("replay", stack)
    assert ran.code == 3
    assert "There is no model 'tiny'" in ran.err
    assert "The stack was made on it: say with --model where 'tiny' is on this machine." in ran.err
    assert "made on it" not in workbench("replay", stack, "--model", "elsewhere").err
