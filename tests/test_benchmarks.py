"""The benchmarks run, so that they are there when they are wanted; their figures are nobody's business here."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks import memory
from tests.benchmarks.__main__ import main
from tests.benchmarks.measuring import Row, Times, against, by_stage
from tests.benchmarks.registry import BENCHMARKS, benchmark, named
from tests.benchmarks.report import comparison, document, line

QUICK = ["edit-gpt2", "edit-llama-1b", "edit-cuda", "materialise", "screen"]
"""Those that start no other process."""


def test_quick_benchmarks_give_a_table_and_a_file_that_a_later_run_is_held_against(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = tmp_path / "first.json"
    assert main([*QUICK, "--quick", "--json", str(first)]) == 0
    told = json.loads(first.read_text())
    assert list(told["benchmarks"]) == QUICK
    assert {"torch", "transformers", "python"} <= set(told["versions"])
    assert told["machine"]["cores"] >= 1
    agreement = [row["value"] for row in told["benchmarks"]["edit-gpt2"] if row["unit"] == "relative"]
    assert len(agreement) == 4
    assert max(agreement) < 1e-5
    said = capsys.readouterr().out
    assert "fast: steps" in said
    assert main(["edit-cuda", "materialise", "--quick", "--against", str(first)]) == 0
    assert f"against the run of {told['made']}" in capsys.readouterr().out


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory is told by Linux alone")
def test_memory_is_measured_above_the_model() -> None:
    told = memory.measure("TINY_LLAMA")
    assert told["model"] > 0
    assert memory.peak(lambda: bytearray(64 * 2**20)) == pytest.approx(64, abs=8)


def test_every_benchmark_can_be_found_and_a_wrong_name_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    for name in BENCHMARKS:
        assert callable(benchmark(name))
    assert named(["edit-gpt2"]) == ["edit-gpt2"]
    assert named(["edit"])[0] == "edit-atlas"
    assert named([]) == list(BENCHMARKS)
    assert main(["nothing"]) == 2
    assert "edit-gpt2" in capsys.readouterr().out


def test_times_are_compared_on_one_machine_alone_and_ratios_everywhere() -> None:
    rows = [Row("fast", 1.0, 1.0, ratio=6.0, against="plain"), Row("gone", 1.0), Row("size", value=3.0, unit="MiB")]
    now = document({"edit": rows}, quick=True)
    earlier: dict[str, Any] = json.loads(json.dumps(now))
    earlier["benchmarks"]["edit"][0].update(ratio=3.0, wall=2.0)
    del earlier["benchmarks"]["edit"][1]
    here = "\n".join(comparison(now, earlier))
    assert "3x -> 6x" in here
    assert "2 s -> 1 s" in here
    assert "gone" not in here
    earlier["machine"]["processor"] = "another"
    there = "\n".join(comparison(now, earlier))
    assert "only ratios" in there
    assert "3x -> 6x" in there
    assert "3 MiB -> 3 MiB" in there
    assert " s -> " not in there


def test_medians_and_ratios_are_of_the_same_run() -> None:
    found = {"slow": Times([4.0, 2.0, 3.0], [8.0, 8.0, 8.0]), "quick": Times([1.0, 1.0, 9.0], [2.0, 2.0, 2.0])}
    slow, quick = against("slow", found, by="cpu")
    assert (slow.wall, slow.ratio) == (3.0, None)
    assert (quick.wall, quick.ratio, quick.against) == (1.0, 4.0, "slow")
    assert "4.00x less than slow" in line(quick)


def test_stages_take_what_is_between_the_events_that_begin_them() -> None:
    def making() -> Any:
        yield "keys"
        yield "more of them"
        yield "steps"
        return 42

    made, stages = by_stage(making(), "before", lambda event: event if event in ("keys", "steps") else None)
    assert made == 42
    assert list(stages) == ["before", "keys", "steps"]
    assert all(len(times.walls) == 1 for times in stages.values())
