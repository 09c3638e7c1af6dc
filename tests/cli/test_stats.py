"""`workbench stats` as a person runs it: words, files, a kill in the middle, two processes, and an edit that uses C."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import zoo
from tests.cli.conftest import Workbench
from tests.models.stats_by_hand import TEXT


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return zoo.save(tmp_path_factory.mktemp("zoo") / "gpt2", "gpt2")


@pytest.fixture
def text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "text.txt"
    path.write_text("\n".join(TEXT * 8), encoding="utf-8")
    return path


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "workbench", "stats", *map(str, words)]


def moments(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("second_moment/*.safetensors")}


def test_c_is_measured_said_and_found_by_an_edit(workbench: Workbench, model: Path, text: Path) -> None:
    edit = ("apply", "-s", "Lisbon", "-p", "{} lies in", "-t", "Peru", "--model", model, "--layer", "2")
    asked = (*edit, "--set", "second_moment=true", "--set", "steps=2", "--no-guard")
    missing = workbench(*asked)
    assert missing.code == 1
    assert f"workbench stats {model} --layer 2" in missing.err
    made = workbench("stats", model, "--text", text, "--layer", "2", "--tokens", "2000")
    assert made.code == 0
    assert "layer 2  transformer.h.2.mlp.c_proj  mean over 2000 keys of text.txt" in made.out or "only" in made.err
    assert "effective rank" in made.out
    assert workbench(*asked).code in (0, 1)
    shown = workbench("show", "edits/gpt2", "1")
    assert workbench("stats", model, "--show").out.splitlines()[2].split()[0] in shown.out


def test_an_edit_says_that_its_c_is_self_sampled(workbench: Workbench, model: Path, text: Path) -> None:
    made = workbench("stats", model, "--layer", "1", "--tokens", "300", "--json")
    assert [event["text"] for event in made.events if event["type"] == "MomentReady"] == [
        "text sampled from the model itself (seed 0)"
    ]
    workbench(
        "apply", "-s", "Lisbon", "-p", "{} lies in", "-t", "Peru", "--model", model, "--layer", "1",
        "--set", "second_moment=true", "--set", "steps=2",
    )  # fmt: skip
    assert "(self-sampled)" in workbench("show", "edits/gpt2", "1").out


def test_several_layers_and_files_in_one_pass(workbench: Workbench, model: Path, text: Path) -> None:
    text.with_name("more.jsonl").write_text(json.dumps({"text": TEXT[0]}))
    ran = workbench("stats", "--text", text, "more.jsonl", "--layers", "0-1,3", "--layer", "1", "--model", model)
    assert ran.code == 0
    assert [line.split()[1] for line in ran.out.splitlines() if line.startswith("layer")] == ["0", "1", "3"]
    assert "text.txt, more.jsonl" in ran.out


def test_progress_tells_how_far_how_fast_and_how_long(workbench: Workbench, model: Path, text: Path) -> None:
    events = workbench("stats", model, "--text", text, "--tokens", "900", "--json").events
    steps = [event for event in events if event["type"] == "MomentProgress"]
    assert steps[0]["tokens"] == 0
    assert steps[-1]["tokens"] == steps[-1]["of"] == 900
    assert steps[-1]["rate"] > 0
    assert steps[-1]["remaining"] == 0
    assert events[-1]["type"] == "JobDone"


def test_out_names_a_models_folder(workbench: Workbench, model: Path, text: Path, tmp_path: Path) -> None:
    elsewhere = workbench("stats", model, "--text", text, "--tokens", "100", "--out", tmp_path / "x")
    assert "Edits do not look there" in elsewhere.err
    assert (tmp_path / "x" / "second_moment" / "transformer.h.1.mlp.c_proj.safetensors").is_file()


def test_atlas_keeps_to_its_own_c_and_that_is_said(workbench: Workbench, text: Path) -> None:
    ran = workbench("stats", "--text", text, "--tokens", "200")
    assert ran.code == 0
    assert "Edits at layer 0 use another second moment" in ran.err
    assert workbench("stats", "--show").out.splitlines()[2].split()[0] == "c3fbbee4fecb"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--self", "--dataset", "x"), "--dataset and --self do not go together"),
        (("--show", "--text", "text.txt"), "--text and --show do not go together"),
        (("--text",), "--text names no file"),
        (("--text", "--json"), "--text names no file"),
        (("--text", "none.txt"), "There is no text file 'none.txt'"),
        (("--text", "."), "'.' is a folder"),
        (("--layers", "3-1"), "'3-1' is no range of layers"),
        (("--layers", "a"), "'a' is no range of layers"),
        (("--window", "97"), "A window of 97 tokens does not fit"),
        (("--import", "none.npz"), "There is no file 'none.npz'"),
        (("--import", "none.npz", "--layers", "1-2"), "holds the second moment of one layer"),
    ],
)
def test_what_makes_no_sense_is_wrong_usage(
    workbench: Workbench, model: Path, text: Path, words: tuple[str, ...], said: str
) -> None:
    ran = workbench("stats", model, *words)
    assert ran.code == 2
    assert said in ran.err


def test_text_that_is_not_there_is_said_before_the_model_is_looked_for(workbench: Workbench) -> None:
    ran = workbench("stats", "no/such-model", "--text", "none.txt")
    assert (ran.code, "There is no text file 'none.txt'" in ran.err) == (2, True)


def test_a_published_moment_is_imported_and_says_what_it_is(
    workbench: Workbench, model: Path, text: Path, tmp_path: Path
) -> None:
    keys = np.random.default_rng(0).standard_normal((500, 48))
    arrays: dict[str, Any] = {"mom2.count": np.array(500), "mom2.mom2": (keys.T @ keys).astype(np.float32)}
    np.savez(tmp_path / "a.npz", **arrays)
    ran = workbench("stats", model, "--layer", "2", "--import", "a.npz")
    assert ran.code == 0, ran.err
    assert "Nothing in a.npz says which weights it was made with" in ran.err
    assert "an imported file, a.npz, not known to be made with these weights" in ran.out
    (shown, *_) = workbench("stats", model, "--show", "--json").events
    assert shown["fingerprint"].endswith(" (imported)")
    assert shown["samples"] == 500


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(
    workbench: Workbench, model: Path, text: Path, tmp_path: Path
) -> None:
    text.write_text("\n".join(TEXT * 2000), encoding="utf-8")
    words = (model, "--text", text, "--tokens", 120_000, "--layers", "0-3", "--checkpoint", 0, "--json")
    with subprocess.Popen(command(*words), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            if event["type"] == "MomentProgress" and event["tokens"] > 50_000:
                process.send_signal(signal.SIGKILL)
                break
    assert not moments(tmp_path)
    first = next(event for event in workbench("stats", *words).events if event["type"] == "MomentProgress")
    assert 0 < first["tokens"] < 120_000
    assert workbench("stats", *words, "--out", tmp_path / "once").code == 0
    killed = moments(tmp_path / "cache")
    assert len(killed) == 4
    assert moments(tmp_path / "once") == killed


def test_two_processes_give_the_c_of_one(workbench: Workbench, model: Path, text: Path, tmp_path: Path) -> None:
    words = (model, "--text", text, "--tokens", 6000, "--layer", 2, "--out")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    run = command(*words, tmp_path / "two")
    both = [subprocess.Popen(run, env={**shared, "RANK": rank}, stdout=subprocess.PIPE, text=True) for rank in "01"]
    said = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert said[0].startswith("layer 2")
    assert said[1] == ""
    assert workbench("stats", *words, tmp_path / "one").code == 0
    one, two = (read(tmp_path / name) for name in ("one", "two"))
    assert np.abs(one[0] - two[0]).max() <= 2.0**-23 * np.abs(one[0]).max()  # float64 sums, stored as float32
    assert one[1] == two[1]


def read(folder: Path) -> tuple[Any, str]:
    """C, and sha256 of the tokens it is made of."""
    from safetensors import safe_open

    (path,) = (folder / "second_moment").iterdir()
    with safe_open(path, framework="np") as file:
        return file.get_tensor("second_moment"), json.loads(file.metadata()["workbench"])["text"]["tokens_sha256"]
