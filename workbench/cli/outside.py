"""A probe that is somebody's own program: run on each state, saved as a merged model, and judged by its exit code."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from workbench import events as ev
from workbench.errors import EditError, UsageError

if TYPE_CHECKING:
    from workbench.engine.bisecting import Check
    from workbench.engine.core import Core

STDERR = 2
UNKNOWN = 125
"""The exit code by which a program says that it cannot tell, as for git bisect run."""


def command_check(command: str) -> Check:
    """Holds while `command` ends with 0; {} in it becomes the model's folder, which else comes last.

    What it writes goes to stderr. The folder is gone when it has ended.

    Raises:
        UsageError: the command cannot be read.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"The command cannot be read: {str(error).lower()}.", "Check its quotes.") from error
    if not words:
        raise UsageError("The command is empty.", "Give a program, such as 'python check.py {}'.")
    words = words if any("{}" in word for word in words) else [*words, "{}"]

    def asked(core: Core) -> ev.ProbeResult:
        from workbench.models.load import save_model

        with tempfile.TemporaryDirectory(prefix="workbench-") as above:
            folder = Path(above) / "model"
            save_model(core.loaded, folder)
            code = _run([word.replace("{}", str(folder)) for word in words])
        return ev.ProbeResult(kind="command", prompt=command, answer=f"exit code {code}", passed=code == 0)

    return asked


def _run(words: list[str]) -> int:
    """The exit code of a program. Raises EditError if it does not run to its end, or cannot tell."""
    try:
        code = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=STDERR, check=False).returncode
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise EditError(f"'{words[0]}' cannot be run: {reason}.", "Name a program that is there.") from error
    if code == UNKNOWN:
        raise EditError(f"'{words[0]}' says with exit code {UNKNOWN} that it cannot tell.", "Choose other ends.")
    if code < 0:
        raise EditError(f"'{words[0]}' was ended by signal {-code}.", "Run it alone on one state first.")
    return code
