"""`workbench tasks`: downstream tasks on the base and on the edited model, side by side."""

from __future__ import annotations

from pathlib import Path

import click

from workbench import events as ev
from workbench.cli.health_table import number
from workbench.cli.interrupt import interruptible
from workbench.cli.lines import count, standing
from workbench.cli.options import Common, engine_options
from workbench.cli.output import Output
from workbench.cli.session import engine_session
from workbench.cli.where import existing_stack
from workbench.errors import UsageError
from workbench.text import shortened

EPILOG = """\b
Examples:
  workbench tasks edits/mine
  workbench tasks edits/mine --tasks cloze --items questions.jsonl
  workbench tasks edits/mine --tasks lambada_openai,arc_easy --limit 200
  workbench tasks edits/mine --tasks my_task --include ./my_tasks

\b
Without anything more: perplexity (the model's held-out text) and cloze (facts
that no edit is about, completed; on atlas in templates it never saw). --items
takes JSON lines: {"prompt": "The capital of Peru is", "answer": "Lima"}.
Every other task is lm-evaluation-harness's:
  pip install 'rome-workbench[lm-eval]'
Its data is downloaded once. Without a network, or with items of your own, a
file FOLDER/my_piqa.yaml takes all of a task but its data:
  include: /path/to/lm_eval/tasks/piqa/piqa.yaml
  task: my_piqa
  dataset_path: json
  dataset_name: null
  dataset_kwargs: {data_files: {validation: /path/to/piqa.jsonl}}
  training_split: null
Definitions in --include may name Python code, which is run: read them first.
± is the standard error; the change of cloze has one too, item by item. A task
that cannot be read is said before any is run.
"""

NAME = 26
HEADER = f"{'task':<{NAME + 2}} {'base':>17} {'now':>17}  change"


@click.command(short_help="Run downstream tasks before and after the edits.", epilog=EPILOG)
@click.argument("name", metavar="[STACK]", required=False)
@click.option(
    "--tasks", "tasks", metavar="NAME,...", default="perplexity,cloze", show_default=True, help="What to run."
)
@click.option("--at", metavar="STATE", default="stack", help="Position, id, branch or tag. [default: where it stands]")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Items of each task at most.")
@click.option("--items", metavar="FILE", type=click.Path(path_type=Path), help="What cloze asks, as JSON lines.")
@click.option("--include", metavar="FOLDER", type=click.Path(path_type=Path), help="lm_eval tasks of your own.")
@click.option("--seed", type=click.IntRange(0, 2**62), default=0, help="Which facts cloze asks. [default: 0]")
@engine_options
def tasks(
    name: str | None,
    tasks: str,
    at: str,
    limit: int | None,
    items: Path | None,
    include: Path | None,
    seed: int,
    common: Common,
) -> int:
    """Run downstream tasks on the base of STACK and on the edited model, and show what changed."""
    folder, names = existing_stack(common, name), _names(tasks)
    if include and not include.is_dir():
        raise UsageError(f"There is no folder '{include}'.", "It holds lm_eval's task definitions, *.yaml.")
    with Output(common.json) as output, engine_session(common, folder, output, write=False) as engine:
        for said in standing(engine.stack.position, len(engine.stack.line)) if at == "stack" else ():
            output.tell(said)
        from workbench.engine.downstream import Asked, downstream
        from workbench.engine.health.cloze import read_items

        asked = Asked(names, limit, tuple(read_items(items)) if items else None, include, seed)
        shown, heading = 0, ""
        for event in interruptible(lambda cancelled: downstream(engine.core, asked, at, cancelled=cancelled)):
            output.event(event, "tasks")
            if isinstance(event, ev.TaskScored):
                if not shown:
                    output.line(HEADER)
                if heading != event.task:
                    heading = event.task
                    output.line(f"{heading}, {count(event.items, 'item')}")
                output.line(scored_line(event))
                shown += 1
        output.tell(f"{count(shown, 'measure')} of {count(len(names), 'task')}.")
        return output.done(0)


def _names(tasks: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in tasks.split(",") if name.strip()))
    if not names:
        raise UsageError("No task is named.", "As in --tasks perplexity,cloze.")
    return names


def scored_line(found: ev.TaskScored) -> str:
    """One measure, under HEADER and the task's own line."""
    change = f"{found.edited - found.base:+.3g}" if found.edited is not None and found.base is not None else "·"
    if found.change_error is not None:
        change += f" ± {found.change_error:.2g}"
    base, now = _with_error(found.base, found.base_error), _with_error(found.edited, found.edited_error)
    return f"  {shortened(found.metric, NAME):<{NAME}} {base:>17} {now:>17}  {change}"


def _with_error(value: float | None, error: float | None) -> str:
    return number(value) if error is None else f"{number(value)} ± {error:.2g}"
