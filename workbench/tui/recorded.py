"""Engines and recordings: an engine that is recorded, and a recording in the place of an engine."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from itertools import pairwise

from workbench import events as ev
from workbench.engine.protocol import Command
from workbench.recording import Moment, Recorder, Recording, Sent, Stopped
from workbench.tui.client import EngineClient, OnEvent, OnStopped

LONGEST = 2.0
"""Seconds of a recording in which nothing happens, at most; longer waits are left out."""
AT_ONCE = 50
"""Moments shown without a wait before the screen gets its turn."""


class RecordedClient:
    """An engine whose events and commands are written down."""

    def __init__(self, client: EngineClient, recorder: Recorder) -> None:
        self._client, self._recorder = client, recorder
        self._said = ""

    async def start(self, on_event: OnEvent, on_stopped: OnStopped) -> None:
        """See EngineClient."""

        def heed(event: ev.Event) -> None:
            self._recorder.event(event)
            on_event(event)
            if self._recorder.problem != self._said:
                self._said = self._recorder.problem
                on_event(ev.Warning(message=self._said))

        def lost(reason: str) -> None:
            self._recorder.stopped(reason)
            on_stopped(reason)

        await self._client.start(heed, lost)

    def send(self, command: Command) -> None:
        """See EngineClient."""
        self._recorder.sent(command)
        self._client.send(command)

    async def stop(self) -> None:
        """See EngineClient."""
        await self._client.stop()


class Player:
    """A recording in the place of an engine: says what was said, when it was said.

    Args:
        recording: what is played.
        began: takes the verb and job of each command that was sent.
        ended: called once when the last moment is shown.
        speed: how many times faster than it was; 0: without any wait.
    """

    def __init__(
        self, recording: Recording, began: Callable[[str, str], None], ended: Callable[[], None], speed: float = 1.0
    ) -> None:
        self._recording, self._speed = recording, speed
        self._began, self._ended = began, ended
        self._going = asyncio.Event()
        self._going.set()
        self._playing: asyncio.Task[None] | None = None

    @property
    def paused(self) -> bool:
        """Whether it waits for `toggle`."""
        return not self._going.is_set()

    def toggle(self) -> None:
        """Pauses, or goes on."""
        if self.paused:
            self._going.set()
        else:
            self._going.clear()

    async def start(self, on_event: OnEvent, on_stopped: OnStopped) -> None:
        """See EngineClient."""
        self._playing = asyncio.create_task(self._play(on_event, on_stopped))

    def send(self, command: Command) -> None:
        """A recording takes no commands."""

    async def stop(self) -> None:
        """See EngineClient."""
        if self._playing is not None:
            self._playing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._playing

    async def _play(self, on_event: OnEvent, on_stopped: OnStopped) -> None:
        for number, (wait, moment) in enumerate(self._waits()):
            if wait or number % AT_ONCE == 0:
                await asyncio.sleep(wait)
            await self._going.wait()
            match moment.what:
                case Sent(verb, job):
                    self._began(verb, job)
                case Stopped(reason):
                    on_stopped(reason)
                case event:
                    on_event(event)
        self._ended()

    def _waits(self) -> list[tuple[float, Moment]]:
        """Each moment with the seconds to wait before it."""
        moments = self._recording.moments
        times = [0.0, *(moment.at for moment in moments)]
        waits = [
            min(after - before, LONGEST) / self._speed if self._speed else 0.0 for before, after in pairwise(times)
        ]
        return list(zip(waits, moments, strict=True))
