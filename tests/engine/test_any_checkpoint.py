"""From a checkpoint as people have it to an edit and back: really trained, in shards, in pickle files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import zoo
from tests.engine.making import drain, weight_bytes
from tests.models.checkpoints import as_pickle, in_shards
from workbench import events as ev
from workbench.edits import EditRequest
from workbench.engine.engine import Engine, open_engine
from workbench.errors import ModelError
from workbench.models.options import PLAIN, LoadOptions

STORIES = Path(__file__).parents[3] / "shared" / "models" / "stories260K"
"""Beside the repository, where somebody put it there."""
FEW = {"second_moment": False, "steps": 4, "template_lengths": [[3, 2]]}


def opened(model: Path, stack: Path, options: LoadOptions = PLAIN) -> Engine:
    return drain(open_engine(str(model), device="cpu", options=options, stack=stack))[1]


def edit_and_undo(engine: Engine, request: EditRequest) -> str:
    """Makes the edit, checks it, takes it back; returns the hash of the edited weight."""
    before = weight_bytes(engine)
    events = drain(engine.apply(request, FEW))[0]
    (committed,) = [event for event in events if isinstance(event, ev.EditCommitted)]
    (probe,) = [event for event in events if isinstance(event, ev.ProbeResult) and event.kind == "efficacy"]
    assert probe.p_expected is not None
    assert probe.before is not None
    assert probe.p_expected > probe.before
    assert weight_bytes(engine) != before
    assert [event.outcome for event in drain(engine.verify())[0] if isinstance(event, ev.Verified)] == ["bit-identical"]
    drain(engine.undo())
    assert weight_bytes(engine) == before
    engine.close()
    return committed.weight_sha256


@pytest.mark.shared
def test_a_really_trained_small_llama_is_edited_and_undone(tmp_path: Path) -> None:
    if not STORIES.is_dir():
        pytest.skip("stories260K, a Llama of 0.26M parameters, is not in ../shared/models beside the repository")
    request = EditRequest("Once upon a time, {} had a big red", "Lily", "dragon")
    edit_and_undo(opened(STORIES, tmp_path / "stack"), request)


@pytest.mark.parametrize("form", ["in shards", "as pickle"])
def test_the_form_of_a_checkpoint_makes_no_difference_to_an_edit(tmp_path: Path, form: str) -> None:
    request = EditRequest("The mother tongue of {} is", "Naguib Mahfouz", "Irish")
    folder = zoo.save(tmp_path / "model", "llama")
    whole = edit_and_undo(opened(folder, tmp_path / "whole"), request)
    if form == "in shards":
        in_shards(folder)
        other = opened(folder, tmp_path / "whole")
    else:
        as_pickle(folder)
        with pytest.raises(ModelError, match="pickle"):
            opened(folder, tmp_path / "whole")
        other = opened(folder, tmp_path / "whole", LoadOptions(allow_pickle=True))
    assert edit_and_undo(other, request) == whole, "and it is the same base: the stack opens on it"
