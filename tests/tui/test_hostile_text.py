"""Text from anywhere, in every part of Edit, Log, head, banner, toasts, help and palette: shown, never obeyed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len

from tests.tui.conftest import Desk, OpenDesk
from tests.tui.story import MODEL
from workbench import events as ev
from workbench.recipes import Recipe
from workbench.tui.draft import Draft
from workbench.tui.screens.advanced import AdvancedScreen
from workbench.tui.screens.form import FormScreen
from workbench.tui.widgets.hyper_rows import Choices

HOSTILE = {
    "markup": "[/INST] [red]x[/red] [@click=app.quit]q[/] {} \\[",
    "escapes": "\x1b[31mred\x1b]52;c;aGk=\x07\x9b2J\x00\x08",
    "cjk": "北京是中国的首都" * 3,
    "rtl": "\u202eمرحبا بالعالم\u2069 שלום",
    "combining": "e\u0301\u0327a\u030a" + "\u0301" * 60,
    "emoji": "👩‍👩‍👧‍👦🏳️‍🌈 🇫🇷 ✈️",
    "long": "long " * 800,
    "one word": "x" * 4000,
    "surrogate": "half \ud83d pair \udc00",
    "lines": "a\nb\r\nc\tд\u2028e",
    "tags": "\U000e0041\U000e0042\ufeff\u200b",
}
OBEYED = "\x1b\x9b\x07\x08\x00\u202e\u2069\u2028\ud83d\udc00\ufeff\u200b\U000e0041"


@pytest.mark.parametrize("size", [(80, 24), (140, 40)])
async def test_nothing_that_is_said_or_queued_breaks_a_place(open_desk: OpenDesk, size: tuple[int, int]) -> None:
    async with open_desk(size, auto=False) as desk:
        desk.engine.load()
        drafts = (Draft(t, "{} is", t, t, t, t, f"steps={t[:50]}") for t in HOSTILE.values())
        desk.app.queue.add(*drafts)
        for text in HOSTILE.values():
            for event in said(text, str(desk.engine.folder)):
                desk.engine.say(event)
            desk.app._say(text, "error")
            desk.app.queue_changed()
            await desk.pilot.pause()
            fits(desk)
        for key in ("f8", "f1", "f2", "f1"):
            await desk.pilot.press(key)
            fits(desk)
        desk.engine.die(HOSTILE["markup"] + HOSTILE["escapes"])
        await desk.until_said("✗ STOPPED")
        fits(desk)


async def test_a_form_of_hostile_text_shows_it_and_keeps_it(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        for text in HOSTILE.values():
            draft = Draft(text, "{} is", text, text, text, text, "steps=[b]")
            desk.app.push_screen(FormScreen("Edit", draft))
            await desk.until(lambda: isinstance(desk.app.screen, FormScreen))
            fits(desk)
            form = desk.app.screen
            assert isinstance(form, FormScreen)
            assert form.draft.subject == text.split("\n")[0] or form.draft.subject == text
            desk.app.pop_screen()
        desk.app.push_screen(AdvancedScreen(Choices(Recipe(), {})))
        await desk.pilot.pause()
        fits(desk)


def said(text: str, folder: str) -> list[ev.Event]:
    return [
        replace(MODEL, model=f"{text}/{text}", device=text[:20]),
        ev.Warning(message=text, hint=text),
        ev.Log(message=text),
        ev.EditFailed(message=text, hint=text),
        ev.JobDone(ok=False, message=text, exit_code=1),
        ev.StackChanged(folder=folder, base=text, position=0, edits=(), drift=0.0, bytes=0),
    ]


async def test_a_hostile_file_is_seen_before_it_is_taken(
    open_desk: OpenDesk, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder: Path = tmp_path_factory.mktemp("[red]x")
    texts = [text for name, text in HOSTILE.items() if name != "surrogate"]
    rows = [{"prompt": "{} is in", "subject": text[:3000], "target_new": text[:3000]} for text in texts]
    (folder / "\x1b[2J[b].json").write_text(json.dumps(rows))
    async with open_desk() as desk:
        await desk.pilot.press("escape", "i")
        await desk.type(f"{folder}/")
        await desk.until_said("␛[2J[b].json")
        await desk.pilot.press("tab")
        await desk.until_said(f"✓ {len(rows)} edits")
        fits(desk)
        await desk.pilot.press("enter")
        await desk.until(lambda: len(desk.app.queue) == len(rows))
        fits(desk)
        await desk.pilot.press("end")
        fits(desk)


def fits(desk: Desk) -> None:
    """Every line is as wide as the terminal, and nothing in it would be obeyed."""
    width = desk.app.size.width
    text = desk.text()
    assert {c for c in OBEYED if c in text} == set()
    wrong = [(cell_len(line), line) for line in desk.lines() if cell_len(line) != width]
    assert wrong == []
