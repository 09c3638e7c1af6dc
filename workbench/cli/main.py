"""The group of commands and the one way out of it: every error becomes a sentence on stderr and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from workbench import __version__
from workbench.cli.commands import Commands
from workbench.cli.interrupt import Interrupt
from workbench.cli.report import report

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
