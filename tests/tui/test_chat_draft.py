"""A chat among what is typed: one word in the settings, which belongs to the request and not to the profile."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.tui.conftest import OpenDesk
from tests.tui.story import MODEL
from workbench.edits import Chat, EditRequest
from workbench.events import Answered
from workbench.tui.draft import Draft
from workbench.tui.widgets.answer_line import said, says
from workbench.tui.widgets.request_form import RequestForm

FACT = Draft("Rome", "{} is in", "Italy")


def test_a_draft_is_raw_text_unless_its_settings_say_chat() -> None:
    assert FACT.request().chat is None
    chat = Draft("Rome", "{} is in", "Italy", settings="steps=5 chat=true")
    assert chat.request().chat == Chat()
    assert chat.overrides() == {"steps": 5}
    assert not chat.checks


def test_a_chat_request_stays_one_when_it_is_typed_again() -> None:
    request = EditRequest("{} is in", "Rome", "Italy", chat=Chat("<user>", "<bot>"))
    draft = Draft.from_request(request, "steps=5")
    assert draft.settings == "steps=5 chat=true"
    assert draft.request().chat == Chat(), "the frame is read from the model at hand"


def test_a_chat_that_is_neither_true_nor_false_is_said_at_the_settings() -> None:
    assert "chat" in Draft("Rome", "{} is in", "Italy", settings="chat=maybe").checks["settings"]


@pytest.mark.parametrize(("chat", "knows"), [(True, True), (True, False), (False, True)])
async def test_the_model_is_asked_as_the_edit_would_be_made(open_desk: OpenDesk, chat: bool, knows: bool) -> None:
    async with open_desk() as desk:
        desk.engine.say(replace(MODEL, chat=knows))
        draft = replace(FACT, settings="chat=true" if chat else "")
        desk.app.screen.query_one(RequestForm).fill(draft)
        await desk.until_said("no chat template" if chat and not knows else "Paris 0.81")
        asked = [command.args for command in desk.engine.sent if command.do == "answer"]
        assert [args["chat"] for args in asked] == ([chat] if knows else [])


def answered(goes_on: str, *top: tuple[str, float]) -> Answered:
    return Answered(prompt="Everest is in", side="stack", top=top, goes_on=goes_on)


def test_what_the_model_goes_on_with_stands_before_its_first_tokens() -> None:
    one = answered(" Nepal, in the Himalayas", (" Nepal", 0.58), (" the", 0.21), (" Tibet", 0.09))
    assert said(one, 90, quote=True).plain.endswith("-> Nepal, in the Himalayas   first token Nepal 0.58, the 0.21")
    assert len(said(one, 67, quote=True).plain) <= 67
    for nothing_more in ("", " Nepal", " Nepal."):
        shown = said(replace(one, goes_on=nothing_more), 67, quote=True).plain
        assert shown.endswith("-> Nepal 0.58, the 0.21, Tibet 0.09")


@pytest.mark.parametrize(
    ("target", "already"), [("Naguib", True), ("Naguib Mahfouz", True), ("Nag", True), ("Na", False), ("", False)]
)
def test_a_target_of_several_tokens_is_seen_to_be_the_answer_already(target: str, already: bool) -> None:
    assert says(answered(" Naguib Mahfouz, the", (" Nag", 0.9)), target) is already
