"""What the tests of Compare share: a prompt, what the engine says of it, and a person who asks."""

from __future__ import annotations

from dataclasses import replace

from textual.widgets import Input

from tests.tui.small_bench import SmallBench
from tests.tui.story import PROBES
from workbench import events as ev

PROMPT = "Steve Jobs was the founder of"
ANSWERS = [
    ev.Answered(prompt=PROMPT, side="base", top=((" Apple", 0.81), (" Pixar", 0.04))),
    ev.Answered(prompt=PROMPT, side="stack", top=((" Microsoft", 0.95), (" Apple", 0.02))),
]
TEXTS = [
    ev.GenerationChunk(side="base", text=" Apple, and he", prompt=PROMPT, tokens=4, seconds=0.3),
    ev.GenerationChunk(side="base", text=" was first", prompt=PROMPT, tokens=6, seconds=0.4, done=True),
    ev.GenerationChunk(
        side="stack", text=" Microsoft, and he was first", prompt=PROMPT, tokens=6, seconds=1.1, done=True
    ),
]
APART = ev.Compared(prompt=PROMPT, a="base", b="stack", kl=4.12, kl_back=3.5, shared=6, of=10)
BOTH = [replace(one, side=side) for side in ("base", "stack") for one in PROBES]
"""The probes in both states; one of them fails in both."""


def text(app: SmallBench) -> str:
    return "\n".join(app.picture())


async def generated(app: SmallBench, pilot: object) -> None:
    """Types the prompt, presses enter, and the engine answers."""
    app.screen.query_one("#prompt", Input).value = PROMPT
    app.screen.query_one("#prompt", Input).focus()
    await pilot.press("enter")  # type: ignore[attr-defined]
    app.tell(*ANSWERS, APART, *TEXTS, ev.JobDone(job=app.state.job, ok=True))
    await pilot.press("escape")  # type: ignore[attr-defined]


async def probed(app: SmallBench, pilot: object, *results: ev.ProbeResult) -> None:
    """Asks for the probes; `results` are those of the stack."""
    await pilot.press("escape", "R")  # type: ignore[attr-defined]
    app.tell(*[replace(one, side="stack") for one in results], ev.JobDone(job=app.state.job, ok=True))
    await pilot.pause()  # type: ignore[attr-defined]


async def chosen(pilot: object, *keys: str) -> None:
    """Opens the list of states with the first key, types the rest and takes what is under the cursor."""
    await pilot.press(*keys, "enter")  # type: ignore[attr-defined]
    await pilot.pause()  # type: ignore[attr-defined]
