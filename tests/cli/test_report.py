"""Every way to end is one sentence on stderr and the exit code of the design."""

from __future__ import annotations

import errno

import click
import pytest

from workbench import errors
from workbench.cli.report import report


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.EditError("It failed."), 1),
        (errors.StorageError("The disk is full."), 1),
        (errors.StackBusy("Another process writes."), 1),
        (errors.UsageError("No."), 2),
        (errors.RequestError("No."), 2),
        (click.UsageError("no such thing"), 2),
        (errors.ModelError("No model."), 3),
        (errors.DeviceError("No CUDA."), 3),
        (errors.VerificationError("It differs."), 4),
        (errors.BaseMismatch("Another base."), 4),
        (errors.AlteredFile("Another content."), 5),
        (errors.StackError("It is damaged."), 5),
        (errors.Interrupted("Stopped."), 130),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
        (OSError(errno.ENOSPC, "No space left on device"), 1),
        (MemoryError(), 1),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."), 3),
        (RuntimeError("CUDA error: an illegal memory access was encountered\nFor debugging consider"), 3),
        (ZeroDivisionError("division by zero"), 1),
    ],
)
def test_an_error_becomes_a_sentence_and_its_exit_code(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int
) -> None:
    assert report(error) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("workbench: ")
    assert said.err.splitlines()[0].endswith(".")
    assert "Traceback" not in said.err


def test_whatever_breaks_after_ctrl_c_is_an_interruption(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(ImportError("half imported"), interrupted=True) == 130
    assert capsys.readouterr().err == "workbench: Stopped.\n"


def test_the_traceback_is_there_for_who_asks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKBENCH_DEBUG", "1")
    report(ZeroDivisionError("division by zero"))
    assert "ZeroDivisionError" in capsys.readouterr().err.splitlines()[0]


def test_a_message_with_lines_stays_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    report(RuntimeError("first\nsecond\nthird"))
    assert len(capsys.readouterr().err.splitlines()) == 2
