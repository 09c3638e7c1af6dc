"""The commands by name. A command's module is imported when the command is wanted, so that the others cost nothing."""

from __future__ import annotations

import difflib
from importlib import import_module
from pathlib import Path
from typing import cast

import click

from workbench.errors import UsageError

SECTIONS = {
    "Edit": ("apply", "note", "tag"),
    "Look": ("log", "show", "probe", "diff"),
    "Move": ("undo", "redo", "travel", "toggle", "reorder", "remove", "branch", "switch", "compact"),
    "Check": ("replay", "verify", "bisect", "health", "tasks", "eval", "reproduce", "doctor"),
    "Model": ("stats", "tune", "trace"),
    "Share": ("export", "import", "merge", "push", "pull"),
    "Screen": ("play", "serve", "keys"),
}
"""The commands as --help lists them."""

OPEN = "open"
NAMES = (*(name for listed in SECTIONS.values() for name in listed), OPEN)
ELSEWHERE = {
    "remove": ("reorder", "remove"),
    "switch": ("branch", "switch"),
    "eval": ("eval", "evaluate"),
    "import": ("import_", "import_"),
    OPEN: (OPEN, "open_screen"),
}
"""Module and function of the commands that are not the function of their own name in the module of their own name."""


class Commands(click.Group):
    """A group in which what is no command is the MODEL that the screen opens."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the help."""
        del ctx
        return list(NAMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name, imported now; None: there is none."""
        del ctx
        if cmd_name not in NAMES:
            return None
        module, function = ELSEWHERE.get(cmd_name, (cmd_name, cmd_name))
        return cast("click.Command", getattr(import_module(f"workbench.cli.{module}"), function))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Puts `open` before arguments that name no command."""
        if not args or (args[0] not in NAMES and args[0] not in ("-h", "--help", "--version")):
            _check_spelling(args)
            args = [OPEN, *args]
        return super().parse_args(ctx, args)

    def format_usage(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Both ways to call."""
        formatter.write_usage("workbench", "[MODEL] [OPTIONS]", "Usage: ")
        formatter.write_usage("workbench", "COMMAND [ARGUMENTS]", "       ")

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands by what they are for."""
        for section, listed in SECTIONS.items():
            found = ((name, self.get_command(ctx, name)) for name in listed)
            with formatter.section(section):
                formatter.write_dl([(name, one.get_short_help_str(72)) for name, one in found if one], col_max=12)


def _check_spelling(args: list[str]) -> None:
    """Raises UsageError for a command that is misspelt or comes after its options."""
    first = args[0] if args else ""
    close = difflib.get_close_matches(first, NAMES, n=1, cutoff=0.75)
    if close and not Path(first).exists():
        raise UsageError(f"There is no command '{first}'.", f"Did you mean workbench {close[0]}?")
    after = next((word for word in args if word in NAMES), None)
    if after and first.startswith("-"):
        raise UsageError(f"The command '{after}' comes after its options.", f"Write workbench {after} first.")
