"""Evaluations: what they measure is what hand-made edits give, and the base is asked once."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from tests.engine.evaluations import QUICK, REQUESTS, TOO_LONG, evaluated, results, wanted
from tests.engine.making import REQUEST, drain, open_on, weight_bytes
from workbench.engine.evaluating import scorer as scoring
from workbench.engine.evaluating.bootstrap import intervals
from workbench.engine.evaluating.cases import score_cases
from workbench.engine.evaluating.outcome import outcome
from workbench.engine.evaluating.record import CaseLine, CheckpointLine
from workbench.engine.evaluating.results import Results
from workbench.errors import StackError, UsageError
from workbench.events import CaseScored, CheckpointScored, EvalStarted
from workbench.models.kept import kept_for
from workbench.probing.metrics import CaseScore
from workbench.stack.store import Stack


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))


def lines(folder: Path) -> list[CaseLine]:
    return [*Results.at(folder).cases.values()]


def by_hand(model: Path, folder: Path, **changes: Any) -> list[tuple[CaseScore, dict[str, Any]]]:
    """Every request applied to a fresh stack of its own, and asked for its probes."""
    found = []
    for place, request in enumerate(REQUESTS):
        engine = open_on(model, folder / f"stack-{place}")
        drain(engine.apply(request, {**QUICK, **changes}))
        (score,) = drain(score_cases(engine.core, [request], cancelled=lambda: False))[1]
        found.append((score, engine.stack.applied[0].metrics))
        engine.close()
    return found


@pytest.mark.parametrize("method", ["r-rome", "rome", "p-rome"])
def test_single_edits_are_those_of_apply_each_on_a_stack_of_its_own(small: Path, tmp_path: Path, method: str) -> None:
    evaluated(wanted(small, tmp_path, changes={"method": method}))
    for line, (score, metrics) in zip(lines(tmp_path / "out"), by_hand(small, tmp_path, method=method), strict=True):
        assert [(p.kind, p.passed) for p in line.edited.probes] == [(p.kind, p.passed) for p in score.probes]
        for one, other in zip(line.edited.probes, score.probes, strict=True):
            assert one.new == pytest.approx(other.new, rel=1e-6)
        for name in ("ratio", "delta_norm", "drift", "division_factor"):
            assert line.norms[name] == pytest.approx(metrics["norms"][name], rel=1e-12)
        assert line.perplexity == metrics["perplexity"]["after"]
        assert line.base != line.edited


def test_sequential_edits_are_a_stack_that_stays(small: Path, tmp_path: Path) -> None:
    events = evaluated(wanted(small, tmp_path, mode="sequential", every=2))
    assert [event.edited for event in events if isinstance(event, CheckpointScored)] == [2, 4, 5]
    with Stack.open(tmp_path / "out" / "stack") as stack:
        assert [edit.request for edit in stack.applied] == REQUESTS
    engine = open_on(small, tmp_path / "out" / "stack")
    scores = drain(score_cases(engine.core, REQUESTS, cancelled=lambda: False))[1]
    found = Results.at(tmp_path / "out").checkpoints[5]
    assert [*found.scores.values()] == [*scores]
    assert found.drift == engine.core.live.drift()
    assert found.perplexity == engine.core.perplexity()
    drain(engine.travel(1))
    (first,) = drain(score_cases(engine.core, [REQUESTS[0]], cancelled=lambda: False))[1]
    assert first == lines(tmp_path / "out")[0].edited
    engine.close()


@pytest.mark.parametrize("mode", ["single", "sequential"])
def test_edits_of_several_cases_are_made_in_batches(small: Path, tmp_path: Path, mode: str) -> None:
    asked = wanted(small, tmp_path, mode=mode, batch=2, changes={"method": "emmet"})
    evaluated(asked)
    found = lines(tmp_path / "out")
    assert [line.case for line in found] == [0, 1, 2, 3, 4]
    assert found[0].norms == found[1].norms != found[2].norms
    if mode == "sequential":
        with Stack.open(tmp_path / "out" / "stack") as stack:
            assert [len(edit.requests) for edit in stack.applied] == [2, 2, 1]


@pytest.mark.parametrize("mode", ["single", "sequential"])
def test_an_edit_that_cannot_be_made_is_a_failure_and_the_others_go_on(small: Path, tmp_path: Path, mode: str) -> None:
    events = evaluated(wanted(small, tmp_path, [REQUEST, TOO_LONG, REQUESTS[2]], mode=mode))
    told = [event for event in events if isinstance(event, CaseScored)]
    assert [bool(event.failed) for event in told] == [False, True, False]
    assert told[1].ratio is None
    found = outcome(Results.at(tmp_path / "out"), 3)
    assert (found.cases, found.failed) == (3, 1)
    assert found.rows["es"]["edited"] == pytest.approx(sum(event.edited["es"] for event in told) / 3)


def test_one_that_cannot_be_made_is_left_out_of_its_batch(small: Path, tmp_path: Path) -> None:
    asked = wanted(small, tmp_path, [REQUEST, TOO_LONG], mode="sequential", batch=2, changes={"method": "memit"})
    evaluated(asked)
    assert [bool(line.edited.failed) for line in lines(tmp_path / "out")] == [False, True]


def test_the_base_is_asked_once_for_all_evaluations(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluated(wanted(small, tmp_path / "a"))
    asked: list[int] = []
    monkeypatch.setattr(scoring.KeptBase, "add", lambda _, case, __: asked.append(case))
    evaluated(wanted(small, tmp_path / "b", changes={"method": "rome"}, limit=3, seed=4))
    evaluated(wanted(small, tmp_path / "c", mode="sequential"))
    assert asked == []
    first, third = lines(tmp_path / "a" / "out"), lines(tmp_path / "c" / "out")
    assert [line.base for line in first] == [line.base for line in third]


def test_what_is_kept_of_the_base_may_be_damaged(small: Path, tmp_path: Path) -> None:
    evaluated(wanted(small, tmp_path / "a"))
    (fingerprint,) = {json.loads((tmp_path / "a/out/plan.json").read_bytes())["model"]["fingerprint"]}
    (kept,) = (kept_for(fingerprint) / "eval").glob("*.jsonl")
    kept.write_bytes(kept.read_bytes()[:-40] + b"\n\xff{}\n[]\n")
    evaluated(wanted(small, tmp_path / "b"))
    assert results(tmp_path / "a/out") == results(tmp_path / "b/out")


def test_the_model_is_as_it_was_after_single_edits(small: Path, tmp_path: Path) -> None:
    from workbench.engine.evaluating.plan import plan_of
    from workbench.engine.evaluating.single import edit_alone, units_of

    engine, asked = open_on(small, tmp_path / "stack"), wanted(small, tmp_path)
    recipe, before = engine.core.recipe(asked.changes), weight_bytes(engine)
    found = Results.of(asked.out, plan_of(engine.core, asked, recipe))
    scorer = scoring.Scorer(engine.core, asked, recipe, lambda: False)
    making = edit_alone(engine.core, units_of(asked.cases, 1), recipe, scorer, found, 5, lambda: False)
    next(event for event in making if isinstance(event, CaseScored))
    assert weight_bytes(engine) == before
    making.close()
    assert weight_bytes(engine) == before
    assert [*found.cases] == [0]
    engine.close()


def test_the_seed_decides_the_order_and_the_limit_how_many(small: Path, tmp_path: Path) -> None:
    asked = wanted(small, tmp_path, limit=3, seed=1)
    assert [case.number for case in wanted(small, tmp_path, limit=3).cases] == [0, 1, 2]
    order = [case.number for case in asked.cases]
    assert order != [0, 1, 2]
    evaluated(asked)
    assert [line.case for line in lines(tmp_path / "out")] == order


def test_a_sample_is_scored_at_checkpoints(small: Path, tmp_path: Path) -> None:
    evaluated(wanted(small, tmp_path, mode="sequential", every=2, sample=3))
    found = Results.at(tmp_path / "out").checkpoints
    assert {edited: len(line.scores) for edited, line in found.items()} == {0: 0, 2: 2, 4: 3, 5: 3}


def test_c_rome_makes_the_update_of_r_rome_and_asks_behind_a_prefix(small: Path, tmp_path: Path) -> None:
    evaluated(wanted(small, tmp_path / "r"))
    evaluated(wanted(small, tmp_path / "c", changes={"method": "c-rome"}))
    for one, other in zip(lines(tmp_path / "r/out"), lines(tmp_path / "c/out"), strict=True):
        assert one.norms == other.norms
        assert one.edited.probes[0].new != other.edited.probes[0].new


def test_what_is_written_is_measured_on_the_base_and_edited(small: Path, tmp_path: Path) -> None:
    from workbench.probing.metrics_text import References

    references = References({"Irish": ("The mother tongue of Clara is Irish.",)})
    evaluated(wanted(small, tmp_path, generate=16, references=references))
    found = lines(tmp_path / "out")
    assert all(line.base.entropy and line.edited.entropy is not None for line in found)
    assert found[0].edited.consistency is not None
    assert found[1].edited.consistency is None  # no text speaks of its target
    row = outcome(Results.at(tmp_path / "out"), 5).rows["entropy"]
    assert row["edited_low"] <= row["edited"] <= row["edited_high"]


def test_another_plan_in_the_same_folder_is_refused_and_says_what_differs(small: Path, tmp_path: Path) -> None:
    evaluated(wanted(small, tmp_path))
    before = results(tmp_path / "out")
    with pytest.raises(UsageError, match=r"recipe\.method is r-rome there and rome here"):
        evaluated(wanted(small, tmp_path, changes={"method": "rome"}))
    with pytest.raises(UsageError, match=r"cases\.sha256"):
        evaluated(wanted(small, tmp_path, REQUESTS[:3]))
    assert results(tmp_path / "out") == before


def test_a_sequence_leaves_no_stack_in_the_folder_of_single_edits(small: Path, tmp_path: Path) -> None:
    evaluated(wanted(small, tmp_path, REQUESTS[:1]))
    before = {path.name for path in (tmp_path / "out").iterdir()}
    with pytest.raises(UsageError, match="mode is single there and sequential here"):
        evaluated(wanted(small, tmp_path, REQUESTS[:1], mode="sequential"))
    assert {path.name for path in (tmp_path / "out").iterdir()} == before


@pytest.mark.parametrize("mode", ["single", "sequential"])
def test_a_folder_that_holds_something_else_is_left_alone(small: Path, tmp_path: Path, mode: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("x")
    with pytest.raises(UsageError, match="holds something else"):
        evaluated(wanted(small, tmp_path, mode=mode))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("more", "said"),
    [({"batch": 2}, "makes an edit of each"), ({"every": 2}, "stands alone"), ({"sample": 2}, "stands alone")],
)
def test_what_makes_no_sense_together_is_refused(small: Path, tmp_path: Path, more: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        evaluated(wanted(small, tmp_path, **more))
    assert not (tmp_path / "out").exists()


def test_a_stack_that_somebody_moved_is_not_gone_on_with(small: Path, tmp_path: Path) -> None:
    asked = wanted(small, tmp_path, mode="sequential")
    evaluated(asked, cancelled=lambda: len(written(asked.out)) > 2)
    engine = open_on(small, asked.out / "stack")
    assert engine.stack.position == 3
    drain(engine.travel(1))
    engine.close()
    with pytest.raises(StackError, match="by the results it would be at"):
        evaluated(asked)


def written(folder: Path) -> list[bytes]:
    """The lines of cases so far."""
    path = folder / "results.jsonl"
    return path.read_bytes().splitlines() if path.exists() else []


class Stopping:
    """Says to stop once it has been asked so many times."""

    def __init__(self, after: int) -> None:
        self._left = after

    def __call__(self) -> bool:
        self._left -= 1
        return self._left < 0


@pytest.mark.parametrize("mode", ["single", "sequential"])
def test_a_stopped_run_goes_on_with_the_same_results(small: Path, tmp_path: Path, mode: str) -> None:
    whole = wanted(small, tmp_path / "whole", mode=mode, every=2 if mode == "sequential" else None)
    evaluated(whole)
    stopped = dataclasses.replace(whole, out=tmp_path / "stopped")
    for asked in (3, 9, 14, 20, 33):
        evaluated(stopped, cancelled=Stopping(asked))
    (started,) = [event for event in evaluated(stopped) if isinstance(event, EvalStarted)]
    assert started.done > 0
    assert results(tmp_path / "stopped") == results(tmp_path / "whole/out")


def test_a_line_that_is_not_whole_is_done_again(small: Path, tmp_path: Path) -> None:
    asked = wanted(small, tmp_path)
    evaluated(asked)
    before = results(asked.out)
    path = asked.out / "results.jsonl"
    path.write_bytes(path.read_bytes()[:-30])
    evaluated(asked)
    assert results(asked.out) == before


def test_an_edit_is_the_same_whatever_was_edited_before_it(small: Path, tmp_path: Path) -> None:
    evaluated(wanted(small, tmp_path / "all"))
    evaluated(wanted(small, tmp_path / "one", [REQUESTS[2]]))
    (alone,) = lines(tmp_path / "one/out")
    assert dataclasses.replace(alone, case=2) == lines(tmp_path / "all/out")[2]


def test_lines_come_back_as_they_were_also_where_numbers_are_none() -> None:
    score = CaseScore((), entropy=float("inf"), failed="no")
    line = CaseLine(3, "a\u2028", "北京", score, score, {"ratio": float("inf")}, float("inf"), "x")
    assert CaseLine.read(line.line()) == line
    assert line.line().count(b"\n") == 1
    checkpoint = CheckpointLine(2, {3: score}, None, 0.5)
    assert CheckpointLine.read(checkpoint.line()) == checkpoint
    for hostile in (b"", b"{}", b"[]", b'{"case": -1}', b"\xff", b'{"case":"1"}', b"null", b'{"case":1,"base":3}'):
        assert CaseLine.read(hostile) is None
        assert CheckpointLine.read(hostile) is None


def test_intervals_of_nothing_are_none() -> None:
    assert set(intervals([]).values()) == {None}
