"""The Edit screen: writing edits, lining them up, and seeing what the model says now."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from textual import events
from textual.widgets import Input, TextArea

from tests.tui.conftest import Desk, OpenDesk
from tests.tui.story import MODEL, row, rows
from workbench.tui.screens.form import FormScreen
from workbench.tui.widgets.advanced_line import AdvancedLine
from workbench.tui.widgets.answer_line import AnswerLine
from workbench.tui.widgets.queue_table import QueueTable


async def test_an_edit_is_typed_checked_and_queued(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        await desk.pilot.press(*"Eiffel", "space", *"Tower", "tab")
        await desk.type("The Eiffel Tower is in the city of", "Rome")
        await desk.until_said("1 token, ok")
        assert "found in prompt" in desk.text()
        assert '"…' in desk.text() or '"The Eiffel Tower is in' in desk.text()
        assert "Paris 0.81, Lyon 0.05, the 0.03" in desk.text()
        await desk.pilot.press("enter")
        await desk.until_said("· queued")
        (item,) = desk.app.queue
        assert item.draft.request().prompt == "The {} is in the city of"
        assert "The {} is in the city" in desk.text()
        assert desk.app.screen.query_one("#subject", Input).value == ""


@pytest.mark.parametrize(
    ("fields", "reason", "focused"),
    [
        (("Rome", "Berlin is in", "x"), "✗ no {} for the subject", "prompt"),
        (("Rome", "{} and {}", "x"), "✗ 2 slots, needs one", "prompt"),
        (("", "{} is in", "x"), "✗ empty", "subject"),
        (("Rome", "{} is in", ""), "✗ empty", "target_new"),
    ],
)
async def test_what_is_wrong_is_said_and_enter_goes_there(
    open_desk: OpenDesk, fields: tuple[str, ...], reason: str, focused: str
) -> None:
    async with open_desk() as desk:
        await desk.type(*fields)
        await desk.pilot.press("enter")
        await desk.until_said(reason)
        assert desk.app.focused is not None
        assert desk.app.focused.id == focused
        assert len(desk.app.queue) == 0


async def test_a_draft_that_is_not_ready_can_be_kept_with_its_reason(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        await desk.type("Danielle", "The mother tongue is", "English")
        await desk.pilot.press("ctrl+s")
        await desk.until_said("✗ invalid")
        assert "└ prompt: no {} for the subject; e edits, d removes" in desk.text()


async def test_the_model_is_asked_only_when_typing_pauses_and_again_when_the_weights_changed(
    open_desk: OpenDesk,
) -> None:
    async with open_desk() as desk:
        await desk.type("Rome", "{} is in", "Italy")
        await desk.until_said("Paris 0.81")
        asked = [command.args for command in desk.engine.sent if command.do == "answer"]
        wanted = {"prompt": "Rome is in", "states": ["stack"], "k": 5, "chat": False, "go_on": 6, "target": "Italy"}
        assert asked[-1] == wanted
        assert len(asked) <= 2, "one of them while the machine was slow to paste"
        desk.engine.rows, desk.engine.position = (row(1, {"prompt": "{} a", "subject": "b", "target_new": "c"}),), 1
        desk.engine.answer = ((" Spain", 0.5),)
        desk.engine.say_stack()
        await desk.until_said("Spain 0.50")


async def test_the_model_is_not_asked_while_an_edit_runs(open_desk: OpenDesk) -> None:
    async with open_desk(pause_at=5) as desk:
        await desk.add("Rome", "{} is in", "Spain")
        await desk.pilot.press("ctrl+r")
        await desk.until_said("RUNNING")
        await desk.type("Berlin", "{} is in", "Peru")
        await desk.pilot.pause(0.5)
        assert [c.args["prompt"] for c in desk.engine.sent if c.do == "answer"] in ([], ["Rome is in"])
        assert "asked when the engine is free" in desk.text()
        assert "RUNNING" in desk.text()


async def test_queue_keys_move_hold_edit_and_remove(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        for name in ("One", "Two", "Three"):
            await desk.add(name, "{} is", "x")
        await desk.pilot.press("escape")
        assert isinstance(desk.app.focused, QueueTable)
        await desk.pilot.press("K", "K")
        assert desk.subjects() == ["Three", "One", "Two"]
        await desk.pilot.press("shift+down")
        assert desk.subjects() == ["One", "Three", "Two"]
        await desk.pilot.press("space")
        await desk.until_said("‖ held")
        await desk.pilot.press("space", "d")
        assert desk.subjects() == ["One", "Two"]
        assert all(not item.held for item in desk.app.queue)


async def test_the_whole_form_edits_an_item_with_its_probes_and_settings(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        await desk.add("One", "{} is", "x")
        await desk.pilot.press("escape", "e")
        await desk.until(lambda: isinstance(desk.app.screen, FormScreen))
        form = desk.app.screen
        form.query_one(AdvancedLine).settings = "steps=7"
        form.query_one("#paraphrases", TextArea).text = "{} was\nit is {}"
        form.query_one("#neighbours", TextArea).text = "Two is => y"
        await desk.pilot.press("ctrl+s")
        await desk.until(lambda: not isinstance(desk.app.screen, FormScreen))
        (item,) = desk.app.queue
        request = item.draft.request()
        assert request.paraphrases == ("One was", "it is One")
        assert (request.neighbours[0].prompt, request.neighbours[0].expected) == ("Two is", "y")
        assert item.draft.overrides() == {"steps": 7}


async def test_leaving_the_whole_form_asks_only_if_something_was_changed(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        await desk.add("One", "{} is", "x")
        await desk.pilot.press("escape", "e")
        await desk.until(lambda: isinstance(desk.app.screen, FormScreen))
        await desk.pilot.press("escape")
        await desk.until(lambda: not isinstance(desk.app.screen, FormScreen))
        await desk.pilot.press("e")
        await desk.until(lambda: isinstance(desk.app.screen, FormScreen))
        await desk.pilot.press("Z", "escape")
        await desk.until_said("Discard what you changed?")
        await desk.pilot.press("n")
        await desk.until(lambda: isinstance(desk.app.screen, FormScreen))
        await desk.pilot.press("escape", "y")
        await desk.until(lambda: not isinstance(desk.app.screen, FormScreen))
        assert desk.subjects() == ["One"]


async def test_apply_now_goes_before_the_others_and_runs(open_desk: OpenDesk) -> None:
    async with open_desk(pause_at=5) as desk:
        await desk.add("One", "{} is", "x")
        await desk.add("Two", "{} is", "y")
        await desk.pilot.press("escape", "e")
        await desk.until(lambda: isinstance(desk.app.screen, FormScreen))
        await desk.pilot.press("ctrl+r")
        await desk.until_said("Live  Two -> y")
        assert desk.subjects() == ["Two", "One"]


async def test_a_file_is_imported_and_a_bad_one_says_why(
    open_desk: OpenDesk, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("f")
    rows = [{"prompt": "{} is in", "subject": name, "target_new": "Peru"} for name in ("Berlin", "Lima")]
    (folder / "good.json").write_text(json.dumps(rows))
    (folder / "bad.json").write_text("{")
    async with open_desk() as desk:
        await desk.pilot.press("escape", "i")
        await desk.type(str(folder / "bad.json"))
        await desk.pilot.press("enter")
        await desk.until_said("✗")
        assert len(desk.app.queue) == 0
        desk.app.screen.query_one("#path", Input).value = str(folder / "good.json")
        await desk.pilot.press("enter")
        await desk.until(lambda: len(desk.app.queue) == 2)
        assert desk.subjects() == ["Berlin", "Lima"]


async def test_hostile_text_is_shown_and_never_obeyed(open_desk: OpenDesk) -> None:
    hostile = "[red]\x1b[2J\u202eevil[/red]"
    async with open_desk(answer=((hostile, 0.9), ("[/]", 0.1))) as desk:
        await desk.add("[bold]Rome", "{} is [/b] in", "[link=x]Peru")
        await desk.type("Rome", "{} is", "x")
        await desk.until_said("[red]␛[2J⟨U+202E⟩evil[/red]")
        assert "[bold]Rome" in desk.text()
        desk.engine.failures["[bold]Rome"] = f"no {hostile}"
        await desk.pilot.press("ctrl+r")
        await desk.until_said("✗ failed")
        assert "\x1b" not in desk.text()
        assert "\u202e" not in desk.text()


async def test_copy_gives_the_request_as_json(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        await desk.add("One", "One is", "x")
        await desk.pilot.press("escape", "c")
        assert json.loads(desk.app.clipboard)["prompt"] == "{} is"


async def test_wide_shows_the_stack_and_its_keys_move_along_it(open_desk: OpenDesk) -> None:
    async with open_desk((140, 40), rows=rows(3), position=2) as desk:
        assert "Stack (newest first)" in desk.text()
        desk.app.screen.query_one("#stack").focus()
        await desk.pilot.press("u")
        await desk.until(lambda: desk.engine.position == 1)
        await desk.pilot.press("r")
        await desk.until(lambda: desk.engine.position == 2)
        await desk.pilot.press("home", "T")
        await desk.until(lambda: desk.engine.position == 3)
        await desk.pilot.press("end", "T")
        await desk.until(lambda: desk.engine.position == 0)
        sent = [(c.do, c.args) for c in desk.engine.sent if c.do != "answer"]
        assert sent == [("undo", {"count": 1}), ("redo", {"count": 1}), ("travel", {"to": 3}), ("travel", {"to": 0})]


async def test_an_answer_to_an_older_question_is_not_shown(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        await desk.type("Rome", "{} is in", "Peru")
        await desk.until_said("Paris 0.81")
        desk.app.screen.query_one("#prompt", Input).value = "{} was in"
        await desk.pilot.pause()
        assert desk.app.screen.query_one(AnswerLine).answer is None
        assert "Paris 0.81" not in desk.text()


async def test_the_answer_is_still_there_when_the_whole_form_has_asked_the_same(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        await desk.type("Rome", "{} is in", "Peru")
        await desk.until_said("Paris 0.81")
        await desk.pilot.press("tab", "enter")
        await desk.until(lambda: isinstance(desk.app.screen, FormScreen) and "Paris 0.81" in desk.text())
        await desk.pilot.press("escape")
        await desk.until(lambda: not isinstance(desk.app.screen, FormScreen) and "Paris 0.81" in desk.text())


async def test_the_model_is_asked_again_when_it_was_loaded_anew_or_an_older_edit_left_out(open_desk: OpenDesk) -> None:
    async with open_desk(rows=rows(3), position=3) as desk:

        def asked() -> int:
            return sum(command.do == "answer" for command in desk.engine.sent)

        await desk.type("Rome", "{} is in", "Peru")
        await desk.until(lambda: asked() == 1)
        desk.engine.say(replace(MODEL))
        await desk.until(lambda: asked() == 2)
        stack = desk.app.session.state.stack
        assert stack
        desk.engine.say(replace(stack, drift=0.5))
        await desk.until(lambda: asked() == 3)


async def test_what_is_typed_ahead_goes_to_the_fields_it_was_meant_for(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        ahead(desk, *"Rome", "tab", *"Rome is", "tab", *"Peru", "enter", *"Lix", "backspace", *"ma", "tab", *"Lima is")
        await desk.until(lambda: value(desk, "prompt") == "Lima is")
        assert value(desk, "subject") == "Lima"
        assert value(desk, "target_new") == ""
        (item,) = desk.app.queue
        assert (item.draft.subject, item.draft.prompt, item.draft.target_new) == ("Rome", "Rome is", "Peru")


async def test_keys_typed_ahead_of_leaving_the_form_are_keys_of_the_queue(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        ahead(desk, *"One", "tab", *"{} is", "tab", "x", "enter", *"Two", "ctrl+s", "escape", "space")
        await desk.until(lambda: len(desk.app.queue) == 2 and desk.app.queue.items[1].held)
        assert desk.subjects() == ["One", "Two"]
        assert value(desk, "subject") == ""


async def test_what_is_typed_ahead_in_the_whole_form_is_in_what_it_gives_back(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        await desk.add("One", "{} is", "x")
        await desk.pilot.press("escape", "e")
        await desk.until(lambda: isinstance(desk.app.screen, FormScreen))
        ahead(desk, "end", *"2", "enter", "end", *" in", "ctrl+s")
        await desk.until(lambda: not isinstance(desk.app.screen, FormScreen))
        (item,) = desk.app.queue
        assert (item.draft.subject, item.draft.prompt) == ("One2", "{} is in")


def ahead(desk: Desk, *keys: str) -> None:
    """All keys at once, faster than the screen can follow."""
    for key in keys:
        desk.app.post_message(events.Key("space" if key == " " else key, key if len(key) == 1 else None))


def value(desk: Desk, field: str) -> str:
    return desk.app.screen.query_one(f"#{field}", Input).value


async def test_a_draft_that_is_ready_is_made_at_once_before_the_others(open_desk: OpenDesk) -> None:
    async with open_desk(pause_at=5) as desk:
        await desk.add("Rome", "{} is in", "Peru")
        await desk.type("Oslo", "{} is in", "Chile")
        await desk.until_said("^r Apply now")
        await desk.pilot.press("ctrl+r")
        await desk.until_said("4/20")
        assert desk.subjects() == ["Oslo", "Rome"]
        assert desk.app.screen.query_one("#subject", Input).value == ""


async def test_a_draft_that_is_not_ready_stays_where_it_is_when_the_queue_runs(open_desk: OpenDesk) -> None:
    async with open_desk(pause_at=5) as desk:
        await desk.add("Rome", "{} is in", "Peru")
        await desk.type("Oslo", "is in", "")
        assert "Apply now" not in desk.text()
        await desk.pilot.press("ctrl+r")
        await desk.until_said("4/20")
        assert desk.subjects() == ["Rome"]
        assert desk.app.screen.query_one("#subject", Input).value == "Oslo"


async def test_all_of_the_reason_is_read_under_the_cursor(open_desk: OpenDesk) -> None:
    reason = "There is no second moment C for model.layers.1.mlp.down_proj. Make it: workbench stats MODEL --layer 1."
    async with open_desk() as desk:
        for name in ("One", "Two"):
            await desk.add(name, "{} is", "x")
        for item in desk.app.queue.items:
            desk.app.queue.fail(item.key, reason=reason)
        desk.app.queue_changed()
        await desk.pilot.press("escape", "home")
        await desk.until_said("space retries, d removes")
        text = desk.text()
        assert "--layer 1" in text, "no part is cut"
        assert text.count("There is no second moment") == 2
        assert text.count("d removes") == 1, "of the others a line"
