"""`workbench merge`: the union of two stacks, with what speaks against it said first."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import click

from workbench import events as ev
from workbench.cli.interrupt import interruptible
from workbench.cli.lines import SHORT_ID, count, probe_line
from workbench.cli.options import Common, engine_options
from workbench.cli.output import Output
from workbench.cli.session import engine_session
from workbench.cli.where import stack_folder
from workbench.errors import UsageError

if TYPE_CHECKING:
    from workbench.engine.merging import Choice, Order
    from workbench.stack.view import StackView

EPILOG = """\b
Examples:
  workbench merge edits/theirs --dry-run
  workbench merge theirs.zip --stack edits/mine
  workbench merge edits/theirs --order theirs-first --keep-both
  workbench merge ada/atlas-facts --theirs        a branch, as after workbench pull

\b
OTHER is a branch of this stack, another stack's folder, or a bundle; of a
stack or bundle the applied edits count. What both lines begin with stays as it
is; then ours and theirs follow in the order asked for, each edit once.
The report comes first, one conflict a line:
  target  the same subject and relation with two targets
  key     keys that are nearly one: |cos| under the inverse of C above --cosine
  probe   one that holds where its side stands alone, and fails in the union
Exit code 1: there is a conflict of targets or probes, and nothing was written.
Say what shall become of it: --keep-both, --ours or --theirs. Keys alone do not
stop a merge. Probes are asked with the updates as they are stored.
"""

_UNDECIDED = "Nothing was written: there are conflicts."
_HINT = "Say what shall become of the conflicts: --keep-both, --ours or --theirs."


@click.command(short_help="Put two stacks together, conflicts said first.", epilog=EPILOG)
@click.argument("other", metavar="OTHER")
@click.option(
    "--order",
    default="ours-first",
    type=click.Choice(["ours-first", "theirs-first"]),
    help="Whose edits come first. [default: ours-first]",
)
@click.option("--keep-both", is_flag=True, help="Keep both edits of a conflict; the later one mostly wins.")
@click.option("--ours", is_flag=True, help="Where two targets disagree, leave theirs out.")
@click.option("--theirs", is_flag=True, help="Where two targets disagree, leave ours out.")
@click.option(
    "--cosine",
    default=0.6,
    type=click.FloatRange(0.0, 1.0),
    metavar="LIMIT",
    help="Report keys from this |cos| on. [default: 0.6]",
)
@click.option("--resolve", is_flag=True, help="Make every update that moves anew, for the state it comes to stand on.")
@click.option("--dry-run", is_flag=True, help="Only report.")
@engine_options
def merge(
    other: str,
    order: Order,
    keep_both: bool,
    ours: bool,
    theirs: bool,
    cosine: float,
    resolve: bool,
    dry_run: bool,
    common: Common,
) -> int:
    """Put the edits of OTHER and of the stack (--stack) together, all or nothing."""
    choice, folder = _choice(keep_both, ours, theirs), stack_folder(common)
    with Output(common.json) as output:
        source = _source(folder, other)
        with engine_session(common, folder, output, write=not dry_run) as engine:
            from workbench.engine.merging import merge as put_together
            from workbench.engine.merging import side_of

            branch = "" if source else other
            begin = functools.partial(
                put_together,
                engine.core,
                side_of(source or engine.stack, other, branch=branch),
                order=order,
                choice=choice,
                threshold=cosine,
                resolve=resolve,
                write=not dry_run,
            )
            code = 0
            for event in interruptible(lambda cancelled: begin(cancelled=cancelled)):
                output.event(event, "merge")
                code = _show(event, output, folder) or code
        return output.done(code, _UNDECIDED if code else "", _HINT if code else "")


def _choice(keep_both: bool, ours: bool, theirs: bool) -> Choice:
    """What was chosen. Raises UsageError if that is more than one thing."""
    if keep_both + ours + theirs > 1:
        raise UsageError("--keep-both, --ours and --theirs exclude each other.", "Choose one of them.")
    if keep_both:
        return "both"
    return "ours" if ours else "theirs" if theirs else "ask"


def _source(folder: Path, other: str) -> StackView | None:
    """The stack or bundle that `other` names; None: it is a branch of the stack in `folder`.

    Raises:
        UsageError: it is none of them, or the branch that one is on.
        StackError, VerificationError: it is damaged.
    """
    from workbench.stack.index import read_index
    from workbench.stack.sources import open_source

    index = read_index(folder)[0] if folder.is_dir() else None
    if index and other == index.branch:
        raise UsageError(f"'{other}' is the line itself.", "Name another branch, a stack's folder or a bundle.")
    if index and other in index.branches:
        return None
    if not Path(other).exists():
        there = f"Branches here: {', '.join(sorted(index.tips))}." if index else "Name a stack's folder or a bundle."
        raise UsageError(f"There is no branch, stack or bundle '{other}'.", there)
    view = open_source(Path(other)).view
    if view is None:
        raise UsageError(f"'{other}' is a single edit or an adapter.", "Use workbench import.")
    return view


def _show(event: ev.Event, output: Output, folder: Path) -> int:
    """The event as a line of the report, if it is one; returns the exit code that it asks for."""
    if isinstance(event, ev.MergePlanned):
        output.line(f"common {event.common}  ours {event.count_ours}  theirs {event.count_theirs}  {event.order}")
        for text in _left_out(event):
            output.tell(f"note: {text}")
    elif isinstance(event, ev.Conflict):
        output.line(conflict_line(event))
    elif isinstance(event, ev.ProbeResult):
        output.line(probe_line(event))
    elif isinstance(event, ev.Merged):
        return _end(event, output, folder)
    return 0


def _left_out(event: ev.MergePlanned) -> list[str]:
    """In words, what of either side does not take part."""
    counted = {
        "of theirs here already, as the same update": event.repeated,
        "of theirs left out: toggled off there": event.off,
        "left out: undone, on either side": event.undone,
        "with keys that cannot be compared (imported, or made with another C)": event.incomparable,
    }
    return [f"{count(number)} {text}" for text, number in counted.items() if number]


def conflict_line(event: ev.Conflict) -> str:
    """One conflict: what kind, which edits, and what they say."""
    ids = " × ".join(ident[:SHORT_ID] for ident in (event.ours, event.theirs) if ident)
    if event.kind == "key":
        said = [f"cos {event.cosine:+.3f}", f"{event.prompt} | {event.other_prompt}"]
    elif event.kind == "target":
        asked = f"{event.prompt} | {event.other_prompt}" if event.other_prompt else event.prompt
        said = [asked, f"ours → {event.target_ours}  theirs → {event.target_theirs}"]
    else:
        target = event.target_ours or event.target_theirs
        before, now = (f"{p:.3f}" if p is not None else "?" for p in (event.p_alone, event.p_union))
        whose = "ours" if event.ours else "theirs"
        said = [event.prompt, f"{whose}: p({target}) {before} → {now}", f"answers {event.answer.strip()!r}"]
    return "  ".join((f"{event.kind:<6}", ids, *said))


def _end(merged: ev.Merged, output: Output, folder: Path) -> int:
    """The last line; returns 1 if there are conflicts and nobody chose."""
    if not merged.needed:
        output.line("nothing to merge: all of theirs is here")
    elif merged.written:
        output.line(f"merged  {count(len(merged.added))} placed  position {merged.position}  {folder}")
    else:
        output.line(
            f"nothing written  in conflict: {count(merged.targets, 'target')}, {count(merged.keys, 'key')}, "
            f"{count(merged.probes, 'probe')}"
        )
    if merged.undecided:
        output.tell(_HINT)
    return int(merged.undecided)
