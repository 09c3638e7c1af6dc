"""The command line of an engine on another machine."""

from __future__ import annotations

import shlex
from pathlib import Path

from workbench.errors import UsageError

SHELLS = ("ssh", "autossh", "mosh", "slogin")
"""Programs that hand what follows to a shell on the other side, which splits it again."""


def far_arguments(engine: str, options: list[str]) -> list[str]:
    """The command `engine` with the engine's `options` behind it, quoted once more where another shell reads them.

    Raises:
        UsageError: the command makes no sense.
    """
    try:
        words = shlex.split(engine)
    except ValueError as error:
        raise UsageError(f"--engine is no command: {str(error).lower()}.", "Write it as in a shell.") from error
    if not words:
        raise UsageError("--engine names no command.", "As in --engine 'ssh gpu-box workbench-engine'.")
    quoted = any(Path(word).name in SHELLS for word in words)
    return [*words, *(shlex.quote(option) if quoted else option for option in options)]
