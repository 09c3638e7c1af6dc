"""`workbench verify`: every file of a stack and every weight against what the edits recorded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from workbench import events as ev
from workbench.cli.compare import Comparison
from workbench.cli.history import opened
from workbench.cli.lines import SHORT_HASH
from workbench.cli.options import Common, engine_options
from workbench.cli.output import Output
from workbench.cli.session import engine_session
from workbench.cli.where import existing_stack
from workbench.errors import StackError, VerificationError

if TYPE_CHECKING:
    from workbench.engine.engine import Engine

EPILOG = """\b
Examples:
  workbench verify
  workbench verify edits/tour --device cuda
  workbench verify edits/mine --no-model

\b
First every file: the index, and on every branch each edit's id, parent and
number, derived again from its content. Then, with the model: the base's and
the tokenizer's fingerprint, and the weight at every position.
Exit code 4: a weight or a fingerprint differs, or cannot be compared (another
dtype). Exit code 5: a file is damaged, or is not the edit it says it is.
"""

INTACT = "Put intact copies back; the edits before the first damaged one can be used as they are."


@click.command(short_help="Check every file and every weight of a stack.", epilog=EPILOG)
@click.argument("name", metavar="[STACK]", required=False)
@click.option("--no-model", is_flag=True, help="Only the files: fast, without the model.")
@engine_options
def verify(name: str | None, no_model: bool, common: Common) -> int:
    """Check every file of STACK, rebuild the weights at every position, and compare their sha256 with the record."""
    folder = existing_stack(common, name)
    with Output(common.json) as output:
        files = _files(output, folder)
        damaged = [event for event in files if event.problem]
        if no_model:
            _judge(damaged, len(files))
            output.line(f"intact: {_counted(len(files))}, no weight compared")
            return output.done(0)
        try:
            _weights(output, folder, common)
        except (StackError, VerificationError) as error:
            if damaged:  # what was said of the files says more, and is the reason
                output.tell(error.message)
                _judge(damaged, len(files))
            raise
        _judge(damaged, len(files))
        output.tell("Every file is intact.")
        return output.done(0)


def _files(output: Output, folder: Path) -> list[ev.FileChecked]:
    """Checks and shows every file."""
    from workbench.engine.auditing import check_files

    found = []
    with opened(folder, output) as stack:
        for event in check_files(stack):
            found.append(event)
            output.event(event, "verify")
            output.line(file_line(event))
    return found


def _judge(damaged: list[ev.FileChecked], files: int) -> None:
    """Raises StackError if a file is damaged, naming the first."""
    if damaged:
        first = damaged[0]
        raise StackError(f"{len(damaged)} of {_counted(files)} damaged; {first.file}: {first.problem}", INTACT)


def _weights(output: Output, folder: Path, common: Common) -> None:
    """Compares fingerprints and weights. Raises VerificationError."""
    with engine_session(common, folder, output, write=False, rehash=True) as engine:
        strangers = _tokenizer(output, engine)
        from workbench.engine.checking import verify_branches

        found, branches = (Comparison(output, strict=True, each=True) for _ in range(2))
        found.follow(lambda cancelled: engine.verify(cancelled=cancelled))
        branches.follow(lambda cancelled: verify_branches(engine.core, cancelled=cancelled))
        branches.check()
        found.judge()
        if strangers:
            raise VerificationError(
                f"The tokenizer is not the one that {strangers} were made with.",
                "The weights can be used; probes and new edits read other tokens. See workbench doctor.",
            )


def _tokenizer(output: Output, engine: Engine) -> str:
    """Compares the tokenizer's fingerprint with those recorded; says how many edits had another, or nothing."""
    here = engine.core.loaded.tokenizer_fingerprint
    edits = (*engine.stack.line, *engine.stack.others)
    recorded = [edit.tokenizer for edit in edits if edit.tokenizer]
    others = sum(one != here for one in recorded)
    base = engine.core.loaded
    for event in (
        ev.Finding(topic="base", verdict="fine", message=f"{base.name}, fingerprint {base.fingerprint}"),
        ev.Finding(topic="tokenizer", verdict="mismatch" if others else "fine", message=f"fingerprint {here}"),
    ):
        output.event(event, "verify")
        mark = "✓ agrees" if event.verdict == "fine" else "✗ differs"
        output.line(f"{mark:<16}  {event.topic}  {event.message}")
    return f"{others} of {len(recorded)} edits" if others else ""


def file_line(found: ev.FileChecked) -> str:
    """One file, and what is wrong with it."""
    if found.problem:
        return f"{'✗ damaged':<16}  {found.file}  {found.problem}"
    return f"{'✓ intact':<16}  {found.file}  {found.edit[:SHORT_HASH]}".rstrip()


def _counted(files: int) -> str:
    return f"{files} {'file' if files == 1 else 'files'}"
