"""`workbench compact`: two stacks side by side in 80 columns, and what was gained and lost."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.conftest import Workbench
from workbench.cli.compact import shown
from workbench.events import Compacted, from_line, to_line

FACTS = [
    {"subject": subject, "prompt": "{} lies in", "target_new": target, "target_true": "Europe"}
    for subject, target in (("Lisbon", "Peru"), ("Oslo", "Chile"), ("Rome", "Cuba"))
]


def found(**rows: dict[str, float | None]) -> Compacted:
    return Compacted(
        source="old",
        folder="new one",
        method="emmet",
        requests=3,
        superseded=1,
        left_out=0,
        asked=3,
        rows=rows,
    )


def test_a_stack_is_rebuilt_beside_the_old_one(workbench: Workbench, tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "facts.json").write_text(json.dumps(FACTS), encoding="utf-8")
    assert workbench("apply", "facts.json", "--model", tiny_model, "--stack", "mine").code in (0, 1)
    ran = workbench("compact", "mine", "--model", tiny_model)
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert lines[0] == "memit, 3 requests, 3 of them scored"
    assert max(map(len, lines[:-1])) <= 80
    assert [line.split()[-2:] for line in lines if line.startswith("edits  ")] == [["3", "1"]]
    listed = workbench("log", "mine-compact", "--json")
    assert [event["requests"] for event in listed.events if event["type"] == "EditRow"] == [3]
    rows = [event for event in workbench("log", "mine", "--json").events if event["type"] == "EditRow"]
    assert len(rows) == 3
    assert workbench("verify", "mine-compact", "--model", tiny_model).code == 0
    taken = workbench("compact", "mine", "--model", tiny_model)
    assert (taken.code, taken.out) == (2, "")
    assert "is there already" in taken.err


def test_into_how_many_edits_and_why_is_said_in_80_columns() -> None:
    many = replace(found(), method="memit", requests=10_000, asked=10_000, batch=2_500, room=10_240)
    first, why, *_ = shown(many)
    assert first == "memit, 10000 requests in 4 edits of 2500, 10000 of them scored"
    assert why == "(one takes 2560 at most, a quarter of its keys' 10240 dimensions; or --batch N)"
    assert max(len(first), len(why)) <= 80
    uneven = next(iter(shown(replace(many, requests=500, asked=500, batch=167))))
    assert uneven == "memit, 500 requests in 3 edits of 167, the last of 166, 500 of them scored"
    assert "quarter" not in " ".join(shown(replace(many, room=0)))


def test_what_chance_explains_is_neither_gained_nor_lost() -> None:
    lines = [
        *shown(
            found(
                es={"before": 0.5, "after": 0.9},
                perplexity={"before": 3.0, "after": 2.5, "base": 2.4},
                drift={"before": 1.0, "after": 1.5},
                ns={"before": 0.9, "after": 0.901},
                cloze={"before": 0.95, "after": 0.92, "base": 0.96, "error": 0.02},
            )
        )
    ]
    text = " ".join(line.strip() for line in lines)
    assert "gained: edits whose target wins (ES) 50.0 % → 90.0 %, perplexity on held-out text 3 → 2.5 lost" in text
    assert "lost: drift |W − W0| / |W0| 1 → 1.5" in lines
    assert any("1 request of the stack left out" in line for line in lines)
    assert lines[-1].endswith("workbench health 'new one'")


def test_a_model_that_said_nothing_any_more_has_gained_its_perplexity() -> None:
    perplexity: dict[str, float | None] = {"before": math.inf, "after": 20.0, "base": 22.0}
    assert "gained: perplexity on held-out text inf → 20" in [*shown(found(perplexity=perplexity))]
    assert not any("inf →" in line for line in shown(found(perplexity={"before": math.inf, "after": math.inf})))


def test_its_event_is_on_the_wire() -> None:
    event = found(es={"before": None, "after": 1.0})
    assert from_line(to_line(event)) == event


@pytest.mark.parametrize("words", [("nowhere",), ("mine", "--method", "rome"), ("mine", "--batch", "0")])
def test_wrong_calls_are_one_sentence(workbench: Workbench, words: tuple[str, ...]) -> None:
    ran = workbench("compact", *words)
    assert (ran.code, ran.out) == (2, "")
    assert "Traceback" not in ran.err
