"""A chat among what is typed: one word in the settings, which belongs to the request and not to the profile."""

from __future__ import annotations

from workbench.edits import Chat, EditRequest
from workbench.tui.draft import Draft

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
