"""`workbench bisect`: find the edit after which a probe broke, or began to hold."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from workbench import events as ev
from workbench.cli.interrupt import interruptible
from workbench.cli.lines import SHORT_ID, rewrite
from workbench.cli.options import Common, engine_options
from workbench.cli.output import Output
from workbench.cli.outside import command_check
from workbench.cli.session import engine_session
from workbench.cli.where import existing_stack
from workbench.errors import UsageError

if TYPE_CHECKING:
    from workbench.engine.bisecting import Check
    from workbench.engine.engine import Engine
    from workbench.engine.states import State

EPILOG = """\b
Examples:
  workbench bisect edits/mine --probe "Rome lies in" --expect Italy
  workbench bisect edits/mine --probe 3           the first probe of edit 3
  workbench bisect edits/mine --probe 3.2         its second one
  workbench bisect edits/mine --perplexity 1.5x --to main
  workbench bisect edits/mine --run "python check.py {}"

\b
The probe is asked at both ends first, then at the middle of what is left:
2 + log2(n) times for n edits. The last line names an edit; the probe holds
right before it and fails right after it, or the other way round.
Exit code 1: the probe holds, or fails, at both ends.
"""

RECORDED = re.compile(r"(\d{1,6})(?:\.(\d{1,5}))?")
LIMIT = re.compile(r"(\d+(?:\.\d*)?)(x?)")


@click.command(short_help="Find the edit after which a probe broke.", epilog=EPILOG)
@click.argument("name", metavar="[STACK]", required=False)
@click.option("--probe", "asked", metavar="PROMPT|N[.K]", help="What to ask, or the K-th probe of edit N.")
@click.option("--expect", metavar="ANSWER", help="The answer that holds. [default: what --from answers]")
@click.option("--rival", metavar="ANSWER", help="ANSWER must be likelier than this. [default: than all others]")
@click.option("--perplexity", metavar="LIMIT", help="Held-out text's perplexity at most; 1.5x: times the base's.")
@click.option("--run", "command", metavar="COMMAND", help="Run it on each merged model, {} is the folder; 0: holds.")
@click.option("--from", "low", metavar="STATE", default="base", help="Where to begin. [default: base]")
@click.option("--to", "high", metavar="STATE", default="now", help="Where to end. [default: the stack's position]")
@engine_options
def bisect(
    name: str | None,
    asked: str | None,
    expect: str | None,
    rival: str | None,
    perplexity: str | None,
    command: str | None,
    low: str,
    high: str,
    common: Common,
) -> int:
    """Find the edit of STACK after which a probe broke, or began to hold, by binary search.

    A STATE is a position, an id or its beginning, a branch, a tag, "base" or "now". The stack is only read.
    """
    _one_of(asked, perplexity, command)
    if (expect or rival) and not asked:
        raise UsageError("There is an answer, but no probe.", "Give the prompt with --probe.")
    folder = existing_stack(common, name)
    with Output(common.json) as output, engine_session(common, folder, output, write=False) as engine:
        from workbench.engine.states import state_of

        line = state_of(engine.stack, high)
        start = _start(line, state_of(engine.stack, low))
        if command:
            check = command_check(command)
        elif perplexity:
            check = _perplexity(engine, perplexity)
        else:
            check = _probe(engine, line, asked or "", expect or "", rival or "")
        return _report(output, line, _follow(output, engine, line, start, check))


def _one_of(*ways: str | None) -> None:
    """Raises UsageError unless exactly one way to ask is given."""
    given = sum(way is not None for way in ways)
    if given != 1:
        raise UsageError(
            "There is nothing to ask." if not given else "There are several things to ask.",
            "Give one of --probe, --perplexity and --run.",
        )


def _start(line: State, low: State) -> int:
    """The position of `low` on `line`. Raises UsageError if it is not on it."""
    position = len(low.edits)
    if [edit.id for edit in low.edits] != [edit.id for edit in line.edits[:position]]:
        raise UsageError(f"'{low.name}' does not come before '{line.name}'.", "Both ends lie on one line of edits.")
    return position


def _probe(engine: Engine, line: State, asked: str, expect: str, rival: str) -> Check:
    from workbench.engine.bisecting import answer_check, recorded_check

    recorded = RECORDED.fullmatch(asked)
    if not recorded:
        return answer_check(asked, expect, rival)
    number, which = int(recorded[1]), int(recorded[2] or 1)
    if not 1 <= number <= len(line.edits):
        raise UsageError(f"There is no edit {number} before '{line.name}'.", f"They go from 1 to {len(line.edits)}.")
    if expect or rival:
        raise UsageError("The probe of an edit brings its own answers.", "Give the prompt itself with --probe.")
    return recorded_check(engine.core, line.edits[number - 1], which)


def _perplexity(engine: Engine, limit: str) -> Check:
    from workbench.engine.bisecting import perplexity_check

    number = LIMIT.fullmatch(limit)
    if not number:
        raise UsageError(f"--perplexity '{limit}' is no limit.", "Give a number such as 20, or 1.5x of the base's.")
    return perplexity_check(engine.core, float(number[1]), times_base=bool(number[2]))


def _follow(output: Output, engine: Engine, line: State, start: int, check: Check) -> ev.Bisected:
    """Shows every step as it comes; returns the end. Raises Interrupted."""
    from workbench.engine.bisecting import bisect as search

    found: list[ev.Bisected] = []
    end = len(line.edits)
    for event in interruptible(lambda stop: search(engine.core, line, start, end, check, cancelled=stop)):
        output.event(event, "bisect")
        if isinstance(event, ev.BisectStep):
            output.line(step_line(event))
        if isinstance(event, ev.Bisected):
            found.append(event)
    return found[0]


def step_line(step: ev.BisectStep) -> str:
    """One position: where, whether the probe holds there, and what was measured."""
    left = f"  ({step.left} to go at most)" if step.left else ""
    name = step.edit[:SHORT_ID] or "base"
    return f"{step.position:>4}  {name:<8}  {'holds' if step.holds else 'fails'}  {step.said}{left}".rstrip()


def _report(output: Output, line: State, end: ev.Bisected) -> int:
    """The last line: the edit, or that both ends agree."""
    if end.outcome in ("holds", "fails"):
        message = f"The probe {end.outcome} at both ends, at {end.low} and at {end.position}: there is no one culprit."
        output.line(message)
        return output.done(1, message, "Choose other ends with --from and --to, or another probe.")
    edit = line.edits[end.position - 1]
    request = edit.request
    before, after = ("holds", "fails") if end.outcome == "broke" else ("fails", "holds")
    output.line(
        f"{'broken' if end.outcome == 'broke' else 'brought about'} by edit {end.position}  {edit.id[:SHORT_ID]}  "
        f"{rewrite(request.prompt, request.subject, request.target_new, len(edit.requests))}"
    )
    output.tell(f"The probe {before} at {end.low} and {after} at {end.position}; {end.probes} positions were asked.")
    return output.done(0)
