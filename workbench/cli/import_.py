"""`workbench import`: others' edits, listed, tried out, or taken into a stack."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from workbench import events as ev
from workbench.cli.interrupt import interruptible
from workbench.cli.lines import count, log_line, probe_line, tallies
from workbench.cli.making import make
from workbench.cli.options import Common, engine_options
from workbench.cli.output import Output
from workbench.cli.session import engine_session
from workbench.cli.sources import is_request_file, list_source
from workbench.cli.where import stack_folder
from workbench.errors import BaseMismatch, UsageError, WorkbenchError
from workbench.requests import read_requests
from workbench.stack.place import default_stack

if TYPE_CHECKING:
    from workbench.engine.engine import Engine
    from workbench.stack.sources import Source

EPILOG = """\b
Examples:
  workbench import tour.zip --list
  workbench import tour.zip --stack edits/theirs
  workbench import eiffel.safetensors --dry-run
  workbench import edits/theirs more.zip --stack edits/mine --resolve
  workbench import my-lora --model openai-community/gpt2

\b
FILE is an edit file, a bundle, another stack's folder, or the folder of a
LoRA adapter. All of it is checked before any of it is used.
A new or empty stack becomes what one bundle or stack is: same ids, position,
branches, tags and notes. Else the edits that are applied there are added
after the position here; those that are here already are passed over.
Everything is taken or nothing. A request file is read as apply reads it, and
its edits are made one by one.
--dry-run works on a copy that is thrown away. It shows what would be added
(probes and |ΔW|/|W|, measured here against the base, not as its file claims),
then probes that fail, drift and perplexity, and what is refused.
Exit code: that of the first FILE that is refused.
"""


@click.command("import", short_help="Take others' edits into a stack.", epilog=EPILOG)
@click.argument("paths", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--list", "listing", is_flag=True, help="Only check FILE and list its edits; no model is needed.")
@click.option("--dry-run", is_flag=True, help="Only say what would be added, and what the model is like then.")
@click.option("--resolve", is_flag=True, help="Make every update anew, for the state that it comes to stand on.")
@engine_options
def import_(paths: tuple[Path, ...], listing: bool, dry_run: bool, resolve: bool, common: Common) -> int:
    """Take the edits of every FILE into the stack (--stack), all of them or none."""
    from workbench.stack.sources import open_source

    if listing and (dry_run or resolve):
        raise UsageError("--list goes with nothing else.", "--dry-run lists too.")
    asked = [path for path in paths if is_request_file(path)]
    if asked:
        if listing or dry_run or resolve or len(asked) != len(paths):
            raise UsageError(f"'{asked[0]}' is a request file.", "Import it without options, and without other files.")
        return make([request for path in asked for request in read_requests(path)], {}, common)
    with Output(common.json) as output:
        if listing:
            for path in paths:
                list_source(open_source(path), output)
            return output.done(0)
        job = Import(common, output, resolve)
        return job.try_out(paths) if dry_run else job.run([open_source(path) for path in paths])


@dataclass
class Import:
    """One run of the command."""

    common: Common
    output: Output
    resolve: bool
    refused: list[WorkbenchError] = field(default_factory=list)
    """Why sources are refused, in a dry run."""

    @property
    def folder(self) -> Path:
        """The stack that it is for."""
        return stack_folder(self.common)

    def run(self, sources: Sequence[Source]) -> int:
        """Imports; raises what is wrong with the first source that is refused, and then nothing has changed."""
        for source in sources:
            self._check(source)
        if self._become(self.folder, sources):
            done = self._take(self.folder, sources[0])
        else:
            with engine_session(self.common, self.folder, self.output, write=True) as engine:
                done = self._add(engine, sources)
        self.output.line(f"imported  {count(len(done.added))}  position {done.position}  {self.folder}")
        return self.output.done(0)

    def try_out(self, paths: Sequence[Path]) -> int:
        """Does the same to a copy, and says what comes of it."""
        from workbench.stack.sources import is_empty, take
        from workbench.stack.store import Stack

        sources = list(self._usable(paths))
        if not sources:
            raise self.refused[0]
        with tempfile.TemporaryDirectory(prefix="workbench-") as temporary:
            copy = Path(temporary) / "stack"
            if not is_empty(self.folder):
                take(copy, Stack.open(self.folder))
            become = self._become(copy, sources)
            done = self._take(copy, sources[0]) if become else None
            with engine_session(self.common, copy, self.output, write=not become) as engine:
                before = engine.core.live.drift(), engine.core.perplexity()
                done = done or self._add(engine, sources)
                self._examine(engine, done, (0.0, engine.core.perplexity_base()) if become else before)
        return self.output.done(self.refused[0].exit_code if self.refused else 0)

    def _usable(self, paths: Iterable[Path]) -> Iterator[Source]:
        """What is not refused of `paths`; the rest is said, and kept in `refused`."""
        from workbench.stack.sources import open_source

        for path in paths:
            try:
                source = open_source(path)
                self._check(source)
                yield source
            except WorkbenchError as error:
                self.refused.append(error)
                self.output.event(ev.Warning(message=f"{path} is refused: {error.message}", hint=error.hint), "import")

    def _check(self, source: Source) -> None:
        """Raises BaseMismatch if `source` cannot be for this stack; what only the model knows is checked later."""
        from workbench.stack.sources import is_empty
        from workbench.stack.store import Stack

        base = None if is_empty(self.folder) else Stack.open(self.folder).base
        if base:
            source.check_base(base)
        elif source.edits and not self.common.stack:
            made_on = source.edits[0].base.name
            if default_stack(made_on) != self.folder:
                raise BaseMismatch(
                    f"{source.name} was made on {made_on}, and {self.folder} is for another model.",
                    "Name a folder for it with --stack, or its model with --model.",
                )

    def _become(self, folder: Path, sources: Sequence[Source]) -> bool:
        """Whether the stack becomes what the source is, instead of taking its edits in; that needs no model."""
        from workbench.stack.sources import is_empty

        return is_empty(folder) and len(sources) == 1 and sources[0].view is not None and not self.resolve

    def _take(self, folder: Path, source: Source) -> ev.Imported:
        from workbench.stack.sources import take

        assert source.view is not None  # noqa: S101
        take(folder, source.view)
        view = source.view
        added = tuple(edit.id for edit in (*view.line, *view.others))
        done = ev.Imported(sources=(source.name,), added=added, skipped=0, position=view.position)
        self.output.event(done, "import")
        return done

    def _add(self, engine: Engine, sources: Sequence[Source]) -> ev.Imported:
        from workbench.engine.importing import import_sources

        for source in sources:
            if source.left_behind:
                self.output.tell(f"note: {count(source.left_behind)} of {source.name} left behind: not applied there")
        events = self._follow(
            lambda cancelled: import_sources(engine.core, sources, resolve=self.resolve, cancelled=cancelled)
        )
        done = next(event for event in events if isinstance(event, ev.Imported))  # stopped: _follow has raised
        if done.skipped:
            self.output.tell(f"note: {count(done.skipped)} passed over: here already")
        return done

    def _examine(self, engine: Engine, done: ev.Imported, before: tuple[float, float | None]) -> None:
        """Prints a line for every new edit, for every probe that fails, and for the whole."""
        from workbench.engine.importing import examine

        seen = self._follow(lambda cancelled: examine(engine.core, done.added, cancelled=cancelled))
        for row in (event for event in seen if isinstance(event, ev.EditRow)):
            self.output.line(log_line(row))
        probes = [event for event in seen if isinstance(event, ev.ProbeResult)]
        for probe in probes:
            if probe.passed is False:
                self.output.line(probe_line(probe))
        drift, perplexity = before
        now = next((probe.value for probe in probes if probe.kind == "perplexity"), None)
        self.output.line(f"would add {count(len(done.added))}  {'  '.join(tallies(probes)) or 'no probes'}")
        self.output.line(f"drift {drift:.4f} → {engine.core.live.drift():.4f}")
        if now is not None and perplexity is not None:
            base = engine.core.perplexity_base()
            self.output.line(f"perplexity {perplexity:.3f} → {now:.3f}  base {base:.3f}")

    def _follow(self, begin: Callable[[Callable[[], bool]], Iterable[ev.Event]]) -> list[ev.Event]:
        """All events of a job, shown as they come. Raises Interrupted."""
        seen = []
        for event in interruptible(begin):
            self.output.event(event, "import")
            seen.append(event)
        return seen
