"""Where the engine's stack lies, as seen from the screen: on this machine, on another one, or in a recording."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from workbench.models.user import config_root
from workbench.tui.state import Where

QUEUES = "queues"


@dataclass(frozen=True)
class Home:
    """What follows from where the stack lies."""

    where: Where = "here"
    engine: str = ""
    """The command that reaches an engine elsewhere."""

    def queue_folder(self, stack: Path) -> Path | None:
        """The folder that keeps the queue of the stack in folder `stack`: the stack's own, if it is on this machine.

        Of one elsewhere it is in the user's folder, by the engine's command and the stack; a recording has none.
        """
        if self.where == "recorded":
            return None
        if self.where == "here":
            return stack
        name = hashlib.sha256(f"{self.engine}\0{stack}".encode("utf-8", "surrogateescape")).hexdigest()[:16]
        return config_root() / QUEUES / name

    def same(self, one: Path, other: Path) -> bool:
        """Whether both name the same stack; of folders elsewhere only the words are known."""
        return one.resolve() == other.resolve() if self.where == "here" else one == other


HERE = Home()
