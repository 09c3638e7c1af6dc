"""kill -9 at any moment, and any number of workers: the results are the same, byte for byte."""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.engine.evaluations import REQUESTS, evaluated, results, wanted
from tests.engine.making import drain
from workbench.engine.evaluating import workers
from workbench.engine.evaluating.plan import Wanted
from workbench.engine.evaluating.results import Results
from workbench.engine.evaluating.run import run
from workbench.engine.stats.ranks import Ranks
from workbench.errors import EditError, UsageError, WorkbenchError
from workbench.events import CaseScored, EvalStarted, Event, JobDone, to_line
from workbench.stack.store import Stack

POSIX = pytest.mark.skipif(os.name == "nt", reason="no fork and no SIGKILL there")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))


def killed_after(asked: Wanted, seconds: float) -> bool:
    """Runs it in a child that is killed; whether it had come to its end before."""
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            evaluated(asked)
            os._exit(0)
        os._exit(1)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if os.waitpid(child, os.WNOHANG)[0]:
            return True
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


@POSIX
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("mode", ["single", "sequential"])
def test_a_run_killed_at_random_moments_has_the_results_of_one_that_was_not(
    small: Path, tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = wanted(small, tmp_path / "whole", mode=mode, every=2 if mode == "sequential" else None)
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "another"))
    started = time.monotonic()
    evaluated(whole)
    took = time.monotonic() - started
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))
    rng, cut = random.Random(mode), dataclasses.replace(whole, out=tmp_path / "cut")
    for _ in range(6):
        if killed_after(cut, rng.uniform(0.1, 0.9) * took):
            break
    evaluated(cut)
    assert results(cut.out) == results(whole.out)
    if mode == "sequential":
        with Stack.open(cut.out / "stack") as stack, Stack.open(whole.out / "stack") as other:
            assert [edit.weights for edit in stack.applied] == [edit.weights for edit in other.applied]


def test_every_write_may_be_the_last(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process ends right behind each line that it has written, and right before."""
    whole = wanted(small, tmp_path / "whole", REQUESTS[:3], mode="sequential", every=1)
    evaluated(whole)
    own = Results.add
    for behind in (True, False):
        cut = dataclasses.replace(whole, out=tmp_path / f"cut-{behind}")

        def dying(self: Results, line: object, behind: bool = behind) -> None:
            if behind:
                own(self, line)  # type: ignore[arg-type]
            raise KeyboardInterrupt

        for _ in range(4 if behind else 1):
            monkeypatch.setattr(Results, "add", dying)
            with contextlib.suppress(KeyboardInterrupt):
                evaluated(cut)
            monkeypatch.setattr(Results, "add", own)
        evaluated(cut)
        assert results(cut.out) == results(whole.out)


def test_ranks_share_the_cases_and_the_first_puts_them_together(small: Path, tmp_path: Path) -> None:
    alone = wanted(small, tmp_path / "alone")
    evaluated(alone)
    shared = dataclasses.replace(alone, out=tmp_path / "shared")
    for rank in (2, 1):
        told = [event for event in evaluated(shared, Ranks(rank, 3)) if isinstance(event, CaseScored)]
        assert [event.case % 3 for event in told] == [rank] * len(told)
    assert {path.name for path in shared.out.glob("*.jsonl")} == {"results.part-1.jsonl", "results.part-2.jsonl"}
    drain(run(shared, lambda: False, Ranks(0, 3), waiting=True))
    assert results(shared.out) == results(alone.out)


def test_one_worker_goes_on_with_what_several_have_begun(small: Path, tmp_path: Path) -> None:
    alone = wanted(small, tmp_path / "alone")
    evaluated(alone)
    shared = dataclasses.replace(alone, out=tmp_path / "shared")
    evaluated(shared, Ranks(0, 2))
    told = [event for event in evaluated(shared) if isinstance(event, CaseScored)]
    assert [event.case for event in told] == [1, 3]
    assert results(shared.out) == results(alone.out)


@POSIX
def test_two_workers_have_the_results_of_one(small: Path, tmp_path: Path) -> None:
    alone = wanted(small, tmp_path / "alone")
    evaluated(alone)
    shared = dataclasses.replace(alone, out=tmp_path / "shared")
    evaluated(shared, Ranks(0, 3))  # a part that is there from an earlier run, of another number of workers
    events, complete = drain(workers.evaluate(shared, 2, lambda: False))
    assert complete
    (started,) = [event for event in events if isinstance(event, EvalStarted)]
    assert (started.workers, started.done) == (2, 2)
    assert [event.done for event in events if isinstance(event, CaseScored)] == [3, 4, 5]
    assert results(shared.out) == results(alone.out)


@POSIX
def test_a_worker_that_dies_is_named_and_its_work_goes_on_later() -> None:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=os.abort)
    process.start()
    there.close()
    with pytest.raises(EditError, match="Worker 3 was killed in the middle of its work") as error:
        list(workers._follow([workers._Worker(3, process, here)], workers._Told(4, 0), lambda: False))
    assert "the same command goes on" in error.value.hint
    process.join()
    here.close()


def test_an_error_of_a_worker_is_told_as_its_own() -> None:
    here, there = multiprocessing.get_context("spawn").Pipe(duplex=False)
    there.send_bytes(to_line(JobDone(ok=False, message="No such model.", hint="Name it.", exit_code=3)).encode())
    worker = workers._Worker(0, multiprocessing.get_context("spawn").Process(), here)
    with pytest.raises(WorkbenchError, match="No such model") as error:
        list(workers._follow([worker], workers._Told(1, 0), lambda: False))
    assert (error.value.hint, error.value.exit_code) == ("Name it.", 3)


def test_edits_in_sequence_have_one_worker(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = wanted(small, tmp_path, mode="sequential")
    with pytest.raises(UsageError, match="build on each other"):
        drain(workers.evaluate(asked, 2, lambda: False))
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="build on each other"):
        drain(workers.evaluate(asked, 1, lambda: False))
    with pytest.raises(UsageError, match="launcher"):
        drain(workers.evaluate(asked, 2, lambda: False))


def test_words_of_several_workers_are_told_once() -> None:
    told = workers._Told(2, 1)
    started = EvalStarted(dataset="d", model="m", mode="single", recipe={}, cases=4, done=1, out="o")
    case = CaseScored(case=3, done=1, of=4, subject="s", target_new="t", base={}, edited={})
    seen: list[Event] = [*told(0, started), *told(1, started), *told(1, case), *told(0, case)]
    assert [event.workers for event in seen if isinstance(event, EvalStarted)] == [2]
    assert [event.done for event in seen if isinstance(event, CaseScored)] == [2, 3]
