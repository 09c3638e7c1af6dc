"""A recording: what was told comes back with its times, and a stranger's file is refused in one sentence."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from tests.test_events import sample
from tests.tui.story import MODEL, finish_events, run_events, stack, step
from workbench import events as ev
from workbench import recording
from workbench.checked import checked
from workbench.engine.protocol import Command
from workbench.errors import UsageError
from workbench.recording import Moment, Recorder, Sent, Stopped, read_recording


def record(path: Path, *events: ev.Event) -> Path:
    recorder = Recorder(path, "atlas", "edits/atlas")
    for event in events:
        recorder.event(event)
    recorder.close()
    return path


def test_what_was_recorded_comes_back_in_order_with_its_times(tmp_path: Path) -> None:
    told = [MODEL, stack(3, 1), *run_events(4), *finish_events(), stack(4, 0, job="x", seq=7, t=2.5)]
    recorder = Recorder(tmp_path / "run.jsonl", "atlas", "edits/atlas")
    for event in told:
        recorder.event(event)
    recorder.sent(Command("undo", "j1", {"count": 1}))
    recorder.stopped("killed by SIGKILL")
    recorder.close()
    read = read_recording(tmp_path / "run.jsonl")
    assert [moment.what for moment in read.moments] == [*told, Sent("undo", "j1"), Stopped("killed by SIGKILL")]
    assert [moment.at for moment in read.moments] == sorted(moment.at for moment in read.moments)
    assert (read.model, read.stack, read.cut) == ("atlas", "edits/atlas", "")


def test_what_was_asked_is_not_written_but_for_its_verb(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "run.jsonl", "atlas", "edits/atlas")
    recorder.sent(Command("answer", "j", {"prompt": "the password is hunter2"}))
    recorder.close()
    assert "hunter2" not in (tmp_path / "run.jsonl").read_text()


def test_each_line_is_on_the_disk_at_once_and_a_cut_file_is_read_to_the_cut(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    recorder = Recorder(path, "atlas", "edits/atlas")
    recorder.event(MODEL)
    path.write_bytes(path.read_bytes() + b'{"at": 1.0, "event": {"type": "Opt')
    read = read_recording(path)
    assert [moment.what for moment in read.moments] == [MODEL]
    assert read.cut == "The recording ends before the run did."
    recorder.close()


def test_a_file_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    path = record(tmp_path / "run.jsonl")
    with pytest.raises(UsageError, match="there already"):
        Recorder(path, "atlas", "edits/atlas")


def test_a_full_recording_ends_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "LIMIT", 2_000)
    recorder = Recorder(tmp_path / "run.jsonl", "atlas", "edits/atlas")
    for number in range(1, 50):
        recorder.event(step(number))
    assert "is full" in recorder.problem
    recorder.close()
    assert (tmp_path / "run.jsonl").stat().st_size <= 2_000
    assert read_recording(tmp_path / "run.jsonl").moments


HEAD = json.dumps({"type": "workbench recording", "format": 1, "model": "m", "stack": "s", "begun": "b"})


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "line 1 is not JSON"),
        ("\x7fELF\x00\n", "line 1 is not JSON"),
        ("{}\n", "first line"),
        (HEAD.replace("1", "2") + "\n", "another version"),
        (HEAD + "\n[1]\n", "line 2 is not an object"),
        (HEAD + "\n{oops}\n", "line 2 is not JSON"),
        (HEAD + "\n" + "[" * 100_000 + "\n", "line 2 is not JSON"),
        (HEAD + '\n{"event": {}}\n', "line 2 has no time"),
        (HEAD + '\n{"at": 2}\n{"at": 1}\n', "line 3 has no time"),
        (HEAD + '\n{"at": 1, "event": 3}\n', "JSON object"),
        (HEAD + '\n{"at": 1, "event": {"type": "Log"}}\n', "Log"),
        (HEAD + '\n{"at": 1, "event": {"type": "Log", "message": 3}}\n', "Log.message"),
        (HEAD + '\n{"at": 1, "sent": 3}\n', "makes no sense"),
    ],
)
def test_what_is_no_recording_is_refused_in_a_sentence(tmp_path: Path, content: str, why: str) -> None:
    (tmp_path / "x.jsonl").write_bytes(content.encode("latin-1"))
    with pytest.raises(UsageError, match=why):
        read_recording(tmp_path / "x.jsonl")


def test_a_huge_line_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ev, "MAX_LINE", 1_000)
    (tmp_path / "x.jsonl").write_text(HEAD + "\n" + " " * 2_000 + "\n")
    with pytest.raises(UsageError, match="too long"):
        read_recording(tmp_path / "x.jsonl")


def test_events_of_a_later_version_are_left_out(tmp_path: Path) -> None:
    later = '{"at": 1, "event": {"type": "Later", "x": 1}}\n{"at": 2, "shape": 1}\n{"at": 2, "sent": ["fly", "j"]}\n'
    said = '{"at": 3, "event": {"type": "Log", "message": "m"}}\n'
    (tmp_path / "x.jsonl").write_text(f"{HEAD}\n{later}{said}")
    assert read_recording(tmp_path / "x.jsonl").moments == (Moment(3.0, ev.Log(message="m")),)


@pytest.mark.parametrize("optional", [True, False])
@pytest.mark.parametrize("cls", ev.types().values(), ids=list(ev.types()))
def test_every_event_that_an_engine_says_passes_the_check(cls: type[ev.Event], optional: bool) -> None:
    event = sample(cls, optional)
    assert checked(event) == event


def test_what_lies_within_a_value_is_checked_too() -> None:
    for wrong in (stack(2, 0, names=("main", 3)), stack(2, 0, edits=(MODEL,)), step(1, p_contexts=("x",))):
        with pytest.raises(ValueError, match="not what it should be"):
            checked(wrong)


def test_a_number_that_json_cannot_say_is_not_a_number() -> None:
    line = ev.from_line(ev.to_line(step(1, loss=float("nan"))))
    assert isinstance(line, ev.OptimStep)
    assert math.isnan(checked(line).loss)
