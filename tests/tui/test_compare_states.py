"""Compare: which two states of the stack are compared."""

from __future__ import annotations

from tests.tui.comparing import chosen, generated, text
from tests.tui.small_bench import SmallBench
from tests.tui.story import ready, stack
from workbench import events as ev
from workbench.tui.screens.choose_state import ChooseStateScreen
from workbench.tui.screens.compare import CompareScreen


async def test_any_position_can_be_compared_with_any_other() -> None:
    app = SmallBench(CompareScreen, ready())
    async with app.run_test(size=(140, 40)) as pilot:
        await pilot.press(*"Hi", "escape")
        await chosen(pilot, "A", *"jobs")
        await chosen(pilot, "B", "down", "down")
        assert "A  @2 Steve Jobs" in text(app)
        await pilot.press("enter")
        verb, args = app.sent[-1]
        assert (verb, args["states"]) == ("generate", ["02" * 32, "03" * 32])
        job = app.state.job
        app.tell(
            ev.GenerationChunk(side="02" * 32, text="!", prompt="Hi", tokens=1, done=True), ev.JobDone(job=job, ok=True)
        )
        await pilot.pause()
        assert "A  @2 Steve Jobs  1 token" in text(app)
        await chosen(pilot, "B", *"reviewed-later")
        assert "A or B is another: enter asks again" in text(app)


async def test_the_list_of_states_opens_with_enter_and_is_left_with_escape() -> None:
    app = SmallBench(CompareScreen, ready())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("tab", "enter")
        assert isinstance(app.screen, ChooseStateScreen)
        await pilot.press("escape")
        assert not isinstance(app.screen, ChooseStateScreen)
        assert app.sent == []
        await pilot.click("#choose-b")
        assert isinstance(app.screen, ChooseStateScreen)


async def test_another_stack_begins_with_base_and_stack_again() -> None:
    app = SmallBench(CompareScreen, ready())
    async with app.run_test(size=(80, 24)) as pilot:
        await generated(app, pilot)
        await chosen(pilot, "A", *"jobs")
        app.tell(stack(folder="edits/other"))
        await pilot.pause()
        assert "A base" in text(app)
        assert "Write a prompt and press enter" in text(app)
