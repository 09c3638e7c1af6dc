"""`workbench tune`: the table, the profile it writes, what it refuses, and that kill -9 costs one trial at most."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.conftest import Workbench, digest
from tests.engine.making import make_model
from tests.engine.tuning_making import known_requests, load, write_facts
from workbench import events as ev
from workbench.cli.main import run
from workbench.cli.tune_table import HEADER, bar, layer_curve, trial_lines
from workbench.models.profile_file import read_profile_file

QUICK = ("--count", "2", "--set", "steps=2", "--set", "template_lengths=[[3,1]]")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPT-2 of 4 layers with C at layer 1."""
    return make_model(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(scope="module")
def facts(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six facts that the small model knows."""
    requests = known_requests(load(small))
    assert len(requests) >= 6
    return write_facts(tmp_path_factory.mktemp("facts") / "facts.json", requests[:6])


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("WORKBENCH_CONFIG", str(tmp_path / "config"))


def test_the_search_is_shown_and_its_profile_is_where_profiles_are_looked_for(
    workbench: Workbench, small: Path, facts: Path, tmp_path: Path
) -> None:
    before = digest(small)
    ran = workbench("tune", small, "--facts", facts, *QUICK, "--trials", 3)
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert lines[0] == HEADER
    assert [line.split()[1] for line in lines[1:4]] == ["start", "layers", "layers"]
    assert {len(line) for line in lines[1:4]} == {len(HEADER)}
    assert lines[-1].startswith("best: layer ")
    assert "layer      S" in lines
    (path,) = (tmp_path / "config" / "profiles").glob("*.json")
    assert str(path) in ran.err
    assert read_profile_file(path, "user").untouched
    assert "C = I: there is no second moment for layers 0, 2, 3" in ran.err
    assert f"workbench stats {small} --layers 0,2,3;" in ran.err
    recipe = json.loads(path.read_text(encoding="utf-8"))["recipe"]
    assert ("The profile says C = I" in ran.err) == (not recipe["second_moment"])
    assert "budget was used up" in ran.err
    assert digest(small) == before
    assert f"in your folder of profiles: {path}" in workbench("tune", small, "--show").err
    assert not (tmp_path / "edits").exists()


def test_json_prints_every_trial_as_an_event(workbench: Workbench, small: Path, facts: Path) -> None:
    out = ("--out", "mine.json")
    ran = workbench("tune", small, "--facts", facts, *QUICK, *out, "--trials", 2, "--layers", "0-1", "--json")
    assert ran.code == 0, ran.err
    kinds = [event["type"] for event in ran.events]
    assert kinds.count("TrialResult") >= 3
    assert kinds.index("TuningStarted") < kinds.index("TrialResult") < kinds.index("Tuned")
    assert kinds[-1] == "JobDone"
    found = next(event for event in ran.events if event["type"] == "Tuned")
    assert json.loads(Path("mine.json").read_text(encoding="utf-8")) == found["profile"]
    assert all(ev.from_line(line) for line in ran.out.splitlines())


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL there")
def test_a_search_that_was_killed_goes_on_to_the_same_profile(
    workbench: Workbench, small: Path, facts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ["tune", str(small), "--facts", str(facts), *QUICK, "--trials", "5"]
    killed = subprocess.Popen(
        [sys.executable, "-m", "workbench", *asked, "--out", "killed.json"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    waited = time.monotonic()
    while killed.poll() is None and time.monotonic() - waited < 240:
        made = list((tmp_path / "cache").glob("*/tune/trials.jsonl"))
        if made and len(made[0].read_bytes().splitlines()) >= 2:
            killed.send_signal(signal.SIGKILL)
        time.sleep(0.01)
    assert killed.wait() == -signal.SIGKILL
    assert not Path("killed.json").exists()
    again = workbench(*asked, "--out", "again.json")
    assert again.code == 0, again.err
    assert "0 of them made in an earlier run" not in again.err
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "another"))
    whole = workbench(*asked, "--out", "whole.json")
    assert "0 of them made in an earlier run" in whole.err
    assert again.out == whole.out
    assert Path("again.json").read_bytes() == Path("whole.json").read_bytes()


def test_a_profile_made_by_hand_is_refused_before_the_search_and_replaced_with_force(
    workbench: Workbench, small: Path, facts: Path
) -> None:
    mine = Path("mine.json")
    mine.write_text('{"match": {"model_type": "gpt2"}, "recipe": {"layer": 1}}', encoding="utf-8")
    before = mine.read_bytes()
    asked = ("tune", small, "--facts", facts, *QUICK, "--trials", 1, "--out", mine)
    refused = workbench(*asked)
    assert refused.code == 2
    assert "by hand" in refused.err
    assert "--force" in refused.err
    assert refused.out == ""
    assert mine.read_bytes() == before
    assert workbench(*asked, "--force").code == 0
    assert read_profile_file(mine, "user").untouched
    assert workbench(*asked).code == 0


def test_show_prints_the_profile_in_force_and_where_it_lies(workbench: Workbench, small: Path, tmp_path: Path) -> None:
    ran = workbench("tune", small, "--show")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["recipe"]["steps"] == 6
    assert str(small / "editing_profile.json") in ran.err
    changed = {"match": {"fingerprint": load(small).fingerprint}, "recipe": {"layer": 2}}
    bare = tmp_path / "bare"
    shutil.copytree(small, bare, ignore=shutil.ignore_patterns("editing_profile.json"))
    (tmp_path / "config" / "profiles").mkdir(parents=True)
    (tmp_path / "config" / "profiles" / "mine.json").write_text(json.dumps(changed), encoding="utf-8")
    assert json.loads(workbench("tune", bare, "--show").out)["recipe"]["layer"] == 2
    atlas = workbench("tune", "--show", "--json")
    assert json.loads(atlas.events[-2]["message"])["recipe"]["method"] == "r-rome"


def test_a_model_without_a_profile_is_told_of_tune(workbench: Workbench, small: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare model"
    shutil.copytree(small, bare, ignore=shutil.ignore_patterns("editing_profile.json"))
    shown = workbench("tune", bare, "--show")
    assert "a guess" in shown.err
    said = workbench("apply", "--model", bare, "-s", "Rome", "-p", "{} lies in", "-t", "Chile")
    assert f"workbench tune '{bare}'" in said.err
    assert "no editing profile" not in workbench("replay", "--model", bare, "--verify").err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--layers", "two"), "is no range of layers"),
        (("--layers", "5-2"), "is no range of layers"),
        (("--set", "colour=red"), "Unknown setting 'colour'"),
        (("--set", "steps"), "has no value"),
        (("--count", "1"), "--count"),
        (("--facts", "nowhere.json"), "cannot be read"),
    ],
)
def test_wrong_usage_is_code_2(
    workbench: Workbench, small: Path, facts: Path, arguments: tuple[str, ...], said: str
) -> None:
    given = () if "--facts" in arguments else ("--facts", facts)
    ran = workbench("tune", small, *given, *arguments)
    assert ran.code == 2
    assert said in ran.err


@pytest.mark.parametrize(
    "words", [("tune", "--layers", "0-9"), ("stats", "--layers", "0-9"), ("stats", "--layer", "9")]
)
def test_a_layer_that_the_model_does_not_have_is_code_3(
    workbench: Workbench, small: Path, facts: Path, words: tuple[str, ...]
) -> None:
    command, *more = words
    given = ("--facts", facts) if command == "tune" else ()
    ran = workbench(command, small, *given, *more)
    assert (ran.code, ran.out) == (3, "")
    said, hint = ran.err.splitlines()[-2:]
    assert "The model has no layer" in said
    assert hint.startswith("hint: Choose ")


def test_facts_that_the_model_does_not_know_are_code_1(workbench: Workbench, small: Path) -> None:
    ran = workbench("tune", small)
    assert ran.code == 1
    assert "facts right" in ran.err
    assert "--facts" in ran.err


def test_two_models_are_one_too_many(workbench: Workbench) -> None:
    assert workbench("tune", "one", "--model", "other").code == 2


def test_help_is_told_without_torch_and_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    code = "import sys; from workbench.cli.main import run; run(['tune', '--help']); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "workbench tune ./my-model --show > mine.json" in done.stdout
    assert run(["--help"]) == 0
    assert "tune" in capsys.readouterr().out


def trial(layer: int, s: float, stage: str = "layers", ns: float | None = 0.5) -> ev.TrialResult:
    recipe = {"layer": layer, "lr": 0.5, "clamp_factor": 4.0, "weight_decay": 0.001, "steps": 20}
    return ev.TrialResult(
        number=1, of=9, stage=stage, recipe=recipe, second_moment=True, es=1.0, ps=0.25, ns=ns, s=s, ratio=0.01,
        facts=4, failed=0, seconds=1.0,
    )  # fmt: skip


def test_a_trial_stands_in_the_columns_of_the_header() -> None:
    (line,) = trial_lines(trial(17, 0.4, ns=None))
    assert len(line) == len(HEADER)
    for name, value in (("layer", "17"), ("ES", "1.000"), ("NS", "·"), ("lr", "0.5"), ("decay", "0.001")):
        end = HEADER.index(f" {name} ") + len(name) + 1
        assert line[:end].endswith(value)


def test_how_many_edits_failed_is_told_within_the_width_of_the_table() -> None:
    columns, note = trial_lines(replace(trial(17, 0.0), facts=100, failed=66))
    assert (len(columns), note.strip()) == (len(HEADER), "66 of 100 edits not made")
    assert len(note) <= len(HEADER)


def test_the_curve_has_the_best_of_every_layer_in_their_order() -> None:
    rows = layer_curve([trial(9, 0.5), trial(2, 0.25), trial(9, 0.75), trial(5, 0.0)], best=9)
    assert [layer for layer, _, _ in rows] == [2, 5, 9]
    assert [line.split()[1] for _, line, _ in rows] == ["0.250", "0.000", "0.750"]
    assert [is_best for _, _, is_best in rows] == [False, False, True]
    assert (bar(0), len(bar(1)), len(bar(2))) == ("", 40, 40)
    assert [len(bar(share / 8)) for share in range(9)] == [0, 5, 10, 15, 20, 25, 30, 35, 40]
