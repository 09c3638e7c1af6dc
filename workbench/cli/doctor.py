"""`workbench doctor`: what this machine, model and stack are fit for, and why they do not fit each other."""

from __future__ import annotations

from pathlib import Path

import click

from workbench import events as ev
from workbench.cli.lines import count
from workbench.cli.options import Common, engine_options
from workbench.cli.output import Output
from workbench.cli.where import ATLAS, existing_stack, model_of, stack_folder
from workbench.errors import StackError

EPILOG = """\b
Examples:
  workbench doctor
  workbench doctor edits/mine
  workbench doctor edits/mine --model ./other-checkpoint
  workbench doctor edits/mine --dtype bfloat16

\b
✓ as it should be   · good to know   ✗ a mismatch, or damaged
In another dtype both replays are made, and how far they differ is measured.
Exit code 5: a file of the stack is damaged; 3: the model cannot be loaded or
edited; 4: model and stack do not fit each other; the first that applies.
"""

CODES = (("damaged", 5), ("unusable", 3), ("mismatch", 4))
"""Verdicts from the gravest on, with their exit codes."""
MARKS = {"fine": "✓", "note": "·", "mismatch": "✗", "damaged": "✗", "unusable": "✗"}


@click.command(short_help="Say what machine, model and stack are fit for.", epilog=EPILOG)
@click.argument("name", metavar="[STACK]", required=False)
@engine_options
def doctor(name: str | None, common: Common) -> int:
    """Look at this machine, the model and STACK; explain what does not fit, and what can still be done."""
    folder = _folder(name, common)
    with Output(common.json) as output:
        model = _model(common, folder)
        output.loading(model)
        from workbench.engine.doctor import examine

        found: list[ev.Finding] = []
        for event in examine(model, common.device, common.dtype, folder, common.loading(rehash=True)):
            output.event(event, "doctor")
            if isinstance(event, ev.Finding):
                found.append(event)
                _show(output, event)
        return _end(output, found)


def _folder(name: str | None, common: Common) -> Path | None:
    """The stack to look at; None where none is named and there is none. Raises UsageError for a wrong name."""
    if name or common.stack or stack_folder(common).is_dir():
        return existing_stack(common, name)
    return None


def _model(common: Common, folder: Path | None) -> str:
    """The model to look at: as everywhere, and where the stack cannot say, atlas."""
    try:
        return model_of(common, folder) if folder else common.model or ATLAS
    except StackError:
        return ATLAS  # what is wrong with the stack is found, and said, when it is looked at


def _show(output: Output, found: ev.Finding) -> None:
    output.line(f"{MARKS[found.verdict]} {found.topic:<14}  {found.message}")
    if found.hint:
        output.line(f"  {'':<14}  → {found.hint}")


def _end(output: Output, found: list[ev.Finding]) -> int:
    """The last word, on stderr, and the exit code."""
    for verdict, code in CODES:
        wrong = [one for one in found if one.verdict == verdict]
        if wrong:
            message = f"{wrong[0].topic}: {wrong[0].message}"
            output.tell(f"Not all is well: {message}")
            return output.done(code, message, wrong[0].hint)
    advised = sum(bool(one.hint) for one in found)
    output.tell(f"Nothing is wrong; {count(advised, 'piece')} of advice above (→)." if advised else "All is well.")
    return output.done(0)
