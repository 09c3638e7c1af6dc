"""Commands that make no sense are refused in words; none of them can end the engine."""

from __future__ import annotations

import pytest

from tests.engine.making import OTHER, REQUEST, drain
from workbench.engine import protocol
from workbench.engine.dispatch import dispatch
from workbench.engine.engine import Engine
from workbench.engine.protocol import Command
from workbench.errors import UsageError
from workbench.events import StackChanged


@pytest.mark.parametrize("line", ["", "[]", "3", "[" * 100_000, '{"do": "fly"}', '{"do": "undo", "args": []}', b"\xff"])
def test_what_is_no_command_is_a_value_error(line: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        protocol.from_line(line)


@pytest.mark.parametrize("text", ["half \ud83d", "nul \0", "x" * 5_000, 3, None, ""])
def test_text_that_no_tokenizer_takes_is_refused(engine: Engine, text: object) -> None:
    with pytest.raises(UsageError):
        list(dispatch(engine, Command("answer", "a", {"prompt": text}), lambda: False))


@pytest.mark.parametrize("value", [10**400, -(10**400), float("nan"), float("inf"), True, "7", [1]])
@pytest.mark.parametrize("name", ["steps", "lr", "nll_stop"])
def test_a_setting_that_is_no_number_is_refused(engine: Engine, name: str, value: object) -> None:
    with pytest.raises(UsageError):
        engine.core.recipe({name: value})


def test_every_way_to_rearrange_goes_over_the_wire(engine: Engine) -> None:
    for request in (REQUEST, OTHER):
        drain(engine.apply(request))
    first, second = (edit.id for edit in engine.stack.line)

    def do(verb: protocol.Verb, **args: object) -> StackChanged:
        events = [e for e in dispatch(engine, Command(verb, "a", args), lambda: False) if isinstance(e, StackChanged)]
        return events[-1]

    assert [row.state for row in do("toggle", edit=first, off=True).edits] == ["off", "applied"]
    assert [row.state for row in do("toggle", edit=first, off=False).edits] == ["applied", "applied"]
    assert do("arrange", order=[second, first]).branch == "main-2"
    assert do("branch", name="early", at=first).names == ("early", "main", "main-2")
    assert [row.id for row in do("switch", name="main").edits] == [first, second]


@pytest.mark.parametrize(
    ("verb", "args"),
    [
        ("toggle", {"edit": "0000"}),
        ("toggle", {"edit": 3}),
        ("toggle", {"edit": "0000", "off": "yes"}),
        ("arrange", {"order": "abc"}),
        ("arrange", {"order": [1]}),
        ("arrange", {"order": ["f" * 64]}),
        ("switch", {"name": "nowhere"}),
        ("branch", {"name": "../up"}),
    ],
)
def test_a_rearrangement_that_makes_no_sense_is_refused(
    engine: Engine, verb: protocol.Verb, args: dict[str, object]
) -> None:
    with pytest.raises(UsageError):
        list(dispatch(engine, Command(verb, "a", args), lambda: False))
