"""Commands that make no sense are refused in words; none of them can end the engine."""

from __future__ import annotations

import pytest

from workbench.engine import protocol
from workbench.engine.dispatch import dispatch
from workbench.engine.engine import Engine
from workbench.engine.protocol import Command
from workbench.errors import UsageError


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
