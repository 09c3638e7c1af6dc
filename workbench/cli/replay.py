"""`workbench replay`: rebuild the weights from the base and the edit files alone."""

from __future__ import annotations

from pathlib import Path

import click

from workbench.cli.compare import Comparison
from workbench.cli.options import Common, engine_options
from workbench.cli.output import Output
from workbench.cli.session import engine_session
from workbench.cli.where import existing_stack
from workbench.errors import UsageError

EPILOG = """\b
Examples:
  workbench replay edits/tour
  workbench replay edits/tour --verify
  workbench replay edits/tour --to 3 --out /data/atlas-three-edits

\b
The last line says "bit-identical: N edits, weight sha256 ..." only where
every weight has the sha256 that its edit recorded. Exit code 4: one differs;
with --verify also: one cannot be compared, as in another dtype. Then nothing
is saved to --out. Exit code 5: an edit's file is damaged, or altered.
"""


@click.command(short_help="Rebuild the weights from the base and the edit files.", epilog=EPILOG)
@click.argument("name", metavar="[STACK]", required=False)
@click.option("--to", type=click.IntRange(min=0), metavar="N", help="Up to edit N. [default: the stack's position]")
@click.option(
    "--verify", is_flag=True, help="Say of every edit whether its sha256 agrees; fail if one cannot be compared."
)
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Save the edited model and tokenizer here.")
@engine_options
def replay(name: str | None, to: int | None, verify: bool, out: Path | None, common: Common) -> int:
    """Rebuild the edited weights of STACK from the base and the edit files. The stack is only read."""
    folder = existing_stack(common, name)
    if out and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"'{out}' exists and is not an empty folder.", "Name a new folder for --out.")
    with (
        Output(common.json) as output,
        engine_session(common, folder, output, write=False, rehash=verify) as engine,
    ):
        found = Comparison(output, strict=verify, each=verify)
        found.follow(lambda cancelled: engine.replay(to, verify=True, cancelled=cancelled))
        found.judge()
        if out:
            from workbench.engine.exporting import export_merged

            edits = engine.stack.line[: engine.stack.position if to is None else to]
            export_merged(engine, out, [edit for edit in edits if edit.id not in engine.stack.off])
            output.tell(f"Saved to {out}.")
        return output.done(0)
