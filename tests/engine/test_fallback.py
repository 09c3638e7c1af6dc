"""A stack with a damaged edit opens at the last position that can be built, and can be gone on with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.making import OTHER, REQUEST, drain, open_on, weight_bytes
from workbench import events as ev
from workbench.edits import EditRequest
from workbench.engine.engine import Engine, open_engine
from workbench.errors import VerificationError, WorkbenchError

THIRD = EditRequest("The {} is in", "old capital", " Irish")


@pytest.fixture
def damaged(small: Path, tmp_path: Path) -> tuple[Path, dict[str, bytes], dict[str, bytes]]:
    """A stack of three, of which the second is damaged; the weights after the first, and without the second."""
    engine = open_on(small, tmp_path / "stack")
    drain(engine.apply(REQUEST))
    first = weight_bytes(engine)
    drain(engine.apply(OTHER))
    drain(engine.apply(THIRD))
    second = engine.stack.line[1]
    drain(engine.toggle(second.id, off=True))
    without = weight_bytes(engine)
    drain(engine.toggle(second.id, off=False))
    path = engine.stack.path_of(second)
    engine.close()
    data = path.read_bytes()
    (tmp_path / "intact").write_bytes(data)
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    return path.parent, first, without


def reopened(small: Path, folder: Path) -> tuple[list[ev.Event], Engine]:
    return drain(open_engine(str(small), device="cpu", stack=folder, fall_back=True))


def states(engine: Engine) -> list[str]:
    return [row.state for row in engine.core.changed().edits]


def test_it_opens_before_the_damaged_edit_and_says_so(
    small: Path, damaged: tuple[Path, dict[str, bytes], object]
) -> None:
    events, engine = reopened(small, damaged[0])
    with engine.stack:
        assert engine.stack.position == 1
        assert weight_bytes(engine) == damaged[1]
        assert states(engine) == ["applied", "broken", "undone"]
        (warning,) = [event for event in events if isinstance(event, ev.Warning) and "position 1" in event.message]
        assert "2 edits are undone" in warning.message
        assert "leaves edit 2 out" in warning.hint


def test_left_out_the_edits_behind_it_are_applied_again(
    small: Path, damaged: tuple[Path, dict[str, bytes], dict[str, bytes]]
) -> None:
    _, engine = reopened(small, damaged[0])
    with engine.stack:
        with pytest.raises(VerificationError):
            drain(engine.redo())
        drain(engine.toggle(engine.stack.line[1].id, off=True))
        drain(engine.travel(3))
        assert weight_bytes(engine) == damaged[2]
        with pytest.raises(VerificationError):
            drain(engine.toggle(engine.stack.line[1].id, off=False))
        assert weight_bytes(engine) == damaged[2]


def test_an_intact_copy_put_back_is_taken_without_a_restart(
    small: Path, tmp_path: Path, damaged: tuple[Path, object, object]
) -> None:
    _, engine = reopened(small, damaged[0])
    with engine.stack:
        engine.stack.path_of(engine.stack.line[1]).write_bytes((tmp_path / "intact").read_bytes())
        drain(engine.redo(2))
        assert states(engine) == ["applied"] * 3


def test_another_stack_is_gone_over_to_in_the_same_way(
    small: Path, tmp_path: Path, damaged: tuple[Path, dict[str, bytes], object]
) -> None:
    engine = open_on(small, tmp_path / "mine")
    with pytest.raises(VerificationError):
        drain(engine.open_stack(damaged[0]))
    assert engine.stack.folder == tmp_path / "mine"
    drain(engine.open_stack(damaged[0], fall_back=True))
    with engine.stack:
        assert engine.stack.position == 1
        assert weight_bytes(engine) == damaged[1]


@pytest.mark.parametrize("more", [{"fall_back": False}, {"fall_back": True, "write": False}])
def test_whoever_did_not_ask_for_it_or_may_not_write_gets_the_error(
    small: Path, damaged: tuple[Path, object, object], more: dict[str, bool]
) -> None:
    with pytest.raises(WorkbenchError):
        drain(open_engine(str(small), device="cpu", stack=damaged[0], **more))  # type: ignore[arg-type]
