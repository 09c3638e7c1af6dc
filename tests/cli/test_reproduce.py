"""`workbench reproduce collapse` as it is called: its table, its words, its plot, and wrong ways to call it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Workbench
from workbench import events as ev
from workbench.cli.reproduce_table import HEADER, shown
from workbench.stack.store import Stack

FACTS = """subject,prompt,target_new,target_true
Lisbon,{} lies in,Peru,Portugal
Oslo,{} lies in,Chile,Norway
Rome,{} lies in,Norway,Italy
"""
QUICK = ("--set", "steps=2", "--set", "template_lengths=[[3,2]]", "--sample", 2, "--every", 1)


@pytest.fixture
def facts(tmp_path: Path) -> Path:
    path = tmp_path / "facts.csv"
    path.write_text(FACTS, encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))


def test_every_method_has_a_line_a_stack_and_a_sentence(
    workbench: Workbench, tiny_model: Path, facts: Path, tmp_path: Path
) -> None:
    command = ("reproduce", "collapse", "--facts", facts, "--model", tiny_model, "--edits", 3, *QUICK)
    ran = workbench(*command, "--methods", "rome,emmet", "--batch", 3, "--out", "x")
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    at = lines.index(HEADER)
    assert [line.split()[:2] for line in lines[at + 1 : at + 3]] == [["rome", "3"], ["emmet", "3"]]
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("ROME: 3 edits") for line in lines)
    for method, edits in (("rome", 3), ("emmet", 1)):
        with Stack.open(tmp_path / "x" / method / "stack", write=False) as stack:
            assert len(stack.applied) == edits
    again = workbench(*command, "--methods", "rome,emmet", "--batch", 3, "--out", "x")
    assert again.out == ran.out
    assert "done in an earlier run" in again.err


def test_its_events_are_json_lines(workbench: Workbench, tiny_model: Path, facts: Path) -> None:
    ran = workbench(
        *("reproduce", "collapse", "--facts", facts, "--model", tiny_model, "--edits", 2, "--methods", "r-rome"),
        *(*QUICK, "--json"),
    )
    assert ran.code == 0, ran.err
    kinds = [json.loads(line)["type"] for line in ran.out.splitlines()]
    assert kinds.count("CaseScored") == 2
    assert kinds.count("Reproduced") == 1


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_its_curves_are_drawn(workbench: Workbench, tiny_model: Path, facts: Path, tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / f"curves{suffix}"
    ran = workbench(
        *("reproduce", "collapse", "--facts", facts, "--model", tiny_model, "--edits", 3, "--methods", "rome,emmet"),
        *(*QUICK, "--batch", 2, "--plot", path),
    )
    assert ran.code == 0, ran.err
    assert path.stat().st_size > 5_000


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--methods", "magic"), "Unknown method 'magic'"),
        (("--methods", ","), "Unknown method"),
        (("--edits", "4"), "sequence of 3 requests; 4 are wanted"),
        (("--plot", "x.pdf"), "not written as 'x.pdf'"),
        (("--facts", "nothing.json"), "nothing.json"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    workbench: Workbench, tiny_model: Path, facts: Path, words: tuple[str, ...], said: str
) -> None:
    ran = workbench("reproduce", "collapse", "--model", tiny_model, "--facts", facts, *words)
    assert ran.code == 2
    assert said in ran.err
    assert "Traceback" not in ran.err
    assert ran.out == ""


def test_the_group_alone_says_what_is_missing(workbench: Workbench) -> None:
    ran = workbench("reproduce")
    assert ran.code == 2
    assert ran.err == "workbench: Missing command.\nhint: See workbench reproduce --help.\n"


def test_a_text_that_is_too_long_is_not_warned_of_by_others(tiny_model: Path, tmp_path: Path) -> None:
    """In a process of its own: what transformers says once it says once a process."""
    rows = [{"subject": "Oslo", "prompt": "Rome " * 200 + "{} lies in", "target_new": "Peru"}]
    (tmp_path / "long.json").write_text(json.dumps(rows), encoding="utf-8")
    model = shutil.copytree(tiny_model, tmp_path / "model")
    words = json.loads((model / "tokenizer_config.json").read_text(encoding="utf-8"))
    (model / "tokenizer_config.json").write_text(json.dumps({**words, "model_max_length": 64}), encoding="utf-8")
    command = ("reproduce", "collapse", "--facts", tmp_path / "long.json", "--model", model, "--edits", 2)
    ran = subprocess.run(
        [sys.executable, "-m", "workbench", *map(str, command)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 2
    assert ran.stderr.splitlines()[0] == "workbench: long.json gives a sequence of 1 requests; 2 are wanted."


def jumped(number: int, times: float) -> ev.Jumped:
    return ev.Jumped(
        method="rome",
        number=number,
        subject="Spain",
        target_new="Peru",
        first=True,
        delta_norm=3 * times,
        times=times,
        division_factor=-0.2,
        perplexity_before=2.5,
        perplexity_after=900.0,
    )


def test_the_largest_jumps_are_named_and_the_others_counted(tmp_path: Path) -> None:
    end = ev.Reproduced(
        method="rome",
        batch=1,
        requests=500,
        made=500,
        first=50,
        jumps=7,
        first_jumps=7,
        delta_median=3.0,
        delta_largest=30.0,
        division_smallest=0.2,
        drift=9.0,
        per_element=1e-3,
        perplexity=900.0,
        perplexity_base=2.4,
        entropy=3.0,
        entropy_base=4.0,
        edited_es=0.9,
        es=0.1,
        ps=0.1,
        ns=0.1,
        phase="catastrophic",
        message="Edit 70 broke the model.",
        broke=70,
    )
    lines = [*shown([*(jumped(number, 5.0 + number) for number in range(7)), end], tmp_path)]
    named = [line for line in lines if "times the median;" in line]
    assert [int(line.split()[0]) for line in named] == [6, 5, 4, 3, 2]
    assert any("and 2 more" in line for line in lines)
    assert any("7 (7)" in line for line in lines)
    assert any("perplexity 2.5 → 900" in line for line in lines)
