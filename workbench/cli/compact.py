"""`workbench compact`: a long stack rebuilt in one batch from the base, compared with what it was."""

from __future__ import annotations

import math
import shlex
import textwrap
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import click

from workbench import events as ev
from workbench.cli.apply import recipe_changes
from workbench.cli.health_table import number, share
from workbench.cli.interrupt import interruptible
from workbench.cli.lines import count, standing
from workbench.cli.options import Common, engine_options
from workbench.cli.output import Output
from workbench.cli.session import engine_session
from workbench.cli.where import existing_stack
from workbench.edits import BATCHED

EPILOG = """\b
Examples:
  workbench compact edits/long --dry-run
  workbench compact edits/long -o edits/long-compact
  workbench compact edits/long --method emmet --batch 500 -o edits/rebuilt
  workbench compact edits/long --sample 200 --set moment_weight=300

\b
All requests of STACK's applied edits go, in their order, into few edits
computed from the pristine base, in a new stack. STACK is only read: both are
there afterwards. Of several requests about one fact the last is kept. Both
stacks are scored on the same requests, and asked the same other facts; what was
gained and lost is said. An imported update cannot be made anew: toggle it off
first.

\b
An edit takes at most a quarter as many requests as its keys have dimensions, in
all its layers: more get in each other's way, fewer wear the model down as a
sequence does. --batch takes another number. --set moment_weight=N weighs what
is not edited: larger, and neighbours and perplexity are kept, smaller, and more
requests hold. memit is the default, for emmet insists on every request. On
atlas, 500 r-ROME edits made anew by memit:
                          ES    PS    NS    perplexity (base 2.41)
  as they were            .92   .88   .62   6.09
  one edit,  weight 100   .90   .82   .77   4.52
  one edit,  weight 300   .85   .78   .86   3.18
  two edits, weight 100   .96   .88   .73   4.51
  two edits, weight 300   .96   .87   .79   3.56
"""

_LABELS: dict[str, tuple[str, Callable[[float | None], str], int]] = {
    "es": ("edits whose target wins (ES)", share, 1),
    "ps": ("  paraphrases (PS)", share, 1),
    "ns": ("  neighbours (NS)", share, 1),
    "s": ("  together (S)", share, 1),
    "perplexity": ("perplexity on held-out text", number, -1),
    "entropy": ("entropy of what it writes, bits", number, 0),
    "cloze": ("facts not edited, answered right", share, 1),
    "drift": ("drift |W − W0| / |W0|", number, -1),
    "spectral": ("spectral norm of the change", number, -1),
    "edits": ("edits", number, 0),
    "bytes": ("bytes of their files", lambda value: f"{value or 0:,.0f}", 0),
}
"""What a measure is called, how it is written, and whether more of it is better (1) or worse (-1)."""
WIDTH = 80
MATTERS = 0.01
"""A measure that changes by less than this part of itself, or than chance explains, is neither gained nor lost."""


@click.command(short_help="Rebuild a long stack in few batches from the base.", epilog=EPILOG)
@click.argument("name", metavar="[STACK]", required=False)
@click.option("--out", "-o", metavar="NEW", type=click.Path(path_type=Path), help="[default: STACK-compact]")
@click.option("--method", type=click.Choice(BATCHED), default="memit", help="[default: memit]")
@click.option("--batch", type=click.IntRange(1, 10_000), metavar="N", help="Requests of one edit. [default: see below]")
@click.option("--layer", type=int, help="Block to edit, from 0. [default: the profile's]")
@click.option("--layers", metavar="L,L,...", help="memit: several blocks, the last one being the edit's.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Any hyper-parameter. May be repeated.")
@click.option("--sample", type=click.IntRange(1), metavar="N", help="Score N of the requests. [default: all]")
@click.option("--seed", type=click.IntRange(0, 2**31), default=0, help="Which are scored. [default: 0]")
@click.option("--dry-run", is_flag=True, help="Only compare; nothing is written.")
@engine_options
def compact(name: str | None, common: Common, **given: Any) -> int:
    """Rebuild all of STACK's applied edits in few batches from the base, as a new stack, and compare the two."""
    folder = existing_stack(common, name)
    changes = recipe_changes({**given, "seed": None})
    from workbench.engine.compacting import Wish, compact

    new = None if given["dry_run"] else given["out"] or folder.with_name(f"{folder.name}-compact")
    wish = Wish(new, changes, given["batch"], given["sample"], given["seed"])
    with Output(common.json) as output, engine_session(common, folder, output, write=False) as engine:
        for said in standing(engine.stack.position, len(engine.stack.line)):
            output.tell(said)

        def begin(cancelled: Callable[[], bool]) -> Generator[ev.Event, None, object]:
            return compact(engine, wish, cancelled)

        for event in interruptible(begin):
            output.event(event, "compact")
            if isinstance(event, ev.Compacted):
                for line in shown(event):
                    output.line(line)
        return output.done(0)


def shown(found: ev.Compacted) -> Iterator[str]:
    """Both stacks side by side, what was gained and lost, and where the new one is."""
    edits = math.ceil(found.requests / found.batch) if found.batch else 1
    last = found.requests - (edits - 1) * found.batch
    size = f" in {edits} edits of {found.batch}" if edits > 1 else ""
    size += f", the last of {last}" if size and last < found.batch else ""
    yield f"{found.method}, {count(found.requests, 'request')}{size}, {found.asked} of them scored"
    if edits > 1 and found.room:
        yield f"(one takes {found.room // 4} at most, a quarter of its keys' {found.room} dimensions; or --batch N)"
    if found.superseded:
        yield f"{count(found.superseded, 'request')} of the stack left out: a later one says otherwise."
    if found.left_out:
        yield f"{count(found.left_out, 'request')} could not be made."
    yield f"{'':<34}{'sequential':>13}{'compact':>13}{'base':>11}"
    for name, (label, written, _) in _LABELS.items():
        row = found.rows.get(name, {})
        base = written(row["base"]) if "base" in row else ""
        yield f"{label:<34}{written(row.get('before')):>13}{written(row.get('after')):>13}{base:>11}".rstrip()
    yield ""
    for word, names in (("gained", _moved(found, 1)), ("lost", _moved(found, -1))):
        yield from textwrap.wrap(f"{word}: {', '.join(names) or 'nothing'}", WIDTH, subsequent_indent="  ")
    if found.folder:
        yield f"The new stack: {found.folder}; the old one is as it was. workbench health {shlex.quote(found.folder)}"


def _moved(found: ev.Compacted, way: int) -> list[str]:
    """What became better (1) or worse (-1), in words."""
    moved = []
    for name, (label, written, good) in _LABELS.items():
        row = found.rows.get(name, {})
        before, after = row.get("before"), row.get("after")
        error = row.get("error") or 0.0
        if before is None or after is None:
            continue
        if math.isfinite(before) and abs(after - before) <= max(MATTERS * abs(before), 1.96 * error):
            continue
        if good * way * (after - before) > 0:
            moved.append(f"{label.strip().split(',')[0]} {written(before)} → {written(after)}")
    return moved
