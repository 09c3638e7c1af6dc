"""From a command of the protocol to the engine's method, with every argument checked."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from workbench.edits import EditRequest
from workbench.engine.engine import Engine
from workbench.engine.protocol import Command
from workbench.errors import UsageError
from workbench.events import Event

SIDES = ("base", "stack")
MAX_NEW = 1_000


def dispatch(engine: Engine, command: Command, cancelled: Callable[[], bool]) -> Generator[Event, None, None]:
    """The events of `command`. Raises UsageError for arguments that make no sense, and what the engine raises."""
    args = _Arguments(command.args)
    match command.do:
        case "apply":
            request = EditRequest.from_json(command.args.get("request"))
            changes = args.table("recipe")
            yield from engine.apply(
                request, changes, index=args.whole("index", 1), of=args.whole("of", 1), cancelled=cancelled
            )
        case "undo":
            yield from engine.undo(args.whole("count", 1))
        case "redo":
            yield from engine.redo(args.whole("count", 1))
        case "travel":
            yield from engine.travel(args.position("to"))
        case "verify":
            yield from engine.verify(cancelled=cancelled)
        case "probe":
            yield from engine.probe(cancelled=cancelled)
        case "answer":
            yield from engine.answer(
                args.text("prompt"), args.text("target", ""), sides=args.sides("stack"), top=args.whole("k", 5, 50)
            )
        case "generate":
            yield from engine.generate(
                args.text("prompt"),
                sides=args.sides("base", "stack"),
                max_new=args.whole("max_new", 40, MAX_NEW),
                temperature=args.real("temperature", 0.0),
                seed=args.whole("seed", 0, 2**62),
                cancelled=cancelled,
            )
        case "note":
            yield from engine.note(args.text("edit"), args.text("text", ""))
        case "open":
            yield from engine.open_stack(Path(args.text("stack")))
        case "refresh":
            yield from engine.refresh()
        case "cancel" | "quit":
            raise UsageError(f"'{command.do}' is not a job.")


class _Arguments:
    """A command's arguments, read by type."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    def text(self, name: str, default: str | None = None) -> str:
        value = self._values.get(name, default)
        if not isinstance(value, str):
            raise UsageError(f"The command needs a text '{name}'.")
        return value

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

    def sides(self, *default: str) -> tuple[str, ...]:
        value = self._values.get("sides", default)
        if not isinstance(value, (list, tuple)) or not value or not all(side in SIDES for side in value):
            raise UsageError(f"'sides' must be some of {', '.join(SIDES)}.")
        return tuple(value)
