"""Others' edits in a stack: all or none, where they stand now, and looked at before anybody relies on them."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.engine.making import OTHER, REQUEST, drain, open_on, weight_bytes
from workbench import events as ev
from workbench.edits import EditRequest
from workbench.engine.engine import Engine
from workbench.engine.exporting import export_peft
from workbench.engine.importing import examine, import_sources
from workbench.errors import BaseMismatch, EditError
from workbench.stack.bundle import write_bundle
from workbench.stack.editfile import encode_edit, file_name, read_edit
from workbench.stack.record import Edit, Factors
from workbench.stack.sources import Source, open_source

THIRD = EditRequest("{} lies on the continent of", "Naguib Mahfouz", "Asia")


def never() -> bool:
    return False


@pytest.fixture(scope="module")
def theirs(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stack of two edits. Read only."""
    folder = tmp_path_factory.mktemp("theirs") / "theirs"
    engine = open_on(small, folder)
    for request in (REQUEST, OTHER):
        drain(engine.apply(request))
    engine.close()
    return folder


@pytest.fixture(scope="module")
def filled(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another one, of one edit."""
    folder = tmp_path_factory.mktemp("ours") / "ours"
    engine = open_on(small, folder)
    drain(engine.apply(THIRD))
    engine.close()
    return folder


@pytest.fixture
def ours(small: Path, filled: Path, tmp_path: Path) -> Iterator[Engine]:
    """An engine on a stack with one edit of its own."""
    engine = open_on(small, shutil.copytree(filled, tmp_path / "ours"))
    yield engine
    engine.close()


def take_in(engine: Engine, *sources: Source, resolve: bool = False) -> ev.Imported:
    events, _ = drain(import_sources(engine.core, sources, resolve=resolve, cancelled=never))
    assert isinstance(events[-1], ev.Imported)
    return events[-1]


def state(engine: Engine) -> tuple[object, ...]:
    files = {path.name: path.read_bytes() for path in engine.stack.folder.glob("*.safetensors")}
    return engine.stack.index, files, (engine.stack.folder / "stack.json").read_bytes(), weight_bytes(engine)


def written(folder: Path, edit: Edit, factors: tuple[Factors, ...]) -> Source:
    saved, data = encode_edit(dataclasses.replace(edit, id=""), factors)
    path = folder / file_name(saved)
    path.write_bytes(data)
    return open_source(path)


def test_applied_edits_come_after_the_position_and_are_true_where_they_stand(ours: Engine, theirs: Path) -> None:
    source = open_source(theirs)
    done = take_in(ours, source)
    assert [edit.request for edit in ours.stack.applied] == [THIRD, REQUEST, OTHER]
    assert done.added == tuple(edit.id for edit in ours.stack.line[1:])
    assert [edit.copied_from for edit in ours.stack.line[1:]] == [edit.id for edit in source.edits]
    assert all(checked.ok for checked in ours.stack.verify())
    events, agreed = drain(ours.verify())
    assert agreed
    assert [event.outcome for event in events if isinstance(event, ev.Verified)] == ["bit-identical"] * 3


def test_the_model_holds_what_a_new_process_materialises(ours: Engine, theirs: Path, small: Path) -> None:
    take_in(ours, open_source(theirs))
    now = weight_bytes(ours)
    ours.close()
    again = open_on(small, ours.stack.folder)
    assert weight_bytes(again) == now
    again.close()


def test_edits_that_are_here_already_are_passed_over_and_so_are_copies(ours: Engine, theirs: Path) -> None:
    take_in(ours, open_source(theirs))
    before = state(ours)
    again = take_in(ours, open_source(theirs), open_source(ours.stack.folder))
    assert (again.added, again.skipped, again.position) == ((), 5, 3)
    assert state(ours) == before


def test_a_line_that_goes_on_from_ours_keeps_its_ids(small: Path, theirs: Path, tmp_path: Path) -> None:
    engine = open_on(small, tmp_path / "new")
    lone, pair = (open_source(theirs).view, open_source(theirs))
    assert lone is not None
    first = lone.line[0]
    take_in(engine, open_source(lone.path_of(first)))
    assert [edit.id for edit in engine.stack.line] == [first.id]
    assert take_in(engine, pair).skipped == 1
    assert [edit.id for edit in engine.stack.line] == [edit.id for edit in pair.edits]
    engine.close()


def test_undone_edits_of_ours_stay_on_a_branch_and_undone_ones_of_theirs_stay_there(
    ours: Engine, theirs: Path, small: Path, tmp_path: Path
) -> None:
    other = open_on(small, shutil.copytree(theirs, tmp_path / "copy"))
    drain(other.undo())
    other.close()
    own = ours.stack.line[0].id
    drain(ours.undo())
    source = open_source(tmp_path / "copy")
    assert source.left_behind == 1
    take_in(ours, source)
    assert [edit.request for edit in ours.stack.line] == [REQUEST]
    assert own in {branch.tip for branch in ours.stack.branches}


def test_a_bundle_and_an_edit_file_come_in_together(ours: Engine, theirs: Path, tmp_path: Path) -> None:
    view = open_source(theirs).view
    assert view is not None
    write_bundle(view, tmp_path / "x.zip")
    done = take_in(ours, open_source(view.path_of(view.line[1])), open_source(tmp_path / "x.zip"))
    assert [edit.request for edit in ours.stack.applied] == [THIRD, OTHER, REQUEST]
    assert (len(done.added), done.skipped) == (2, 1)


def test_notes_come_along(ours: Engine, theirs: Path, tmp_path: Path) -> None:
    from workbench.stack.store import Stack

    with Stack.open(shutil.copytree(theirs, tmp_path / "noted"), write=True) as stack:
        stack.note(stack.line[0].id, "ask Ada")
    take_in(ours, open_source(tmp_path / "noted"))
    assert [edit.note for edit in ours.stack.line] == ["", "ask Ada", ""]
    assert take_in(ours, open_source(tmp_path / "noted")).skipped == 2


def test_resolved_edits_are_made_anew_on_the_state_they_come_to_stand_on(ours: Engine, theirs: Path) -> None:
    source = open_source(theirs)
    take_in(ours, source, resolve=True)
    assert source.view is not None
    for new, old in zip(ours.stack.line[1:], source.view.line, strict=True):
        assert (new.request, new.recipe, new.copied_from) == (old.request, old.recipe, old.id)
        assert not np.array_equal(ours.stack.factors(new)[0].b, source.view.factors(old)[0].b)
    assert drain(ours.verify())[1]


def test_an_edit_of_another_base_changes_nothing(ours: Engine, theirs: Path, tmp_path: Path) -> None:
    view = open_source(theirs).view
    assert view is not None
    edit, factors = view.read(view.line[0])
    foreign = written(
        tmp_path, dataclasses.replace(edit, base=dataclasses.replace(edit.base, fingerprint="e" * 64)), factors
    )
    before = state(ours)
    with pytest.raises(BaseMismatch, match=r"was made on .* \(eeeeeeeeeeee\), not on"):
        take_in(ours, open_source(theirs), foreign)
    assert state(ours) == before


def test_an_edit_of_a_module_that_is_not_there_changes_nothing(ours: Engine, theirs: Path, tmp_path: Path) -> None:
    view = open_source(theirs).view
    assert view is not None
    edit, (factors,) = view.read(view.line[0])
    name, info = "transformer.h.1.mlp.nothing", edit.base.modules[factors.module]
    hostile = dataclasses.replace(
        edit,
        base=dataclasses.replace(edit.base, modules={name: info}),
        weights={name: edit.weights[factors.module]},
    )
    before = state(ours)
    with pytest.raises(BaseMismatch):
        take_in(ours, written(tmp_path, hostile, (dataclasses.replace(factors, module=name),)))
    assert state(ours) == before


def test_one_update_that_would_break_the_weights_keeps_all_out(ours: Engine, theirs: Path, tmp_path: Path) -> None:
    view = open_source(theirs).view
    assert view is not None
    edit, (factors,) = view.read(view.line[0])
    huge = dataclasses.replace(factors, b=np.full_like(factors.b, 3e38), a=np.full_like(factors.a, 3e38))
    before = state(ours)
    with pytest.raises(EditError, match="not be finite"):
        take_in(ours, open_source(theirs), written(tmp_path, edit, (huge,)))
    assert state(ours) == before


@pytest.mark.parametrize(("after", "resolve"), [(0, False), (1, False), (0, True), (3, True), (12, True)])
def test_stopping_on_the_way_changes_nothing(ours: Engine, theirs: Path, after: int, resolve: bool) -> None:
    before, asked = state(ours), 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > after

    events, _ = drain(import_sources(ours.core, [open_source(theirs)], resolve=resolve, cancelled=stop))
    assert isinstance(events[-1], ev.EditCancelled)
    assert state(ours) == before


def test_an_adapter_becomes_one_edit(ours: Engine, theirs: Path, small: Path, tmp_path: Path) -> None:
    other = open_on(small, shutil.copytree(theirs, tmp_path / "copy"))
    export_peft(other, tmp_path / "adapter")
    other.close()
    source = open_source(tmp_path / "adapter")
    assert source.kind == "adapter"
    done = take_in(ours, source)
    assert len(done.added) == 1
    assert [set(edit.ranks.values()) for edit in ours.stack.line] == [{1}, {2}]
    assert drain(ours.verify())[1]


def test_what_is_shown_of_a_new_edit_is_measured_and_not_what_its_file_claims(
    ours: Engine, theirs: Path, tmp_path: Path
) -> None:
    view = open_source(theirs).view
    assert view is not None
    edit, (factors,) = view.read(view.line[0])
    flattering = {"norms": {"ratio": 1e-6}, "probes": [{"kind": "neighbourhood", "prompt": "x", "passed": True}] * 9}
    louder = dataclasses.replace(factors, b=factors.b * 4)
    done = take_in(ours, written(tmp_path, dataclasses.replace(edit, metrics=flattering), (louder,)))
    before = state(ours)
    events, _ = drain(examine(ours.core, done.added, cancelled=never))
    (row,) = [event for event in events if isinstance(event, ev.EditRow)]
    pristine = ours.core.live.pristine(factors.module).double().norm().item()
    delta = np.linalg.norm(louder.b.astype(np.float64) @ louder.a.astype(np.float64))
    assert row.ratio == pytest.approx(delta / pristine, rel=1e-12)
    assert row.neighbours is not None
    assert row.neighbours[1] == len(REQUEST.neighbours)
    probes = [event for event in events if isinstance(event, ev.ProbeResult)]
    assert {probe.edit for probe in probes} >= {edit.id for edit in ours.stack.line}
    assert [probe.kind for probe in probes].count("perplexity") == 1
    assert isinstance(events[-1], ev.StackChanged)
    assert state(ours) == before


def test_an_edit_that_only_claims_to_be_a_copy_keeps_no_other_out(ours: Engine, theirs: Path, tmp_path: Path) -> None:
    path = sorted(theirs.glob("*.safetensors"))[0]
    genuine, (factors,) = read_edit(path)
    request = dataclasses.replace(genuine.request, subject="Knut Hamsun")
    false = dataclasses.replace(genuine, id="", requests=(request,), made_by={"copied_from": genuine.id})
    claiming = tmp_path / "claiming.safetensors"
    claiming.write_bytes(encode_edit(false, (factors,))[1])
    done = take_in(ours, open_source(claiming))
    assert done.skipped == 0
    done = take_in(ours, open_source(path))
    assert (len(done.added), done.skipped) == (1, 0)
    assert take_in(ours, open_source(path)).skipped == 1
