"""An engine says which other stacks lie beside the open one, so that a screen elsewhere can list them."""

from __future__ import annotations

from pathlib import Path

from tests.engine.making import make_model, open_on
from workbench import events as ev
from workbench.engine.dispatch import dispatch
from workbench.engine.protocol import Command


def test_the_stacks_beside_the_open_one_are_said_with_what_is_in_them(tmp_path: Path) -> None:
    model = make_model(tmp_path / "model")
    open_on(model, tmp_path / "edits" / "other").close()
    (tmp_path / "edits" / "bad").mkdir()
    (tmp_path / "edits" / "bad" / "stack.json").write_text("{{")
    engine = open_on(model, tmp_path / "edits" / "mine")
    (said,) = dispatch(engine, Command("stacks", "job"), lambda: False)
    engine.close()
    assert isinstance(said, ev.StacksBeside)
    assert said.folder == str(tmp_path / "edits")
    assert [Path(folder).name for folder, _, _ in said.stacks] == ["bad", "other"]
    (_, words, problem), (_, other, none) = said.stacks
    assert words == f"✗ {problem}"
    assert (other.split(" on ")[0], none) == ("0 edits", "")
