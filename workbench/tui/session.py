"""What goes on behind the screen: one engine, one queue, and the state that their events make. Knows no widgets."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

from workbench import events as ev
from workbench.engine.protocol import NO_JOBS, Command, Verb
from workbench.errors import WorkbenchError
from workbench.guards import Decision
from workbench.tui.client import EngineClient
from workbench.tui.guarding import Guarding
from workbench.tui.home import HERE, Home
from workbench.tui.keynames import key_name
from workbench.tui.queue import Queue, QueueItem
from workbench.tui.queue_place import QueuePlace
from workbench.tui.runner import Runner, applied_edits
from workbench.tui.state import State, fold, played, started, stopped

Severity = Literal["information", "warning", "error"]
Say = Callable[[str, Severity], None]

NEAR = 8
"""Events among which what was said just now is found."""
SOON = {
    "starting": "The queue runs as soon as the model is loaded.",
    "busy": "The queue runs as soon as the engine is free.",
}
"""What is said of a run that cannot begin yet, by the engine's state."""
QUIET: tuple[Verb, ...] = ("answer", "note", "refresh", "stacks")
"""Verbs that end at once: the engine does not count as busy meanwhile."""


class Session:
    """Everything that happens comes through `heed`, on the event loop, in the order in which the engine said it.

    Args:
        folder: the stack's.
        make_client: gives an engine, not yet started, on a stack's folder.
        say: shows a sentence to the person.
        home: where the stack lies.
    """

    def __init__(self, folder: Path, make_client: Callable[[Path], EngineClient], say: Say, home: Home = HERE) -> None:
        self.state = State(where=home.where)
        self._home = home
        self.changed = True
        """Something is to be drawn; the screen puts it to False."""
        self.folder = folder
        self.queue = Queue()
        self.runner = Runner(self.queue, self._send_apply)
        self.guarding = Guarding()
        self._make_client, self._say = make_client, say
        self._client: EngineClient | None = None
        self._load_failure = ""
        self._quiet: set[str] = set()
        self._unsettled = True
        self._place: QueuePlace | None = None
        self._leaving: set[asyncio.Task[None]] = set()

    def open_queue(self) -> None:
        """Takes the queue of the stack's folder. What was queued while another screen kept it is added to it."""
        old = self._place
        waiting: tuple[QueueItem, ...] = ()
        if old is not None:
            waiting = () if old.kept or old.folder != self._home.queue_folder(self.folder) else self.queue.items
            leaving = asyncio.get_running_loop().create_task(old.close())
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)
        folder = self._home.queue_folder(self.folder)
        place = self._place = QueuePlace(folder, self.tell) if folder else None
        if place is not None and place.found:
            self._say(place.found, "warning")
        self.queue = place.queue if place is not None else Queue()
        self.queue.add(*(item.draft for item in waiting))
        self.runner = Runner(self.queue, self._send_apply)
        self.changed = True

    async def start(self) -> None:
        """Starts an engine."""
        client = self._client = self._make_client(self.folder)
        self._load_failure, self._unsettled = "", True
        await client.start(
            lambda event: self.heed(event) if client is self._client else None,
            lambda reason: self._lost(reason) if client is self._client else None,
        )

    async def restart(self) -> None:
        """Ends the engine, if it runs, and starts another one on the same stack."""
        old, self._client = self._client, None
        self.runner.lost()
        kept = {name: getattr(self.state, name) for name in ("where", "log", "stack")}
        self.state = replace(State(), **kept, run=stopped(self.state, "").run)
        self.changed = True
        if old is not None:
            await old.stop()
        if self._place is not None and not self._place.kept:
            self.open_queue()
        await self.start()

    async def stop(self) -> None:
        """Ends the engine and waits until the queue is on disk."""
        old, self._client = self._client, None
        if old is not None:
            await old.stop()
        await asyncio.gather(*self._leaving)
        if self._place is not None:
            await self._place.close()

    def send(self, verb: Verb, **args: Any) -> str:
        """Asks the engine; the job's id, or "" with the reason said if the engine cannot take it now."""
        if verb not in get_args(Verb):
            raise ValueError(f"no such verb: {verb}")
        if self._client is None or self.state.engine != "idle":
            if verb not in QUIET:
                self._say(unavailable(self.state), "warning")
            return ""
        job = secrets.token_hex(3)
        if verb in QUIET:
            self._quiet.add(job)
        else:
            self.state = started(self.state, job, verb)
            self.changed = True
        self._client.send(Command(verb, job, args))
        return job

    def cancel(self) -> None:
        """Stops the job in progress at its next step; a run of the queue ends with it."""
        self.runner.disarm()
        self.changed = True
        if self._client is not None and self.state.job:
            self._client.send(Command("cancel", secrets.token_hex(3), {"of": self.state.job}))

    def decide(self, answer: Decision) -> None:
        """Answers the guard's question, if one is open; a run goes on only after "continue"."""
        run = self.state.run
        if self._client is None or run is None or self.guarding.question(self.state) is None:
            return
        if answer != "continue":
            self.pause()
        self.guarding.answer(run, answer)
        self.changed = True
        self._client.send(Command("decide", secrets.token_hex(3), {"of": run.started.job, "answer": answer}))

    def run(self, batch: dict[str, Any] | None = None, *, together: bool = False) -> None:
        """The queue's edits are made, from now on or as soon as the engine is free.

        Args:
            batch: one edit of all: its settings, with a batched method.
            together: updates are made on one state, for as many edits as can be, and then applied in order.
        """
        if self.state.engine == "stopped" or self.state.where == "recorded":
            self._say(unavailable(self.state), "warning")
            return
        if not self.runner.in_flight:
            self.guarding.begin()
        if batch is None:
            self.runner.arm(together=together)
        else:
            self.runner.arm_batch(batch)
        if self.queue.ready() and not self.runner.in_flight and self.state.engine in SOON:
            self._say(SOON[self.state.engine], "information")
        self.pump()

    def pause(self) -> None:
        """The run ends after the edit in flight."""
        self.runner.disarm()
        self.changed = True
        if self._client is not None and self.runner.several:
            self._client.send(Command("pause", secrets.token_hex(3), {"of": self.runner.in_flight}))

    def pump(self) -> None:
        """Starts the next edit if it can be started now: never before the stack has told what is made already."""
        self.changed = True
        if self._unsettled:
            return
        said = self.runner.pump(self.state)
        if said:
            self._say(said, "warning" if self.runner.failed else "information")

    def tell(self, error: WorkbenchError) -> None:
        """Shows what went wrong and what to do."""
        self._say(f"{error.message} {error.hint}".strip(), "error")

    def warn(self, *sentences: str) -> None:
        """Each is a warning of its own in the log; they are said at once."""
        for sentence in sentences:
            self.state = fold(self.state, ev.Warning(message=sentence, t=time.time()))
        if sentences:
            self._say(" ".join(sentences), "warning")
        self.changed = True

    def note(self, message: str) -> None:
        """Puts `message` into the log, if what it says is not there already."""
        recent = (getattr(event, "message", "") for event in self.state.log[-NEAR:])
        if not any(words and words in message for words in recent):
            self.state = fold(self.state, ev.Log(message=message, t=time.time()))
            self.changed = True

    def heed(self, event: ev.Event) -> None:
        """Takes in what the engine says."""
        self.state = fold(self.state, event)
        if self.state.where == "recorded":
            self.state = played(self.state)
        self.changed = True
        self.runner.heed(event)
        match event:
            case ev.StackChanged():
                self._settle(event)
            case ev.JobDone() if not event.ok:
                self._explain(event)
            case ev.Warning() if self.state.doing not in ("apply", "apply_together"):
                self._say(f"{event.message} {event.hint}".strip(), "warning")
        self.pump()

    def _settle(self, event: ev.StackChanged) -> None:
        folder = Path(event.folder)
        asked = self._home.where == "here" or self._unsettled or self.state.doing == "open"
        if event.folder and asked and not self._home.same(folder, self.folder) and not self.runner.in_flight:
            self.folder = folder
            self.open_queue()
            self._unsettled = True
        if self._unsettled:
            self._unsettled = False
            found = self.queue.settle(applied_edits(self.state))
            if found:
                self._say(found, "information")

    def _explain(self, event: ev.JobDone) -> None:
        message = f"{event.message} {event.hint}".strip()
        if self.state.engine == "starting":
            self._load_failure = message
        elif event.job in self._quiet:
            self._quiet.discard(event.job)
        elif event.exit_code == 130:
            self._say("Stopped. Every weight is as before.", "information")
        elif message:
            self._say(message, "error")

    def began(self, verb: str, job: str) -> None:
        """In a recording: a command was sent."""
        if verb not in NO_JOBS:
            self.state = started(self.state, job, verb)
            self.changed = True

    def _lost(self, reason: str) -> None:
        said = self._load_failure or reason
        ended = ev.Warning(message=f"The engine stopped: {said}", hint=f"{key_name('run')} restarts it.", t=time.time())
        self.state = stopped(fold(self.state, ended), said)
        self.runner.lost()
        self.changed = True

    def _send_apply(self, verb: Verb, args: dict[str, Any]) -> str:
        return self.send(verb, guard=self.guarding.guard.to_json(), **args)


def unavailable(state: State) -> str:
    """Why the engine takes nothing now, in a sentence."""
    if state.where == "recorded":
        return "This is a recording: nothing can be changed."
    if state.engine == "starting":
        return "The model is still loading."
    if state.engine == "stopped":
        return f"The engine has stopped; {key_name('run')} restarts it."
    if state.run and state.run.running and state.run.asked:
        return f"The guard waits for an answer; {key_name('run')} asks again."
    if state.run and state.run.running and state.run.joint:
        return f"The engine is busy: it makes {state.run.started.requests} edits together."
    if state.run and state.run.running:
        return f"The engine is busy: edit {state.run.started.index} of {state.run.started.of}."
    return "The engine is busy."
