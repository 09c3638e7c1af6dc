"""`workbench export`: a stack, or something of it, written for others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from workbench import events as ev
from workbench.cli.history import find_edit, opened
from workbench.cli.lines import count
from workbench.cli.options import Common, engine_options
from workbench.cli.output import Output
from workbench.cli.session import engine_session
from workbench.cli.where import existing_stack
from workbench.errors import UsageError
from workbench.requests_export import Shape
from workbench.stack.outgoing import (
    FOLDERS,
    KINDS,
    check_free,
    replacing,
    write_edit,
    write_requests,
    write_stack,
    written_size,
)

if TYPE_CHECKING:
    from workbench.stack.store import Stack

EPILOG = """\b
Examples:
  workbench export edits/tour -o tour.zip
  workbench export edits/mine --format edit --edit 3 -o eiffel.safetensors
  workbench export --format requests --shape counterfact -o facts.json
  workbench export edits/tour --format peft -o tour-lora
  workbench export edits/tour --format merged -o atlas-tour

\b
bundle    every edit on every branch, with order, position, branches, tags
          and notes, in one zip file. The journal stays here: it names people.
          The same stack gives the same bytes.
edit      one edit's file, as it is
requests  what the applied edits ask for, as JSON that apply and import read
peft      a LoRA adapter of the present state, for PeftModel.from_pretrained
merged    a whole model with the edits in it, for from_pretrained
The last two need the model. OUT is there whole or not at all.
"""


@click.command(short_help="Write a stack, or something of it, for others.", epilog=EPILOG)
@click.argument("name", metavar="[STACK]", required=False)
@click.option(
    "--format",
    "kind",
    type=click.Choice(KINDS),
    default="bundle",
    help="[default: bundle]",
)
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="The file or folder to write.")
@click.option("--edit", "wanted", metavar="N|ID", help="Which edit, for --format edit.")
@click.option("--shape", type=click.Choice(get_args(Shape)), help="Of --format requests. [default: workbench]")
@click.option("--force", is_flag=True, help="Replace OUT if it is there.")
@engine_options
def export(
    name: str | None, kind: str, out: Path, wanted: str | None, shape: Shape | None, force: bool, common: Common
) -> int:
    """Write STACK, or something of it, to OUT, for others to use or to import."""
    _check_fit(kind, wanted=wanted, shape=shape)
    folder = existing_stack(common, name)
    check_free(out, kind, replace=force, hint="Name another OUT, or replace it with --force.")
    with Output(common.json) as output:
        if kind in FOLDERS:
            with engine_session(common, folder, output, write=False) as engine, replacing(out):
                _folder(engine, kind, out)
                held = len(engine.stack.active)
        else:
            with opened(folder, output) as stack:
                held = _file(stack, kind, out, wanted, shape or "workbench", output)
        size = written_size(out)
        output.document(ev.to_line(ev.Exported(format=kind, out=str(out), count=held, bytes=size)))
        things = count(held, "request" if kind == "requests" else "edit")
        output.line(f"{kind}  {out}  {things}  {_in_words(size)}")
        return output.done(0)


def _check_fit(kind: str, *, wanted: str | None, shape: str | None) -> None:
    if (kind == "edit") != (wanted is not None):
        raise UsageError("--edit and --format edit go together.", "Say which edit: --format edit --edit 3.")
    if shape and kind != "requests":
        raise UsageError("--shape is for --format requests only.")


def _file(stack: Stack, kind: str, out: Path, wanted: str | None, shape: Shape, output: Output) -> int:
    """Writes one file; returns how many edits or requests it holds."""
    if kind == "requests":
        held, left = write_requests(stack, out, shape)
        if left:
            output.tell(f"note: {left} left out: undone, off, or an update that was imported without a request")
        return held
    if kind == "edit":
        write_edit(stack, out, find_edit(stack, str(wanted)))
        return 1
    return write_stack(stack, out)


def _folder(engine: Any, kind: str, out: Path) -> None:
    from workbench.engine import exporting

    (exporting.export_peft if kind == "peft" else exporting.export_merged)(engine, out)


def _in_words(size: int) -> str:
    """As in: 84 KiB."""
    amount, units = float(size), ["bytes", "KiB", "MiB", "GiB"]
    while amount >= 1024 and len(units) > 1:
        amount, units = amount / 1024, units[1:]
    return f"{amount:.0f} {units[0]}" if amount >= 10 else f"{amount:.3g} {units[0]}"
