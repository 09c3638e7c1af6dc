"""The engine as a child process: JSON lines in and out, and no way to outlive the screen."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.engine.making import OTHER, REQUEST, open_on
from workbench import events as ev
from workbench.engine.protocol import Command, Verb, to_line
from workbench.stack.materialise import weight_sha256
from workbench.stack_wire import Listener

SERVER = ("-m", "workbench.engine.server")


class Child:
    """A running server."""

    def __init__(self, model: Path, stack: Path, log: Path, program: Sequence[str] = SERVER) -> None:
        self.listener = Listener()
        self.process = subprocess.Popen(
            [
                sys.executable,
                *program,
                "--model",
                str(model),
                "--stack",
                str(stack),
                "--device",
                "cpu",
                "--log",
                str(log),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def send(self, do: Verb, job: str, **args: Any) -> None:
        assert self.process.stdin
        self.process.stdin.write(to_line(Command(do, job, args)).encode("utf-8", "backslashreplace") + b"\n")
        self.process.stdin.flush()

    def events(self) -> Iterator[ev.Event]:
        assert self.process.stdout
        for line in self.process.stdout:
            event = ev.from_line(line)
            assert event is not None, line
            heard = self.listener.hear(event)
            assert heard is not None, line
            yield heard

    def until_done(self, job: str) -> list[ev.Event]:
        seen = []
        for event in self.events():
            seen.append(event)
            if isinstance(event, ev.JobDone) and event.job == job:
                return seen
        raise AssertionError("the engine ended")

    def done(self, job: str) -> ev.JobDone:
        last = self.until_done(job)[-1]
        assert isinstance(last, ev.JobDone)
        return last


@pytest.fixture
def child(small: Path, tmp_path: Path) -> Iterator[Child]:
    started = Child(small, tmp_path / "stack", tmp_path / "engine.log")
    yield started
    started.process.kill()
    started.process.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such names")
def test_a_stack_beside_whose_name_is_no_text_is_said_and_opened_as_any(
    child: Child, small: Path, tmp_path: Path
) -> None:
    odd = tmp_path / os.fsdecode(b"bad\xff")
    child.until_done("load")
    open_on(small, odd).close()
    child.send("stacks", "which")
    (said,) = (event for event in child.until_done("which") if isinstance(event, ev.StacksBeside))
    assert [folder for folder, _, _ in said.stacks] == [str(odd)]
    child.send("open", "it", stack=said.stacks[0][0])
    assert child.done("it").ok
    child.send("apply", "one", request=OTHER.to_json())
    assert child.done("one").ok
    child.send("export", "two", format="bundle", out=str(odd) + ".zip")
    assert child.done("two").ok
    assert odd.with_name(odd.name + ".zip").stat().st_size > 1_000
    child.send("open", "no", stack="a\0b")
    assert "file or folder 'stack'" in child.done("no").message
    child.send("quit", "-")
    assert child.process.wait(timeout=60) == 0


def test_a_day_with_the_engine(child: Child, small: Path, tmp_path: Path) -> None:
    loading = child.until_done("load")
    assert [type(e) for e in loading[-3:]] == [ev.ModelReady, ev.StackChanged, ev.JobDone]

    child.send("apply", "one", request=OTHER.to_json())
    made = child.until_done("one")
    committed = next(e for e in made if isinstance(e, ev.EditCommitted))
    assert {e.job for e in made} == {"one"}
    assert [e.seq for e in loading + made] == list(range(1, len(loading) + len(made) + 1))

    child.send("apply", "bad", request={"prompt": "no slot", "subject": "x", "target_new": "y"})
    failed = child.done("bad")
    assert not failed.ok
    assert failed.exit_code == 2
    assert "{}" in failed.message

    child.send("cancel", "-", of="two")
    child.send("apply", "two", request=REQUEST.to_json())
    assert any(isinstance(e, ev.EditCancelled) for e in child.until_done("two"))

    assert child.process.stdin
    child.process.stdin.write(b"this is not JSON\n")
    child.process.stdin.flush()
    assert isinstance(said := next(child.events()), ev.Log)
    assert "not understood" in said.message

    child.process.stdin.write(b'{"do": "fly", "job": "later", "args": {}}\n')
    child.process.stdin.flush()
    unknown = child.done("later")
    assert unknown.message == "This engine does not know it: 'fly' is no command."
    assert "same version" in unknown.hint

    child.send("quit", "-")
    assert child.process.wait(timeout=60) == 0
    again = open_on(small, tmp_path / "stack")
    weight = again.core.live.parameter("transformer.h.1.mlp.c_proj")
    assert weight_sha256(weight) == committed.weight_sha256
    again.close()


def test_the_engine_ends_when_its_screen_does(child: Child) -> None:
    child.until_done("load")
    assert child.process.stdin
    child.process.stdin.close()
    assert child.process.wait(timeout=60) == 0


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_hangup_ends_it_and_frees_the_stack(child: Child, small: Path, tmp_path: Path) -> None:
    child.until_done("load")
    child.process.send_signal(signal.SIGHUP)
    assert child.process.wait(timeout=60) == 0
    open_on(small, tmp_path / "stack").close()


def test_a_killed_engine_loses_nothing_that_was_committed(child: Child, small: Path, tmp_path: Path) -> None:
    child.until_done("load")
    child.send("apply", "one", request=OTHER.to_json())
    child.until_done("one")
    child.send("apply", "two", request=REQUEST.to_json())
    for event in child.events():
        if isinstance(event, ev.OptimStep):
            child.process.kill()
            break
    child.process.wait()
    again = open_on(small, tmp_path / "stack")
    assert len(again.stack.line) == 1
    again.close()


def test_a_model_that_is_not_there_is_said_and_not_a_traceback(tmp_path: Path) -> None:
    started = Child(tmp_path / "nothing", tmp_path / "stack", tmp_path / "engine.log")
    done = started.done("load")
    assert done.exit_code == 3
    assert "no model" in done.message
    assert started.process.wait(timeout=60) == 3


def test_what_a_library_prints_goes_to_the_log(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from workbench.engine.server import own_descriptors; "
        f"commands, events = own_descriptors(Path({str(tmp_path / 'engine.log')!r})); "
        "print('noise', flush=True); os.write(2, b'more noise'); events.write(b'event'); events.flush()"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, stdin=subprocess.DEVNULL)
    assert (out.stdout, out.stderr) == (b"event", b"")
    assert (tmp_path / "engine.log").read_text() == "noise\nmore noise"


def test_every_verb_has_a_job() -> None:
    from workbench.engine.dispatch import _JOBS
    from workbench.engine.protocol import NO_JOBS, VERBS

    assert {*_JOBS, *NO_JOBS} == set(VERBS)


def test_the_first_word_comes_before_torch_is_imported() -> None:
    code = "import sys; import workbench.engine.server; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
