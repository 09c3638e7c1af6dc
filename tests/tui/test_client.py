"""The engine's process: events in, commands out, and a plain reason when it ends."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tui.story import stack
from workbench import events as ev
from workbench.engine.protocol import Command
from workbench.stack_wire import Teller
from workbench.tui.client import ProcessClient, engine_arguments

GOOD = ev.to_line(ev.ModelLoading(stage="reading"))
ECHO = """
import json, sys
say = lambda **d: print(json.dumps(d), flush=True)
say(type="ModelLoading", stage="reading", fraction=0.5)
for line in sys.stdin:
    command = json.loads(line)
    if command["do"] == "quit":
        break
    say(type="Log", message=command["args"]["text"], job=command["job"])
"""


class Wire:
    """Collects what a client says."""

    def __init__(self, tmp_path: Path, program: str) -> None:
        self.events: list[ev.Event] = []
        self.reasons: list[str] = []
        self.log = tmp_path / "logs" / "engine.log"
        self.client = ProcessClient([sys.executable, "-c", program], self.log)

    async def start(self) -> None:
        await self.client.start(self.events.append, self.reasons.append)

    async def until_events(self, count: int) -> None:
        await self._until(lambda: len(self.events) >= count)

    async def until_stopped(self) -> str:
        await self._until(lambda: bool(self.reasons))
        return self.reasons[0]

    async def _until(self, met: object) -> None:
        assert callable(met)
        for _ in range(500):
            if met():
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"{self.events} {self.reasons}")

    def messages(self) -> list[str]:
        return [event.message for event in self.events if isinstance(event, ev.Log)]


async def test_events_come_in_and_commands_go_out(tmp_path: Path) -> None:
    wire = Wire(tmp_path, ECHO)
    await wire.start()
    wire.client.send(Command("note", "j1", {"text": "Zürich ␛ 北京"}))
    await wire.until_events(2)
    await wire.client.stop()
    assert wire.events == [ev.ModelLoading(stage="reading", fraction=0.5), ev.Log(message="Zürich ␛ 北京", job="j1")]
    assert wire.reasons == []


async def test_lines_that_are_no_events_are_logged_and_reading_goes_on(tmp_path: Path) -> None:
    wire = Wire(
        tmp_path, 'print("oops"); print("[1]"); print(\'{"type": "Later", "x": 1}\'); print("[" * 99999); ' + ECHO
    )
    await wire.start()
    await wire.until_events(5)
    await wire.client.stop()
    kinds = [message.split(":")[0].split(" (")[0] for message in wire.messages()]
    assert kinds == ["Not an event", "Not an event", "Unknown event", "Not an event"]
    assert isinstance(wire.events[-1], ev.ModelLoading)


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "killed by SIGKILL, perhaps out of memory"),
        ("import os; os.abort()", "killed by SIGABRT"),
        ("import sys; sys.exit(3)", "it ended with exit code 3"),
        ("pass", "it ended by itself"),
        ("raise RuntimeError('device-side assert \\x1b[2J')", "exit code 1: RuntimeError: device-side assert ␛[2J"),
    ],
)
async def test_why_it_ended_is_said_in_words(tmp_path: Path, program: str, reason: str) -> None:
    wire = Wire(tmp_path, program)
    await wire.start()
    assert reason in await wire.until_stopped()
    assert len(wire.reasons) == 1


async def test_what_it_printed_last_is_in_the_log_of_events(tmp_path: Path) -> None:
    wire = Wire(tmp_path, "import sys; print('CUDA error: no kernel', file=sys.stderr); sys.exit(1)")
    await wire.start()
    await wire.until_stopped()
    assert wire.messages() == ["engine: CUDA error: no kernel", f"All of the engine's log is in {wire.log}"]


@pytest.mark.parametrize("line", ['{"type": "StepTogether", "step": "x"}', '{"type": "Log", "message": 3}'])
async def test_an_event_that_is_not_as_it_should_be_ends_the_link_with_a_reason(tmp_path: Path, line: str) -> None:
    program = f"import sys; print({line!r}, flush=True); print({GOOD!r}, flush=True); sys.stdin.read()"
    wire = Wire(tmp_path, program)
    await wire.start()
    reason = await wire.until_stopped()
    assert reason.startswith("what it says is not as it should be")
    assert line.split('"')[3] in reason
    assert wire.events == [], "nothing is believed any more"
    assert wire.client._process is not None
    assert wire.client._process.returncode is not None


async def test_the_last_word_of_an_engine_is_the_reason(tmp_path: Path) -> None:
    last = ev.to_line(ev.EngineEnding(reason="CUDA error: device-side assert triggered"))
    wire = Wire(tmp_path, f"import sys; print({last!r}); print('advice to programmers', file=sys.stderr); sys.exit(3)")
    await wire.start()
    assert await wire.until_stopped() == "CUDA error: device-side assert triggered"


async def test_a_stack_of_which_a_line_is_lost_is_asked_for_anew(tmp_path: Path) -> None:
    teller = Teller()
    (first,), (lost,), (late,) = (list(teller.tell(stack(n, 0))) for n in (1, 2, 3))
    teller.forget()
    (whole,) = teller.tell(stack(3, 0))
    del lost
    said = "\n".join(ev.to_line(part) for part in (first, late))
    program = f"import sys; print({said!r}, flush=True); sys.stdin.readline(); print({ev.to_line(whole)!r}, flush=True)"
    wire = Wire(tmp_path, program)
    await wire.start()
    await wire.until_events(3)
    told = [event for event in wire.events if isinstance(event, ev.StackChanged)]
    assert [event.position for event in told] == [1, 3]
    assert "asked for anew" in wire.messages()[0]
    await wire.client.stop()


async def test_an_engine_that_cannot_be_started_is_said(tmp_path: Path) -> None:
    wire = Wire(tmp_path, "")
    wire.client = ProcessClient([str(tmp_path / "nothing")], wire.log)
    await wire.start()
    assert "could not be started" in wire.reasons[0]
    wire.client.send(Command("undo", "j"))
    await wire.client.stop()


async def test_stop_ends_a_child_that_does_not_listen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.tui.client.PATIENCE", 0.1)
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60 if SAY else 0)"
    deaf = deaf.replace("SAY", 'print(\'{"type": "Log", "message": "up"}\', flush=True) is None')
    wire = Wire(tmp_path, deaf)
    await wire.start()
    await wire.until_events(1)
    process = wire.client._process
    assert process is not None
    await wire.client.stop()
    assert process.returncode == -9
    assert wire.reasons == []


async def test_the_child_does_not_get_the_terminals_ctrl_c(tmp_path: Path) -> None:
    wire = Wire(tmp_path, ECHO)
    await wire.start()
    await wire.until_events(1)
    process = wire.client._process
    assert process is not None
    assert os.getsid(process.pid) == process.pid != os.getsid(0)
    await wire.client.stop()


def test_the_engines_command_line_names_what_was_asked_for() -> None:
    arguments = engine_arguments("atlas", Path("edits/atlas"), Path("x.log"), "cuda", None)
    assert arguments[1:] == [
        *("-m", "workbench.engine.server", "--model", "atlas", "--stack", "edits/atlas"),
        *("--device", "cuda", "--nice", "--log", "x.log"),
    ]


def test_the_screen_knows_no_torch_and_no_engine() -> None:
    program = (
        "import sys, workbench.tui.run; "
        "print([m for m in sys.modules if m.split('.')[0] in ('torch', 'transformers')"
        " or m.startswith('workbench.engine.') and m != 'workbench.engine.protocol'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_a_child_that_was_begun_ahead_is_the_one_that_is_listened_to(tmp_path: Path) -> None:
    wire = Wire(tmp_path, f"import os; print(os.getpid(), file=open({str(tmp_path / 'pids')!r}, 'a'))\n" + ECHO)
    await wire.client.begin()
    for _ in range(500):
        if (tmp_path / "pids").exists():
            break
        await asyncio.sleep(0.02)
    assert wire.events == []
    await wire.start()
    wire.client.send(Command("note", "j1", {"text": "still here"}))
    await wire.until_events(2)
    await wire.client.stop()
    assert wire.messages() == ["still here"]
    assert len((tmp_path / "pids").read_text().split()) == 1


async def test_a_child_that_was_begun_and_never_listened_to_ends_with_stop(tmp_path: Path) -> None:
    wire = Wire(tmp_path, ECHO)
    await wire.client.begin()
    process = wire.client._process
    assert process is not None
    await wire.client.stop()
    assert process.returncode == 0
    assert wire.reasons == []


async def test_a_child_that_cannot_be_begun_is_told_of_at_the_start(tmp_path: Path) -> None:
    wire = Wire(tmp_path, "")
    wire.client = ProcessClient([str(tmp_path / "nothing")], wire.log)
    await wire.client.begin()
    await wire.start()
    assert "could not be started" in await wire.until_stopped()
