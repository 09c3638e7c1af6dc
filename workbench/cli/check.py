"""`workbench apply --check`: what is likely to go wrong with edits, before any is made."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from workbench import events as ev
from workbench.cli.lines import count, rewrite
from workbench.cli.options import Common
from workbench.cli.output import Output
from workbench.cli.session import engine_session
from workbench.cli.where import stack_folder
from workbench.edits import EditRequest

if TYPE_CHECKING:
    from workbench.engine.engine import Engine

MARKS = {"note": "·", "warning": "!", "danger": "✗"}
CLEAR = "✓"


def look(wanted: Sequence[EditRequest], changes: dict[str, Any], common: Common) -> int:
    """Says what is to be known of each of `wanted` on the stack that `common` names, which is only read.

    Returns the exit code: 1 where there is a warning, or something worse.
    """
    with Output(common.json) as output, _session(common, output) as engine:
        grave, said = 0, _Said()
        for number, request in enumerate(wanted, 1):
            found = (
                *output.follow(engine.preflight(request, changes), f"edit-{number}"),
                *output.follow(said.against(number, request), f"edit-{number}"),
            )
            grave += any(one.severity != "note" for one in found)
            _show(output, number, request, found)
        message = f"{count(grave)} of {len(wanted)} to look at again" if grave else "nothing speaks against them"
        output.tell(f"{message[0].upper()}{message[1:]}; nothing was changed.")
        return output.done(1 if grave else 0, message)


class _Said:
    """What earlier requests of the same file are about."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[int, EditRequest]] = {}

    def against(self, number: int, request: EditRequest) -> Generator[ev.Preflight, None, tuple[ev.Preflight, ...]]:
        """Says that request `number` puts another target in place of an earlier one's, or the same again."""
        from workbench.engine.conflicts import facts, same_words

        earlier = next((self._known[fact] for fact in facts(request) if fact in self._known), None)
        self._known |= dict.fromkeys(facts(request), (number, request))
        if earlier is None:
            return ()
        place, other = earlier
        same = same_words(other.target_new) == same_words(request.target_new)
        found = ev.Preflight(
            topic="repeated-edit" if same else "overwrites",
            severity="note" if same else "warning",
            message=f"Request {place} is about the same fact: {other.text} → {other.target_new}.",
            hint="" if same else "Keep one of the two.",
            prompt=request.text,
        )
        yield found
        return (found,)


@contextmanager
def _session(common: Common, output: Output) -> Iterator[Engine]:
    """An engine on the stack that is meant, to read; where there is none yet, on an empty one that leaves no trace."""
    folder = stack_folder(common)
    with TemporaryDirectory() as empty:
        there = folder.is_dir()
        with engine_session(common, folder if there else Path(empty), output, write=not there) as engine:
            yield engine


def _show(output: Output, number: int, request: EditRequest, found: Sequence[ev.Preflight]) -> None:
    worst = max((one.severity for one in found), key=[*MARKS].index, default="")
    output.line(
        f"{MARKS.get(worst, CLEAR)} {number:>3}  {rewrite(request.prompt, request.subject, request.target_new)}"
    )
    for one in found:
        for line in preflight_lines(one):
            output.line(f"       {line}")


def preflight_lines(found: ev.Preflight) -> tuple[str, ...]:
    """One thing to be known, and what can be done."""
    said = f"{found.severity}: {found.message}"
    return (said, f"  → {found.hint}") if found.hint else (said,)
