"""`workbench [MODEL]`: the screen."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import click

from workbench.cli.options import Common, engine_options
from workbench.cli.where import ATLAS, model_of, stack_folder
from workbench.errors import UsageError

EPILOG = """\b
Examples:
  workbench
  workbench openai-community/gpt2 --stack edits/mine
  workbench --engine "ssh gpu-box workbench-engine" --model gpt2-xl
  workbench --record run.jsonl

\b
With --engine the model, the stack and all that is written lie on the other
machine: MODEL, --model, --stack and --device are meant there. Without a model
the stack's is taken. ssh must not have to ask for a password: use a key or an
agent. The queue is kept here, in your own folder.

\b
A recording holds what the engine said (prompts, edits, answers, folders, the
end of its log if it dies), with times, as JSON lines; of what was asked only
the verbs. It ends at 64 MiB. workbench play FILE shows it.
"""
DRIVER = "TEXTUAL_DRIVER"
"""Set where something else than a terminal shows the screen, as `workbench serve` does."""


@click.command(hidden=True, epilog=EPILOG)
@click.argument("name", metavar="[MODEL]", required=False)
@click.option("--engine", metavar="COMMAND", help="Reaches an engine elsewhere: 'ssh HOST workbench-engine'.")
@click.option("--record", metavar="FILE", type=click.Path(path_type=Path), help="Record the run into a new file.")
@engine_options
def open_screen(name: str | None, engine: str | None, record: Path | None, common: Common) -> int:
    """Open the screen on MODEL, a folder or a Hub name; without one, on the stack's model or on atlas."""
    if name and common.model and name != common.model:
        raise UsageError(f"Two models are named: '{name}' and '{common.model}'.", "Name one of them.")
    if common.json:
        raise UsageError("The screen has no --json.", "workbench apply, log and the other commands have it.")
    needs_a_terminal()
    chosen = replace(common, model=name or common.model)
    folder = stack_folder(chosen)

    from workbench.tui import garbage

    garbage.begin()
    from workbench.tui.run import Wanted, run

    model = chosen.model if engine else _model_here(chosen, folder)
    return run(Wanted(model, folder, chosen.device, chosen.dtype, chosen.loading(), engine or "", record))


def needs_a_terminal() -> None:
    """Raises UsageError where there is nothing to show a screen on."""
    if not os.environ.get(DRIVER) and not all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
        raise UsageError("The screen needs a terminal.", "Without one, use workbench apply; see workbench --help.")


def _model_here(chosen: Common, folder: Path) -> str:
    return model_of(chosen, folder) if chosen.stack else chosen.model or ATLAS
