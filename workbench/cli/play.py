"""`workbench play`: a recorded run on the screen, without model and engine."""

from __future__ import annotations

from pathlib import Path

import click

from workbench.cli.open import needs_a_terminal

EPILOG = """\b
Examples:
  workbench --record run.jsonl         records a run
  workbench play run.jsonl
  workbench play run.jsonl --speed 4
  workbench play run.jsonl --no-wait

\b
Space pauses. Every place can be visited; nothing can be changed. Where nothing
happened for more than two seconds, two seconds are shown.
"""


@click.command(short_help="Show a recorded run, without a model.", epilog=EPILOG)
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--speed", type=click.FloatRange(0.01, 1000), default=1.0, metavar="X", help="Times faster. [default: 1]")
@click.option("--no-wait", is_flag=True, help="Show the end at once.")
def play(file: Path, speed: float, no_wait: bool) -> int:
    """Show the run that workbench --record wrote into FILE, as it went."""
    from workbench.recording import read_recording
    from workbench.tui import garbage

    garbage.begin()
    recording = read_recording(file)
    needs_a_terminal()

    from workbench.tui.play import play

    return play(recording, 0.0 if no_wait else speed)
