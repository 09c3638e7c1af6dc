"""An engine's process without a model, for tests of the program around it: run by its path, with an engine's options.

An edit takes SECONDS; "quit", the end of stdin and SIGTERM end it, as they end the real one.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.tui.story import MODEL, MODULE, RECIPE, norms, row, step
from workbench import events as ev
from workbench.engine import protocol
from workbench.stack_wire import Teller

SECONDS = float(os.environ.get("FAKE_SECONDS", "3"))
STEPS = 20


class Fake:
    """Makes edits that are rows of a list and nothing else."""

    def __init__(self, folder: str) -> None:
        self.folder, self.rows = folder, list[ev.EditRow]()
        self.todo: queue.SimpleQueue[protocol.Command | None] = queue.SimpleQueue()
        self.cancelled = set[str]()
        self._teller = Teller()

    def say(self, event: ev.Event, job: str = "") -> None:
        for part in self._teller.tell(event) if isinstance(event, ev.StackChanged) else (event,):
            sys.stdout.write(ev.to_line(replace(part, job=job, t=time.time())) + "\n")
            sys.stdout.flush()

    def say_stack(self, job: str = "") -> None:
        rows = tuple(self.rows)
        self.say(ev.StackChanged(folder=self.folder, base="b", position=len(rows), edits=rows), job)

    def read(self) -> None:
        for line in sys.stdin:
            command = protocol.from_line(line)
            if command.do == "cancel":
                self.cancelled.add(str(command.args["of"]))
            elif command.do == "quit":
                break
            else:
                self.todo.put(command)
        os._exit(0)

    def run(self) -> None:
        threading.Thread(target=self.read, daemon=True).start()
        self.say(MODEL)
        self.say_stack()
        while (command := self.todo.get()) is not None:
            if command.do == "apply":
                self.apply(command)
            self.say(ev.JobDone(ok=True), command.job)

    def apply(self, command: protocol.Command) -> None:
        job, request = command.job, command.args["request"]
        self.say(ev.EditStarted(request=request, recipe=RECIPE, module=MODULE), job)
        for number in range(1, STEPS + 1):
            time.sleep(SECONDS / STEPS)
            if job in self.cancelled:
                self.say(ev.EditCancelled(position=len(self.rows), step=number), job)
                return
            self.say(step(number, STEPS), job)
        self.say(norms(), job)
        made = row(len(self.rows) + 1, request)
        self.rows.append(made)
        self.say_stack(job)
        digest = "ab" * 32
        self.say(
            ev.EditCommitted(
                edit=made.id, file=made.file, position=made.number, weight_sha256=digest, bytes=5_000, seconds=SECONDS
            ),
            job,
        )


if __name__ == "__main__":
    Fake(sys.argv[sys.argv.index("--stack") + 1]).run()
