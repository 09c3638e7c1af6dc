"""`workbench [MODEL]`: the screen."""

from __future__ import annotations

import sys
from dataclasses import replace

import click

from workbench.cli.options import Common, engine_options
from workbench.cli.where import ATLAS, model_of, stack_folder
from workbench.errors import UsageError


@click.command(hidden=True)
@click.argument("name", metavar="[MODEL]", required=False)
@engine_options
def open_screen(name: str | None, common: Common) -> int:
    """Open the screen on MODEL, a folder or a Hub name; without one, on the stack's model or on atlas."""
    if name and common.model and name != common.model:
        raise UsageError(f"Two models are named: '{name}' and '{common.model}'.", "Name one of them.")
    if common.json:
        raise UsageError("The screen has no --json.", "workbench apply, log and the other commands have it.")
    if not (all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))):
        raise UsageError("The screen needs a terminal.", "Without one, use workbench apply; see workbench --help.")
    chosen = replace(common, model=name or common.model)
    folder = stack_folder(chosen)
    model = model_of(chosen, folder) if chosen.stack else chosen.model or ATLAS

    from workbench.tui.run import run

    return run(model, device=chosen.device, dtype=chosen.dtype, options=chosen.loading(), stack=folder)
