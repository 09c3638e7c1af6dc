"""From a command of the protocol to the engine's method, with every argument checked."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from workbench.contrasts import added_probes
from workbench.edits import MAX_TEXT, EditRequest
from workbench.engine.protocol import Command
from workbench.errors import UsageError
from workbench.events import Event
from workbench.guards import Guard
from workbench.requests_export import Shape
from workbench.stack.limits import MAX_NUMBER, MAX_REQUESTS
from workbench.stack.outgoing import KINDS
from workbench.traces import TraceSettings

if TYPE_CHECKING:
    from workbench.engine.engine import Engine
    from workbench.engine.guarding import Decide

MOST_STATES = 8
MAX_WORD = 200
"""Characters of a state's name."""
MAX_NEW = 1_000
MOST_PROBES = 20_000

SHAPES: tuple[Shape, ...] = get_args(Shape)
Word = TypeVar("Word", bound=str)

_NO_TEXT = re.compile("[\\0\ud800-\udfff]")
"""What neither a tokenizer nor a file system takes: NUL and half of a surrogate pair."""


def _never() -> bool:
    return False


def dispatch(
    engine: Engine,
    command: Command,
    cancelled: Callable[[], bool],
    decide: Decide | None = None,
    enough: Callable[[], bool] = _never,
) -> Generator[Event, None, None]:
    """The events of `command`; `decide` answers a guard's question, `enough` ends a job of several edits after one.

    Raises UsageError for arguments that make no sense, and what the engine raises.
    """
    job = _JOBS.get(command.do)
    if job is None:
        raise UsageError(f"'{command.do}' is not a job.")
    yield from job(engine, _Arguments(command.args, decide, enough), cancelled)


class _Arguments:
    """A command's arguments, read by type."""

    def __init__(
        self, values: dict[str, Any], decide: Decide | None = None, enough: Callable[[], bool] = _never
    ) -> None:
        self._values = values
        self.decide, self.enough = decide, enough

    def requests(self) -> list[EditRequest]:
        return [EditRequest.from_json(document) for document in self.documents("requests", MAX_REQUESTS)]

    def guard(self) -> Guard | None:
        return Guard.from_json(self.table("guard")) if self._values.get("guard") is not None else None

    def text(self, name: str, default: str | None = None) -> str:
        value = self._values.get(name, default)
        if not isinstance(value, str) or len(value) > MAX_TEXT or _NO_TEXT.search(value):
            raise UsageError(f"The command needs a text '{name}' of at most {MAX_TEXT} characters.")
        return value

    def path(self, name: str) -> Path:
        """A file's or folder's name, which on some systems need not be text."""
        value = self._values.get(name)
        try:
            if isinstance(value, str) and len(value) <= MAX_TEXT and b"\0" not in os.fsencode(value):
                return Path(value)
        except UnicodeEncodeError:
            pass
        raise UsageError(f"The command needs a file or folder '{name}', of at most {MAX_TEXT} characters.")

    def whole(self, name: str, default: int, most: int = 1_000_000) -> int:
        value = self._values.get(name, default)
        if type(value) is not int or not 0 <= value <= most:
            raise UsageError(f"'{name}' must be a whole number from 0 to {most}.")
        return value

    def real(self, name: str, default: float) -> float:
        value = self._values.get(name, default)
        if type(value) not in (int, float) or not 0 <= value <= 100:
            raise UsageError(f"'{name}' must be a number from 0 to 100.")
        return float(value)

    def flag(self, name: str) -> bool:
        value = self._values.get(name, False)
        if type(value) is not bool:
            raise UsageError(f"'{name}' must be true or false.")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        value = self._values.get(name)
        if not isinstance(value, list) or not all(isinstance(text, str) and len(text) <= MAX_TEXT for text in value):
            raise UsageError(f"'{name}' must be a list of texts.")
        return tuple(value)

    def items(self, name: str) -> list[Any]:
        value = self._values.get(name, [])
        if not isinstance(value, list):
            raise UsageError(f"'{name}' must be a list.")
        return value

    def given(self, name: str) -> bool:
        return name in self._values

    def choice(self, name: str, choices: Sequence[Word], default: Word | None = None) -> Word:
        value = self._values.get(name, default)
        found = next((choice for choice in choices if choice == value), None)
        if found is None:
            raise UsageError(f"'{name}' must be one of {', '.join(choices)}.")
        return found

    def documents(self, name: str, most: int) -> list[Any]:
        value = self._values.get(name)
        if not isinstance(value, list) or not 0 < len(value) <= most:
            raise UsageError(f"'{name}' must be a list of 1 to {most} objects.")
        return value

    def table(self, name: str) -> dict[str, Any]:
        value = self._values.get(name) or {}
        if not isinstance(value, dict):
            raise UsageError(f"'{name}' must be an object.")
        return value

    def position(self, name: str) -> int | str:
        value = self._values.get(name)
        if type(value) is not int and not isinstance(value, str):
            raise UsageError(f"'{name}' must be a position or an edit's id.")
        return value

    def states(self, *default: str) -> tuple[str, ...]:
        """Words for states of the stack; whether there are such states is the engine's to say."""
        value = self._values.get("states", list(default))
        if not isinstance(value, list) or not 0 < len(value) <= MOST_STATES or not all(map(_is_state, value)):
            raise UsageError(
                f"'states' must be 1 to {MOST_STATES} states.",
                "base, stack, a position, an edit's id, a branch, a tag.",
            )
        return tuple(map(str, value))


def _is_state(value: object) -> bool:
    if isinstance(value, str):
        return 0 < len(value) <= MAX_WORD and not _NO_TEXT.search(value)
    return type(value) is int and 0 <= value <= MAX_NUMBER


Job = Callable[["Engine", _Arguments, Callable[[], bool]], Generator[Event, None, object]]


def _apply(engine: Engine, args: _Arguments, cancelled: Callable[[], bool]) -> Generator[Event, None, object]:
    request = EditRequest.from_json(args.table("request"))
    index, of = args.whole("index", 1), args.whole("of", 1)
    return engine.apply(
        request,
        args.table("recipe"),
        index=index,
        of=of,
        guard=args.guard(),
        decide=args.decide,
        cancelled=cancelled,
    )


def _apply_batch(engine: Engine, args: _Arguments, cancelled: Callable[[], bool]) -> Generator[Event, None, object]:
    return engine.apply_batch(
        args.requests(),
        args.table("recipe"),
        index=args.whole("index", 1),
        of=args.whole("of", 1),
        guard=args.guard(),
        decide=args.decide,
        cancelled=cancelled,
    )


def _apply_together(engine: Engine, args: _Arguments, cancelled: Callable[[], bool]) -> Generator[Event, None, object]:
    requests = args.requests()
    return engine.apply_together(
        requests,
        args.table("recipe"),
        index=args.whole("index", 1),
        of=args.whole("of", len(requests)),
        guard=args.guard(),
        decide=args.decide,
        cancelled=cancelled,
        enough=args.enough,
    )


def _generate(engine: Engine, args: _Arguments, cancelled: Callable[[], bool]) -> Generator[Event, None, object]:
    from workbench.engine.asking import Sampling

    sampling = Sampling(
        max_new=args.whole("max_new", 40, MAX_NEW),
        temperature=args.real("temperature", 0.0),
        seed=args.whole("seed", 0, 2**62),
        top=args.whole("k", 8, 50),
    )
    return engine.generate(
        args.text("prompt"), states=args.states("base", "stack"), sampling=sampling, cancelled=cancelled
    )


def _probe(engine: Engine, args: _Arguments, cancelled: Callable[[], bool]) -> Generator[Event, None, object]:
    if not args.given("states"):
        return engine.probe(cancelled=cancelled)
    return engine.watch(
        args.states(),
        added_probes(args.items("added")),
        most=args.whole("most", 1_000, MOST_PROBES),
        cancelled=cancelled,
    )


def _trace(engine: Engine, args: _Arguments, cancelled: Callable[[], bool]) -> Generator[Event, None, object]:
    return engine.trace(
        args.text("prompt"),
        args.text("subject"),
        args.text("answer", ""),
        settings=TraceSettings.from_json(args.table("settings")),
        chat=args.flag("chat"),
        side=args.text("side", "base"),
        cancelled=cancelled,
    )


def _export(engine: Engine, args: _Arguments, cancelled: Callable[[], bool]) -> Generator[Event, None, object]:
    del cancelled  # a file or folder is whole or not there
    from workbench.engine.exporting import export

    return export(
        engine,
        args.choice("format", KINDS),
        args.path("out"),
        edit=args.text("edit", ""),
        shape=args.choice("shape", SHAPES, "workbench"),
        replace=args.flag("replace"),
    )


def _preflight(engine: Engine, args: _Arguments, _: Callable[[], bool]) -> Generator[Event, None, object]:
    request = EditRequest.from_json(args.table("request"))
    return engine.preflight(request, args.table("recipe"), quick=args.flag("quick"))


def _health(engine: Engine, args: _Arguments, cancelled: Callable[[], bool]) -> Generator[Event, None, object]:
    return engine.health(
        args.text("at", "stack"),
        sample=args.whole("sample", 0) or None,
        seed=args.whole("seed", 0, 2**62),
        every=args.whole("every", 0) or None,
        cancelled=cancelled,
    )


def _toggle(engine: Engine, args: _Arguments, cancelled: Callable[[], bool]) -> Generator[Event, None, object]:
    return engine.toggle(args.text("edit"), off=args.flag("off"), resolve=args.flag("resolve"), cancelled=cancelled)


def _arrange(engine: Engine, args: _Arguments, cancelled: Callable[[], bool]) -> Generator[Event, None, object]:
    return engine.arrange(
        args.texts("order"), resolve=args.flag("resolve"), branch=args.text("branch", ""), cancelled=cancelled
    )


_JOBS: dict[str, Job] = {
    "apply": _apply,
    "apply_batch": _apply_batch,
    "apply_together": _apply_together,
    "undo": lambda engine, args, _: engine.undo(args.whole("count", 1)),
    "redo": lambda engine, args, _: engine.redo(args.whole("count", 1)),
    "travel": lambda engine, args, _: engine.travel(args.position("to")),
    "toggle": _toggle,
    "arrange": _arrange,
    "switch": lambda engine, args, _: engine.switch(args.text("name")),
    "branch": lambda engine, args, _: engine.start_branch(args.text("name"), args.text("at", "") or None),
    "verify": lambda engine, _, cancelled: engine.verify(cancelled=cancelled),
    "preflight": _preflight,
    "health": _health,
    "probe": _probe,
    "answer": lambda engine, args, _: engine.answer(
        args.text("prompt"),
        args.text("target", ""),
        states=args.states("stack"),
        top=args.whole("k", 5, 50),
        chat=args.flag("chat"),
        go_on=args.whole("go_on", 0, 50),
    ),
    "generate": _generate,
    "trace": _trace,
    "export": _export,
    "note": lambda engine, args, _: engine.note(args.text("edit"), args.text("text", "")),
    "open": lambda engine, args, _: engine.open_stack(args.path("stack"), fall_back=True),
    "refresh": lambda engine, _, __: engine.refresh(),
    "stacks": lambda engine, _, __: engine.beside(),
}
