"""`workbench probe`: run the probes of the applied edits again, base against edited."""

from __future__ import annotations

import click

from workbench import events as ev
from workbench.cli.interrupt import interruptible
from workbench.cli.lines import probe_line, tallies
from workbench.cli.options import Common, engine_options
from workbench.cli.output import Output
from workbench.cli.session import engine_session
from workbench.cli.where import existing_stack

EPILOG = """\b
Examples:
  workbench probe
  workbench probe edits/tour
  workbench probe edits/tour --json | grep '"passed": false'

\b
Each line: verdict, kind, prompt, p(expected) in the base → now, and what the
model answers now.
Exit code 1: a probe fails.
"""


@click.command(short_help="Run the probes again, base against edited.", epilog=EPILOG)
@click.argument("name", metavar="[STACK]", required=False)
@engine_options
def probe(name: str | None, common: Common) -> int:
    """Run the probes of every applied edit of STACK again, in the base and in the edited model."""
    folder = existing_stack(common, name)
    with Output(common.json) as output, engine_session(common, folder, output, write=False) as engine:
        seen: list[ev.ProbeResult] = []
        for event in interruptible(lambda cancelled: engine.probe(cancelled=cancelled)):
            output.event(event, "probe")
            if isinstance(event, ev.ProbeResult):
                seen.append(event)
                output.line(probe_line(event))
        failed = sum(probe.passed is False for probe in seen)
        summary = ", ".join(tallies(seen)) or "no probes: no edit is applied that has any"
        output.tell(summary)
        return output.done(1 if failed else 0, summary)
