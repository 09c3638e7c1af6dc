"""How an engine's process ends: after what nobody expected, and when its screen is gone in the middle of something."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.benchmarks.making import make_stack
from tests.engine.making import OTHER, REQUEST, open_on
from tests.engine.test_server import Child
from workbench import events as ev
from workbench.engine.failing import reason_of
from workbench.engine.server import model_of

Start = Callable[[str], Child]

CUDA = "CUDA error: device-side assert triggered"
ADVICE = "CUDA kernel errors might be asynchronously reported.\\nFor debugging consider CUDA_LAUNCH_BLOCKING=1"
FAILING = f"""
import sys
from workbench.engine import asking, server
def answer(core, prompt, *_):
    says = {{"memory": "CUDA out of memory. Tried to allocate 2.00 GiB", "cuda": "{CUDA}\\n{ADVICE}"}}
    raise RuntimeError(says[prompt])
    yield
asking.answer = answer
sys.exit(server.main())
"""
"""An engine that fails at a question as its prompt says."""
LOADING = """
import sys, time
from workbench.engine import server
def loading():
    yield server.ModelLoading(stage="x")
    {then}
server.GRACE = 0.3
sys.exit(server.Server(*server.own_descriptors(None)).run(loading()))
"""
"""An engine without a model that does something else while it loads."""


@pytest.fixture
def start(small: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts a program instead of the server, with the server's options."""

    def started(program: str) -> Child:
        children.append(Child(small, tmp_path / "stack", tmp_path / "engine.log", ["-c", program]))
        return children[-1]

    children: list[Child] = []
    yield started
    for child in children:
        child.process.kill()
        child.process.wait()


def test_memory_that_ran_out_fails_a_job_and_a_dead_device_ends_the_engine(
    start: Start, small: Path, tmp_path: Path
) -> None:
    child = start(FAILING)
    child.until_done("load")
    child.send("answer", "one", prompt="memory")
    done = child.done("one")
    assert "ran out of memory" in done.message
    assert done.exit_code == 3
    child.send("apply", "two", request=OTHER.to_json())
    assert any(isinstance(event, ev.EditCommitted) for event in child.until_done("two"))
    child.send("answer", "three", prompt="cuda")
    assert [event.reason for event in child.events() if isinstance(event, ev.EngineEnding)] == [CUDA]
    assert child.process.wait(timeout=60) == 3
    assert "Traceback" in (tmp_path / "engine.log").read_text()
    again = open_on(small, tmp_path / "stack")
    assert len(again.stack.line) == 1
    again.close()


def test_a_fault_of_its_own_is_the_last_word(start: Start) -> None:
    child = start(LOADING.format(then="raise KeyError('bias')"))
    *_, last = child.events()
    assert isinstance(last, ev.EngineEnding)
    assert last.reason == "a fault of the engine: KeyError: 'bias'"
    assert child.process.wait(timeout=60) == 1


def test_a_step_that_does_not_end_does_not_outlive_the_screen(start: Start) -> None:
    child = start(LOADING.format(then="time.sleep(600)"))
    next(child.events())
    assert child.process.stdin
    child.process.stdin.close()
    assert child.process.wait(timeout=60) == 0


def test_a_screen_that_goes_in_the_middle_of_an_edit_takes_the_engine_with_it(
    start: Start, small: Path, tmp_path: Path
) -> None:
    child = start("import sys; from workbench.engine import server; sys.exit(server.main())")
    child.until_done("load")
    child.send("apply", "one", request=REQUEST.to_json(), recipe={"steps": 300, "loss_stop": 0.0})
    assert isinstance(next(e for e in child.events() if isinstance(e, (ev.OptimStep, ev.JobDone))), ev.OptimStep)
    assert child.process.stdin
    assert child.process.stdout
    child.process.stdin.close()
    child.process.stdout.close()
    assert child.process.wait(timeout=60) == 0
    again = open_on(small, tmp_path / "stack")
    assert again.stack.line == ()
    again.close()


def test_the_script_says_what_it_takes() -> None:
    out = subprocess.run(
        [sys.executable, "-m", "workbench.engine.server", "--help"], capture_output=True, text=True, check=True
    )
    assert "ssh HOST workbench-engine" in " ".join(out.stdout.split())


def test_without_a_model_it_takes_the_one_of_the_stack(small: Path, tmp_path: Path) -> None:
    assert model_of(tmp_path / "none") == model_of(None) == "atlas"
    make_stack(tmp_path / "other", 1)
    assert model_of(tmp_path / "other") == "scale"


def test_a_reason_is_one_line_and_names_the_device_first() -> None:
    assert reason_of(RuntimeError(f"{CUDA}\nadvice")) == CUDA
    assert reason_of(ValueError()) == "a fault of the engine: ValueError"
    assert len(reason_of(RuntimeError("x" * 9_999))) <= 300
