"""The live line: what it says, and that it leaves a clean terminal and a clean stdout."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from workbench import events as ev
from workbench.cli.output import Output
from workbench.cli.progress import LiveLine, Progress, describe, progress_for
from workbench.errors import UsageError

STARTED = ev.EditStarted(request={"subject": "Lis\x1bbon", "target_new": "Peru"}, recipe={}, module="m", index=2, of=7)
STEP = ev.OptimStep(
    step=12, of=20, loss=1.834, nll=1.5, kl=0.2, wd=0.1, p_target=0.219, p_contexts=(0.2,), delta_norm=7.91,
    clamp=12.4, seconds=0.1,
)  # fmt: skip


def line(width: int = 100) -> tuple[LiveLine, io.StringIO]:
    screen = io.StringIO()
    return LiveLine(Console(file=screen, force_terminal=True, width=width, highlight=False)), screen


def test_a_step_says_loss_probability_and_offset() -> None:
    assert describe(STEP) == "step 12/20  loss 1.834  p(target) 0.219  |δ| 7.91 of 12.40"


def test_the_line_shows_the_step_of_the_edit_and_no_control_character_of_its_text() -> None:
    progress, screen = line()
    progress.show(STARTED)
    progress.show(STEP)
    progress.close()
    assert "2/7  Lis␛bon → Peru  step 12/20  loss 1.834" in screen.getvalue()


def test_the_line_never_breaks_into_two() -> None:
    progress, screen = line(width=30)
    progress.show(STARTED)
    progress.show(STEP)
    progress.close()
    assert screen.getvalue().count("\n") <= 1


def test_the_cursor_is_back_after_the_work() -> None:
    progress, screen = line()
    progress.show(STEP)
    with progress.aside():
        assert screen.getvalue().rstrip().endswith("\x1b[2K") or "\x1b[?25h" in screen.getvalue()
    progress.show(STEP)
    progress.close()
    assert screen.getvalue().rfind("\x1b[?25h") > screen.getvalue().rfind("\x1b[?25l")


def test_no_colour_is_sent_where_none_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    progress, screen = line()
    progress.show(STEP)
    progress.close()
    assert "\x1b[36m" not in screen.getvalue()


def test_nothing_is_drawn_where_nobody_looks() -> None:
    assert type(progress_for(json=False)) is Progress


def test_data_goes_to_stdout_and_words_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with Output(json=False) as output:
        output.line("data\x1b")
        output.tell("words")
        output.event(ev.Warning(message="Careful.", hint="Mind."), "j")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("data␛\n", "words\nwarning: Careful. Mind.\n")


def test_with_json_stdout_holds_events_only_numbered_and_ended(capsys: pytest.CaptureFixture[str]) -> None:
    with Output(json=True) as output:
        output.line("not this")
        output.event(STEP, "edit-1")
        output.done(0)
    events = [ev.from_line(text) for text in capsys.readouterr().out.splitlines()]
    assert [(type(e), e.job, e.seq) for e in events if e] == [(ev.OptimStep, "edit-1", 1), (ev.JobDone, "", 2)]
    assert events[0] is not None
    assert events[0].t > 0


def test_with_json_an_error_is_the_last_event(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError), Output(json=True):
        raise UsageError("No.", "Do.")
    done = ev.from_line(capsys.readouterr().out)
    assert isinstance(done, ev.JobDone)
    assert (done.ok, done.message, done.hint, done.exit_code) == (False, "No.", "Do.", 2)
