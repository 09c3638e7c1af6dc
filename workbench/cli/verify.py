"""`workbench verify`: compare every weight of the stack with what its edit recorded."""

from __future__ import annotations

import click

from workbench.cli.compare import Comparison
from workbench.cli.options import Common, engine_options
from workbench.cli.output import Output
from workbench.cli.session import engine_session
from workbench.cli.where import existing_stack

EPILOG = """\b
Examples:
  workbench verify
  workbench verify edits/tour --device cuda

\b
Exit code 4: a weight differs, or cannot be compared (another dtype).
Exit code 5: a file is damaged.
"""


@click.command(short_help="Compare every weight with its recorded sha256.", epilog=EPILOG)
@click.argument("name", metavar="[STACK]", required=False)
@engine_options
def verify(name: str | None, common: Common) -> int:
    """Rebuild the weights at every position of STACK and compare their sha256 with those recorded."""
    folder = existing_stack(common, name)
    with Output(common.json) as output, engine_session(common, folder, output, write=False) as engine:
        found = Comparison(output, strict=True, each=True)
        found.follow(lambda cancelled: engine.verify(cancelled=cancelled))
        found.judge()
        return output.done(0)
