"""Every hyper-parameter of one edit on the screen, and the chat tick."""

from __future__ import annotations

from dataclasses import replace

import pytest
from textual.widgets import Input

from tests.tui.conftest import Desk, OpenDesk
from tests.tui.story import MODEL
from workbench.errors import UsageError
from workbench.recipes import Recipe
from workbench.tui.draft import Draft
from workbench.tui.screens.advanced import AdvancedScreen
from workbench.tui.screens.form import FormScreen
from workbench.tui.widgets.check_line import CheckLine
from workbench.tui.widgets.hyper_rows import NO_PROFILE, Choices, HyperRows, summary_of
from workbench.tui.widgets.request_form import More


def test_only_what_differs_from_the_profile_is_a_change() -> None:
    choices = Choices(Recipe(layer=2), {})
    choices.put("steps", 25)
    choices.put("lr", 0.1)
    assert choices.text == "steps=25 lr=0.1"
    choices.put("steps", 20)
    assert choices.text == "lr=0.1"
    choices.reset("lr")
    assert choices.text == ""


def test_what_cannot_be_changes_nothing() -> None:
    choices = Choices(Recipe(), {"steps": 7})
    for name, value in (("steps", 0), ("steps", "many"), ("method", "imported-x"), ("lr", None)):
        with pytest.raises(UsageError):
            choices.put(name, value)
    assert choices.text == "steps=7"
    assert choices.recipe.steps == 7


def test_a_method_brings_its_own_settings_and_takes_them_along() -> None:
    choices = Choices(Recipe(), {})
    choices.put("method", "emmet")
    assert {"mu", "moment_weight"} <= {hyper.name for hyper in choices.hypers}
    assert choices.value("clamp_factor") == choices.default("clamp_factor") == 0.75
    choices.put("mu", 0.5)
    choices.put("method", "c-rome")
    assert choices.text == "method=c-rome"
    assert choices.value("clamp_factor") == 4.0
    assert Draft(settings=choices.text).overrides() == {"method": "c-rome"}


def test_settings_of_a_model_that_is_not_loaded_are_not_made_up() -> None:
    assert summary_of(None, "") == NO_PROFILE
    assert summary_of(None, "steps=7") == "steps=7"
    assert summary_of(None, "steps=0").startswith("✗ steps = 0 is out of range.")
    assert "steps 7*" in summary_of(Recipe(), "steps=7")


async def test_every_setting_is_listed_changed_marked_and_reset(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        await to_advanced(desk)
        for words in ("method", "template_lengths", "Default", "It takes r-rome rome", "None changed", "e Change"):
            assert words in desk.text()
        await desk.pilot.press("down", "down", "enter")
        field = desk.app.screen.query_one("#hyper-value", Input)
        assert desk.app.focused is field
        assert field.value == "20"
        field.value = "2000"
        await desk.pilot.press("enter")
        await desk.until_said("✗ steps = 2000 is out of range. It lies between 1 and 1000.")
        field.value = "25"
        await desk.pilot.press("enter")
        await desk.until_said("* steps")
        assert "1 changed" in desk.text()
        await desk.pilot.press("home", "space")
        await desk.until_said("* method")
        await desk.pilot.press("d")
        await desk.until(lambda: "* method" not in desk.text())
        await desk.pilot.press("escape")
        await desk.until_said("▸ Advanced  r-rome  layer 1  steps 25*")
        await desk.pilot.press("ctrl+s")
        await desk.until(lambda: not isinstance(desk.app.screen, FormScreen))
        assert desk.app.queue.items[0].draft.overrides() == {"steps": 25}
        await desk.pilot.press("escape", "e")
        await desk.until(lambda: isinstance(desk.app.screen, FormScreen))
        desk.app.screen.query_one("#settings").focus()
        await desk.pilot.press("enter")
        await desk.until_said("* steps")
        await desk.pilot.press("D", "escape")
        await desk.until_said("steps 20 ")


async def test_a_click_chooses_and_a_second_one_changes(open_desk: OpenDesk) -> None:
    async with open_desk((140, 40)) as desk:
        await to_advanced(desk)
        await desk.pilot.click(HyperRows, offset=(8, 4))
        assert desk.app.screen.query_one(HyperRows).cursor == 2
        await desk.pilot.click(HyperRows, offset=(8, 4))
        await desk.until(lambda: isinstance(desk.app.focused, Input))
        assert "1 to 1000" in desk.text()


async def test_settings_that_cannot_be_are_said_and_can_be_taken_back(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        desk.app.queue.add(Draft("One", "{} is", "x", settings="steps=[red]"))
        desk.app.queue_changed()
        await desk.pilot.press("escape", "e")
        await desk.until_said("✗ The setting 'steps' cannot be '[red]'.")
        desk.app.screen.query_one("#settings").focus()
        await desk.pilot.press("enter", "escape", "ctrl+s")
        await desk.until(lambda: not isinstance(desk.app.screen, FormScreen))
        assert desk.app.queue.items[0].problem == ""


async def test_chat_can_be_ticked_only_where_the_model_has_a_template(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        await to_form(desk)
        assert "chat:" not in desk.text()
        desk.engine.say(replace(MODEL, chat=True))
        await desk.until_said("[ ] chat: the prompt is a user's turn")
        desk.app.screen.query_one(CheckLine).focus()
        await desk.pilot.press("space")
        await desk.until_said("[x] chat:")
        await desk.pilot.press("ctrl+s")
        await desk.until(lambda: not isinstance(desk.app.screen, FormScreen))
        assert desk.app.queue.items[0].draft.request().chat is not None


async def to_form(desk: Desk) -> None:
    await desk.type("One", "{} is", "x")
    desk.app.screen.query_one(More).focus()
    await desk.pilot.press("enter")
    await desk.until(lambda: isinstance(desk.app.screen, FormScreen))


async def to_advanced(desk: Desk) -> None:
    await to_form(desk)
    desk.app.screen.query_one("#settings").focus()
    await desk.pilot.press("enter")
    await desk.until(lambda: isinstance(desk.app.screen, AdvancedScreen))
