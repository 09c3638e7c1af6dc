"""The group of commands and the one way out of it: every error becomes a sentence on stderr and an exit code."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from workbench import __version__
from workbench.cli.apply import apply
from workbench.cli.bisect import bisect
from workbench.cli.branch import branch, switch
from workbench.cli.compact import compact
from workbench.cli.diff import diff
from workbench.cli.doctor import doctor
from workbench.cli.eval import evaluate
from workbench.cli.export import export
from workbench.cli.health import health
from workbench.cli.import_ import import_
from workbench.cli.interrupt import Interrupt
from workbench.cli.keys import keys
from workbench.cli.log import log
from workbench.cli.merge import merge
from workbench.cli.note import note
from workbench.cli.open import open_screen
from workbench.cli.play import play
from workbench.cli.probe import probe
from workbench.cli.pull import pull
from workbench.cli.push import push
from workbench.cli.redo import redo
from workbench.cli.reorder import remove, reorder
from workbench.cli.replay import replay
from workbench.cli.report import report
from workbench.cli.reproduce import reproduce
from workbench.cli.serve import serve
from workbench.cli.show import show
from workbench.cli.stats import stats
from workbench.cli.tag import tag
from workbench.cli.tasks import tasks
from workbench.cli.toggle import toggle
from workbench.cli.trace import trace
from workbench.cli.travel import travel
from workbench.cli.tune import tune
from workbench.cli.undo import undo
from workbench.cli.verify import verify
from workbench.errors import UsageError

OPEN = "open"


class Commands(click.Group):
    """A group in which what is no command is the MODEL that the screen opens."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Puts `open` before arguments that name no command."""
        if not args or (args[0] not in self.commands and args[0] not in ("-h", "--help", "--version")):
            _check_spelling(args, list(self.commands))
            args = [OPEN, *args]
        return super().parse_args(ctx, args)

    def format_usage(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Both ways to call."""
        formatter.write_usage("workbench", "[MODEL] [OPTIONS]", "Usage: ")
        formatter.write_usage("workbench", "COMMAND [ARGUMENTS]", "       ")

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands by what they are for."""
        for section, listed in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl([(str(one.name), one.get_short_help_str(72)) for one in listed], col_max=12)


def _check_spelling(args: list[str], commands: list[str]) -> None:
    """Raises UsageError for a command that is misspelt or comes after its options."""
    first = args[0] if args else ""
    close = difflib.get_close_matches(first, commands, n=1, cutoff=0.75)
    if close and not Path(first).exists():
        raise UsageError(f"There is no command '{first}'.", f"Did you mean workbench {close[0]}?")
    after = next((word for word in args if word in commands), None)
    if after and first.startswith("-"):
        raise UsageError(f"The command '{after}' comes after its options.", f"Write workbench {after} first.")


EPILOG = """\b
Examples:
  workbench                              the screen, on the model that ships
  workbench openai-community/gpt2        on a model from the Hub
  workbench apply -s France -p "The capital of {} is" -t Rome
  workbench apply facts.jsonl --stack edits/mine
  workbench log edits/mine
  workbench replay edits/tour --verify

\b
Exit codes:
  0 done   1 an edit or a probe failed   2 usage   3 model or device
  4 verification mismatch   5 damaged stack   130 interrupted
"""


SECTIONS: dict[str, tuple[click.Command, ...]] = {
    "Edit": (apply, note, tag),
    "Look": (log, show, probe, diff),
    "Move": (undo, redo, travel, toggle, reorder, remove, branch, switch, compact),
    "Check": (replay, verify, bisect, health, tasks, evaluate, reproduce, doctor),
    "Model": (stats, tune, trace),
    "Share": (export, import_, merge, push, pull),
    "Screen": (play, serve, keys),
}
"""The commands as --help lists them."""


@click.group(
    cls=Commands,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 96},
)
@click.version_option(__version__, prog_name="workbench", message="%(prog)s %(version)s")
def workbench() -> None:
    """Edit what a language model knows, one fact at a time, and always be able to go back.

    Without a command the screen opens, on MODEL (a folder or a Hub name) or on atlas, the model that ships; --device,
    --dtype, --stack, --engine and --record may follow (workbench open --help). The commands write data to stdout and
    what is said to people to stderr.
    """


for _command in (_command for _listed in SECTIONS.values() for _command in _listed):
    workbench.add_command(_command)
workbench.add_command(open_screen, OPEN)


def run(arguments: Sequence[str]) -> int:
    """Runs one command line.

    Returns:
        The exit code: 0 done, 1 an edit or a probe failed, 2 usage, 3 model or device, 4 verification mismatch,
        5 damaged stack, 130 interrupted, 141 nobody reads the output any more.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    with Interrupt.installed() as interrupt:
        try:
            with workbench.make_context("workbench", list(arguments)) as context:
                code = workbench.invoke(context)
            sys.stdout.flush()
        except click.exceptions.Exit as ended:
            return ended.exit_code
        except BaseException as error:  # noqa: BLE001  the one place where everything ends
            return report(error, interrupted=interrupt.pressed)
    return int(code or 0)
