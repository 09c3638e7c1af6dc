"""The one place where an error becomes a sentence on stderr and an exit code."""

from __future__ import annotations

import errno
import os
import sys
import traceback

import click

from workbench.engine.failing import is_of_the_device, reason_of
from workbench.errors import DeviceError, Interrupted, StorageError, UsageError, WorkbenchError
from workbench.text import visible

DEBUG = "WORKBENCH_DEBUG"
"""Set in the environment, it adds the traceback."""

BROKEN_PIPE = 141
"""As a shell reports a process that wrote to a closed pipe."""


def report(error: BaseException, *, interrupted: bool = False) -> int:
    """Says on stderr what ended the command, and returns the exit code.

    Args:
        error: what was raised.
        interrupted: Ctrl+C was pressed before; whatever came of it is an interruption, not a fault.
    """
    if isinstance(error, (BrokenPipeError, SystemExit)):
        return _quietly(error)
    if os.environ.get(DEBUG):
        traceback.print_exception(error)
    told = Interrupted("Stopped.") if interrupted and not isinstance(error, Interrupted) else told_as(error)
    sys.stderr.write(f"workbench: {visible(told.message)}\n")
    if told.hint:
        sys.stderr.write(f"hint: {visible(told.hint)}\n")
    return told.exit_code


def told_as(error: BaseException) -> WorkbenchError:
    """`error` as one that people understand."""
    if isinstance(error, WorkbenchError):
        return error
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return Interrupted("Stopped.")
    if isinstance(error, click.ClickException):
        return UsageError(_sentence(error.format_message()), _help_for(error))
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO):
        return StorageError(_sentence(f"Writing failed: {(error.strerror or '').lower()}"), "Make room and try again.")
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return UsageError("What was given is too long for the name of a file or folder.", "Name a shorter one.")
    if isinstance(error, MemoryError):
        return WorkbenchError("There is not enough memory.", "Use a smaller model or --dtype bfloat16.")
    if isinstance(error, RuntimeError) and "out of memory" in str(error):
        return DeviceError("The device ran out of memory.", "Use a smaller dtype, or --device cpu.")
    if is_of_the_device(error):
        return DeviceError(
            _sentence(f"The device failed: {reason_of(error)}"),
            "The stack on disk is safe. Try again, or --device cpu.",
        )
    reason = str(error).strip().split("\n", 1)[0][:300]
    kind = type(error).__name__
    return WorkbenchError(
        _sentence(f"Something went wrong inside the workbench: {kind}: {reason}" if reason else f"Inside: {kind}"),
        f"The stack on disk is safe. Set {DEBUG}=1 to see where it happened.",
    )


def _quietly(error: BaseException) -> int:
    """Leaves without a word; what is still buffered for a closed pipe must not raise again at exit."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    return BROKEN_PIPE


def _help_for(error: click.ClickException) -> str:
    context = error.ctx if isinstance(error, click.UsageError) else None
    return f"See {context.command_path} --help." if context else "See workbench --help."


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return text if text.endswith((".", "!", "?")) else text + "."
