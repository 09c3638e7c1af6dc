"""What the app offers to its screens. They know no more of it, so each can be tried with a small app of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast

from workbench.engine.protocol import Verb
from workbench.errors import WorkbenchError
from workbench.guards import Guard
from workbench.tui.queue import Queue
from workbench.tui.state import State

if TYPE_CHECKING:
    from textual.dom import DOMNode


class Bench(Protocol):
    """The app, as screens and widgets see it."""

    @property
    def state(self) -> State:
        """What is known now."""
        ...

    @property
    def queue(self) -> Queue:
        """The edits that wait."""
        ...

    @property
    def guard(self) -> Guard:
        """The limits that edits are held to."""
        ...

    def send(self, verb: Verb, **args: Any) -> str:
        """Asks the engine and returns the job's id; says so and returns "" if the engine cannot take it."""
        ...

    def cancel(self) -> None:
        """Stops the job in progress, if there is one."""
        ...

    def run_queue(self, batch: dict[str, Any] | None = None, *, together: bool = False) -> None:
        """The queue's edits are made, one after the other; with `batch`, all that are ready as one edit so set.

        `together`: their updates are made on one state, and then applied one after the other.
        """
        ...

    def queue_changed(self) -> None:
        """A screen has changed the queue: all that show it are drawn anew."""
        ...

    def tell(self, error: WorkbenchError) -> None:
        """Shows what went wrong and what to do."""
        ...

    def restart_engine(self) -> None:
        """Ends the engine, if it runs, and starts another one on the same stack."""
        ...


def bench(node: DOMNode) -> Bench:
    """The app that `node` belongs to."""
    return cast("Bench", node.app)
