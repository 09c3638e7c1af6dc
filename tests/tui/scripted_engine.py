"""An engine without a model, for tests of the screen. What it says is written here; when, is up to the test."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.tui.story import MODEL, MODULE, RECIPE, norms, row, side_by_side, step
from workbench import events as ev
from workbench.engine.protocol import Command
from workbench.guards import Guard, told
from workbench.tui.client import OnEvent, OnStopped


@dataclass
class ScriptedEngine:
    """Stands for the engine's process; keeps what it was sent.

    `auto`: loads at once and makes each edit in one go. Otherwise the test says each event with `say`.
    """

    folder: Path
    auto: bool = True
    pause_at: int = 0
    """Step at which every edit waits until `go_on` or a cancel; 0: none does."""
    rows: tuple[ev.EditRow, ...] = ()
    position: int = 0
    answer: tuple[tuple[str, float], ...] = ((" Paris", 0.81), (" Lyon", 0.05), (" the", 0.03))
    failures: dict[str, str] = field(default_factory=dict)
    """Why the edit of a subject fails."""
    sizes: dict[str, float] = field(default_factory=dict)
    """|ΔW|/|W| of the edit of a subject; the guard is asked about what is beyond its limit."""
    beside: tuple[tuple[str, str, str], ...] = ()
    """Other stacks: folder, words, problem."""
    sent: list[Command] = field(default_factory=list)
    stopped: bool = False
    _on_event: OnEvent | None = None
    _on_stopped: OnStopped | None = None
    _cancelled: set[str] = field(default_factory=set)
    _paused: set[str] = field(default_factory=set)
    _seq: Iterator[int] = field(default_factory=itertools.count)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self, on_event: OnEvent, on_stopped: OnStopped) -> None:
        self._on_event, self._on_stopped, self.stopped = on_event, on_stopped, False
        if self.auto:
            self.load()

    def load(self) -> None:
        self.say(ev.ModelLoading(stage="reading atlas", fraction=0.4))
        self.say(MODEL)
        self.say_stack()

    def send(self, command: Command) -> None:
        self.sent.append(command)
        if command.do == "cancel":
            self._cancelled.add(str(command.args["of"]))
        elif command.do == "pause":
            self._paused.add(str(command.args["of"]))
        elif command.do == "decide":
            return
        elif self.auto:
            task = asyncio.get_running_loop().create_task(self._do(command))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        self.stopped = True

    def go_on(self) -> None:
        self.pause_at = 0

    def die(self, reason: str) -> None:
        assert self._on_stopped is not None
        self.stopped = True
        self._on_stopped(reason)

    def say(self, event: ev.Event, job: str = "") -> None:
        assert self._on_event is not None
        if not self.stopped:
            line = ev.to_line(replace(event, job=job, seq=next(self._seq), t=1_770_000_000.0))
            parsed = ev.from_line(line)
            assert parsed is not None
            self._on_event(parsed)

    def say_stack(self, job: str = "") -> None:
        rows = tuple(replace(r, state="applied" if r.number <= self.position else "undone") for r in self.rows)
        self.say(
            ev.StackChanged(
                folder=str(self.folder),
                base="15ea56d",
                position=self.position,
                edits=rows,
                drift=0.012 * self.position,
                perplexity_base=17.6,
                bytes=5_000 * len(rows),
            ),
            job,
        )

    def verbs(self) -> list[str]:
        return [command.do for command in self.sent if command.do != "answer"]

    async def _do(self, command: Command) -> None:
        await asyncio.sleep(0)
        match command.do:
            case "apply":
                await self._apply(command)
                return
            case "apply_together":
                await self._apply_together(command)
                return
            case "undo":
                self.position -= int(command.args.get("count", 1))
            case "redo":
                self.position += int(command.args.get("count", 1))
            case "travel":
                self.position = int(command.args["to"])
            case "open":
                self.folder, self.rows, self.position = Path(command.args["stack"]), (), 0
            case "answer":
                self.say(
                    ev.Answered(prompt=command.args["prompt"], side="1", top=self.answer, target_tokens=1), command.job
                )
            case "stacks":
                self.say(ev.StacksBeside(folder=str(self.folder.parent), stacks=self.beside), command.job)
        if command.do not in ("answer", "stacks"):
            self.say_stack(command.job)
        self.say(ev.JobDone(ok=True), command.job)

    async def _apply(self, command: Command) -> None:
        job, request = command.job, command.args["request"]
        self.say(self.started(command), job)
        reason = self.failures.get(request["subject"], "")
        if reason:
            self.say(ev.EditFailed(message=reason, hint="Try another."), job)
            self.say(ev.JobDone(ok=False, message=reason, exit_code=1), job)
            return
        for number in range(1, 21):
            if not await self._reached(job, number):
                self.cancelled(job, number)
                return
            self.say(step(number, stopped="steps" if number == 20 else ""), job)
        await self._held(command, request)
        self.say(ev.JobDone(ok=True), job)

    async def _apply_together(self, command: Command) -> None:
        job, requests, index = command.job, command.args["requests"], int(command.args["index"])
        self.say(self.together(command), job)
        self.say(ev.StageStarted(stage="optimise"), job)
        for number in range(1, 21):
            if not await self._reached(job, number):
                self.say(ev.EditCancelled(position=self.position), job)
                self.say(ev.JobDone(ok=True), job)
                return
            self.say(side_by_side(number, len(requests)), job)
        for place, request in enumerate(requests):
            turn = replace(command, args={**command.args, "request": request, "index": index + place})
            self.say(self.started(turn), job)
            await asyncio.sleep(0)
            if reason := self.failures.get(request["subject"], ""):
                self.say(ev.EditFailed(message=reason, hint="Try another."), job)
            else:
                await self._held(command, request)
            if job in self._paused | self._cancelled:
                break
        self.say(ev.JobDone(ok=True), job)

    async def _reached(self, job: str, number: int) -> bool:
        """Whether step `number` is reached, rather than the job cancelled."""
        while number == self.pause_at and job not in self._cancelled:
            await asyncio.sleep(0.01)
        return job not in self._cancelled

    async def _held(self, command: Command, request: dict[str, Any]) -> None:
        """Asks where the guard must, and commits unless it was stopped meanwhile."""
        job, guard = command.job, Guard.from_json(command.args["guard"])
        tripped = guard.trips({"ratio": self.sizes.get(request["subject"], 0.02)})
        answer = await self._ask(job, tripped) if tripped else "keep"
        if answer in ("", "discard") or job in self._cancelled:
            reason = told(tripped[0]) if answer == "discard" else ""
            self.say(ev.EditCancelled(position=self.position, step=20, reason=reason), job)
        else:
            self.committed(job, request)

    async def _ask(self, job: str, tripped: tuple[ev.GuardTripped, ...]) -> str:
        """The answer; "" if the job was cancelled."""
        for one in tripped:
            self.say(one, job)
        self.say(ev.GuardAsked(measures=tuple(one.measure for one in tripped)), job)
        while job not in self._cancelled:
            for command in self.sent:
                if command.do == "decide" and command.args["of"] == job:
                    return str(command.args["answer"])
            await asyncio.sleep(0.01)
        return ""

    def started(self, command: Command) -> ev.EditStarted:
        index, of = command.args.get("index", 1), command.args.get("of", 1)
        return ev.EditStarted(request=command.args["request"], recipe=RECIPE, module=MODULE, index=index, of=of)

    def together(self, command: Command) -> ev.TogetherStarted:
        requests, index, of = command.args["requests"], command.args["index"], command.args["of"]
        return ev.TogetherStarted(
            request=requests[0], recipe=RECIPE, module=MODULE, requests=len(requests), index=index, of=of
        )

    def cancelled(self, job: str, at: int = 0, reason: str = "") -> None:
        self.say(ev.EditCancelled(position=self.position, step=at, reason=reason), job)
        if reason:
            self.say(ev.JobDone(ok=True), job)
        else:
            self.say(ev.JobDone(ok=False, message="Stopped.", exit_code=130), job)

    def commit(self, job: str, request: dict[str, Any]) -> None:
        self.committed(job, request)
        self.say(ev.JobDone(ok=True), job)

    def committed(self, job: str, request: dict[str, Any]) -> None:
        self.say(norms(0.012 * (self.position + 1)), job)
        target = request["target_new"]
        for kind, passed in (("efficacy", True), ("paraphrase", True), ("paraphrase", True), ("neighbourhood", False)):
            probe = ev.ProbeResult(kind=kind, prompt="x", expected=target, p_expected=0.96, passed=passed)  # type: ignore[arg-type]
            self.say(probe, job)
        self.position += 1
        self.rows = (*self.rows[: self.position - 1], row(self.position, request))
        self.say_stack(job)
        done = ev.EditCommitted(
            edit=self.rows[-1].id,
            file=self.rows[-1].file,
            position=self.position,
            weight_sha256="ab" * 32,
            bytes=5_000,
            seconds=1.2,
        )
        self.say(done, job)
