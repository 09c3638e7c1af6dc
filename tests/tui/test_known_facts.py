"""What is typed is completed from the list of what the model was taught, where there is one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from textual.widgets import Input

from tests.tui.conftest import Desk, OpenDesk
from tests.tui.story import MODEL
from workbench.tui.known_facts import ListSuggester, facts_of
from workbench.tui.widgets.request_form import RequestForm


def test_atlas_knows_its_subjects_how_they_are_spoken_of_and_the_answers() -> None:
    facts = facts_of("atlas")
    assert len(facts.subjects) > 1000
    subject = "South Australia"
    assert "The capital of {} is" in facts.prompts(subject)
    assert facts.answer(subject, "The capital of {} is") == "Adelaide"
    assert "Adelaide" in facts.targets("The capital of {} is")
    assert facts.answer(subject, "no such prompt {}") == ""
    assert len(facts.prompts("Nobody")) > len(facts.prompts(subject)), "of an unknown subject, all there is"


def test_a_model_without_a_list_completes_nothing(tmp_path: Path) -> None:
    for model in ("", "openai-community/gpt2", str(tmp_path)):
        assert facts_of(model).subjects == ()


def test_a_list_beside_a_model_is_read_and_what_is_wrong_in_it_passed_over(tmp_path: Path) -> None:
    lines = [{"relation": "P1", "subject": "Oz", "object": "Emerald"}, {"relation": 3}, [], {"subject": "x\x1b[2J"}]
    hostile = {"relation": "P1", "subject": "x\x1b[2J", "object": "y"}
    text = "\n".join([*map(json.dumps, [*lines, hostile]), "{", "[" * 100_000])
    (tmp_path / "facts.jsonl").write_text(text)
    (tmp_path / "relations.json").write_text('{"P1": {"trained": ["{} shines in", "no slot", 3]}, "P2": 4}')
    facts = facts_of(str(tmp_path))
    assert facts.subjects == ("Oz",)
    assert facts.prompts("Oz") == ("{} shines in",)
    (tmp_path / "facts.jsonl").write_bytes(b"\xff\xfe")
    assert facts_of(str(tmp_path)).subjects == ()


@pytest.mark.parametrize(
    ("typed", "suggested"), [("eif", "eiffel Tower"), ("Eiffel Tower", "Eiffel Tower"), ("", None), ("x", None)]
)
async def test_a_beginning_is_completed_whatever_its_case(typed: str, suggested: str | None) -> None:
    assert await ListSuggester(["Eiffel Tower", "Zeus"]).get_suggestion(typed) == suggested


async def test_subject_prompt_and_target_are_completed_with_the_right_arrow(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        await desk.until(lambda: bool(desk.app.screen.query_one(RequestForm).facts.subjects))
        await fill(desk, "South Aus")
        assert value(desk, "subject") == "South Australia"
        await desk.pilot.press("tab")
        assert desk.app.screen.query_one("#prompt", Input).placeholder == "for instance: {} has its capital in"
        await fill(desk, "The cap")
        assert value(desk, "prompt") == "The capital city of {} is called"
        await desk.pilot.press("tab")
        await fill(desk, "Adela")
        assert value(desk, "target_new") == "Adelaide"


async def test_another_model_has_no_completions(open_desk: OpenDesk) -> None:
    async with open_desk(auto=False) as desk:
        desk.engine.say(replace(MODEL, model="somebody/else"))
        await desk.until(lambda: desk.app.state.model is not None)
        await fill(desk, "South Aus")
        assert value(desk, "subject") == "South Aus"


async def fill(desk: Desk, text: str) -> None:
    await desk.type(text)
    await desk.pilot.pause(0.1)
    await desk.pilot.press("right")
    await desk.pilot.pause()


def value(desk: Desk, field: str) -> str:
    return desk.app.screen.query_one(f"#{field}", Input).value
