"""`workbench health`: how a stack is doing, in which phase it is, and where it broke."""

from __future__ import annotations

from collections.abc import Callable, Generator

import click

from workbench import events as ev
from workbench.cli.health_table import CURVE_HEADER, curve_line, table
from workbench.cli.interrupt import interruptible
from workbench.cli.lines import standing
from workbench.cli.options import Common, engine_options
from workbench.cli.output import Output
from workbench.cli.session import engine_session
from workbench.cli.where import existing_stack

EPILOG = """\b
Examples:
  workbench health
  workbench health edits/mine --at 40
  workbench health edits/long --sample 200 --seed 1
  workbench health edits/long --every 50

\b
The phase:
  catastrophic  a state is broken (perplexity on held-out text over 2 times
                the base's, or fewer than half of the earlier edits hold, or
                half of those that held one step before on the curve), and
                one edit did it: perplexity to 1.5 times, or retention to
                half, of what it was right before. It is found by bisecting.
  gradual       no one edit did it, but earlier edits are being forgotten
                (least squares of lost on the number of later edits: above 0
                with its whole 95 % interval), or perplexity is over 1.1 times
                the base's, or facts that nobody edited are answered worse by
                more than 1.96 standard errors.
  stable        none of these.

\b
Retention counts edits whose target won right after they were made; facts
that a later edit says otherwise are not asked. Everything is read only.
Exit code 1: catastrophic.
"""


@click.command(short_help="Say how healthy a stack is, and where it broke.", epilog=EPILOG)
@click.argument("name", metavar="[STACK]", required=False)
@click.option("--at", metavar="STATE", default="stack", help="Position, id, branch or tag. [default: where it stands]")
@click.option("--sample", type=click.IntRange(1), metavar="N", help="Ask N of the earlier edits. [default: all]")
@click.option("--seed", type=click.IntRange(0, 2**62), default=0, help="Which are asked. [default: 0]")
@click.option("--every", type=click.IntRange(1), metavar="K", help="Measure every K-th position too, and show a curve.")
@engine_options
def health(name: str | None, at: str, sample: int | None, seed: int, every: int | None, common: Common) -> int:
    """Say how healthy STACK is: weights, keys, what earlier edits and other facts have become, and the phase."""
    folder = existing_stack(common, name)
    with Output(common.json) as output, engine_session(common, folder, output, write=False) as engine:

        def asked(cancelled: Callable[[], bool]) -> Generator[ev.Event, None, object]:
            return engine.health(at, sample=sample, seed=seed, every=every, cancelled=cancelled)

        reports: list[ev.HealthReport] = []
        phase = None
        for said in standing(engine.stack.position, len(engine.stack.line)) if at == "stack" else ():
            output.tell(said)
        for event in interruptible(asked):
            output.event(event, "health")
            if isinstance(event, ev.HealthReport):
                reports.append(event)
            elif isinstance(event, ev.Diagnosed):
                phase = event
        _show(output, reports, phase)
        return output.done(1 if phase and phase.phase == "catastrophic" else 0, phase.message if phase else "")


def _show(output: Output, reports: list[ev.HealthReport], phase: ev.Diagnosed | None) -> None:
    if len(reports) > 1:
        output.line(CURVE_HEADER)
        for report in reports:
            output.line(curve_line(report))
        output.line("")
    for line in table(reports[-1]) if reports else ():
        output.line(line)
    if phase:
        output.line("")
        output.line(f"{phase.phase}  {phase.message}")
        if phase.hint:
            output.line(f"  → {phase.hint}")
