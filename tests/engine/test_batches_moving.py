"""An edit of many requests wherever edits go: moved, left out, made anew, merged, shared, exported, searched."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.engine.batches import EMMET, MEMIT, REQUESTS, SPREAD, THIRD
from tests.engine.comparing import RELATIVE, difference, merged_difference
from tests.engine.making import OTHER, REQUEST, drain, open_on, weight_bytes
from workbench import events as ev
from workbench.edits import EditRequest
from workbench.engine.bisecting import bisect, recorded_check
from workbench.engine.conflicts import key_conflicts, target_conflicts
from workbench.engine.diffing import probes_of_edits
from workbench.engine.edit_probes import probes_of_edit
from workbench.engine.engine import Engine
from workbench.engine.exporting import export_merged, export_peft
from workbench.engine.importing import import_sources
from workbench.engine.merging import merge, side_of
from workbench.engine.states import differences, state_of
from workbench.errors import EditError
from workbench.requests import read_requests
from workbench.stack.bundle import write_bundle
from workbench.stack.outgoing import write_requests
from workbench.stack.sources import open_source
from workbench.stack.store import Stack

CONTRARY = dataclasses.replace(OTHER, target_new="harp")
FOURTH = EditRequest("{} was born in", "Clara Schumann", "Vienna")


def never() -> bool:
    return False


@pytest.fixture(scope="module")
def made(deep: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stack: one edit of one request, then one of three over three layers. Read only."""
    folder = tmp_path_factory.mktemp("made") / "stack"
    engine = open_on(deep, folder)
    assert drain(engine.apply(FOURTH))[1]
    assert drain(engine.apply_batch(REQUESTS, SPREAD))[1]
    engine.close()
    return folder


@pytest.fixture
def two(deep: Path, made: Path, tmp_path: Path) -> Iterator[Engine]:
    """An engine on a copy of it."""
    engine = open_on(deep, shutil.copytree(made, tmp_path / "two"))
    yield engine
    engine.close()


@pytest.fixture
def empty(deep: Path, tmp_path: Path) -> Iterator[Engine]:
    engine = open_on(deep, tmp_path / "empty")
    yield engine
    engine.close()


def test_a_batch_goes_and_comes_back_in_all_its_modules(two: Engine) -> None:
    both = weight_bytes(two)
    drain(two.undo())
    one = weight_bytes(two)
    drain(two.redo())
    drain(two.toggle(two.stack.line[1].id, off=True))
    assert weight_bytes(two) == one != both
    drain(two.toggle(two.stack.line[1].id, off=False))
    assert weight_bytes(two) == both
    drain(two.travel(0))
    drain(two.travel(2))
    assert weight_bytes(two) == both


def test_reordered_it_keeps_its_update_and_verifies_in_its_new_place(two: Engine) -> None:
    first, second = two.stack.line
    line = drain(two.arrange([second.id, first.id]))[1]
    assert [len(edit.requests) for edit in line] == [3, 1]
    assert line[0].requests == second.requests
    for before, after in zip(two.stack.factors(second), two.stack.factors(line[0]), strict=True):
        assert (before.module, before.a.tobytes(), before.b.tobytes()) == (
            after.module,
            after.a.tobytes(),
            after.b.tobytes(),
        )
    assert drain(two.verify())[1]
    assert drain(two.arrange([line[1].id]))[1][0].requests == (FOURTH,)


def test_resolved_it_is_what_it_would_have_been_had_it_been_made_there(two: Engine, empty: Engine) -> None:
    events, line = drain(two.arrange([two.stack.line[1].id], resolve=True))
    (started,) = [event for event in events if isinstance(event, ev.EditStarted)]
    assert started.requests == 3
    assert drain(two.verify())[1]
    assert drain(empty.apply_batch(REQUESTS, SPREAD))[1]
    for again, fresh in zip(two.stack.factors(line[0]), empty.stack.factors(empty.stack.line[0]), strict=True):
        ours, theirs = again.b @ again.a, fresh.b @ fresh.a
        assert np.linalg.norm(ours - theirs) <= 1e-5 * np.linalg.norm(theirs)


def test_a_batch_that_cannot_be_made_whole_is_not_resolved(two: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    before = weight_bytes(two)

    def fail(*_: object) -> None:
        raise EditError("No such token.")

    monkeypatch.setattr("workbench.editing.batch.check_length", fail)
    with pytest.raises(EditError, match="cannot be made"):
        drain(two.arrange([two.stack.line[1].id], resolve=True))
    assert weight_bytes(two) == before
    assert len(two.stack.line) == 2


def test_a_merge_says_which_request_of_a_batch_is_contradicted(two: Engine, deep: Path, tmp_path: Path) -> None:
    other = open_on(deep, tmp_path / "theirs")
    drain(other.apply(CONTRARY))
    other.close()
    side = side_of(Stack.open(tmp_path / "theirs"), "theirs")
    events, _ = drain(merge(two.core, side, choice="both", cancelled=never))
    (target,) = [event for event in events if isinstance(event, ev.Conflict) and event.kind == "target"]
    assert (target.ours, target.target_ours, target.target_theirs) == (
        two.stack.line[1].id,
        OTHER.target_new,
        CONTRARY.target_new,
    )
    assert [edit.requests for edit in two.stack.line] == [(FOURTH,), REQUESTS, (CONTRARY,)]
    assert drain(two.verify())[1]


def test_of_one_batch_the_last_word_on_a_fact_counts(two: Engine) -> None:
    batch = dataclasses.replace(two.stack.line[1], requests=(OTHER, CONTRARY))
    alone = dataclasses.replace(two.stack.line[1], id="f" * 64, requests=(CONTRARY,))
    assert target_conflicts([batch], [alone]) == []
    (found,) = target_conflicts([dataclasses.replace(batch, requests=(CONTRARY, OTHER))], [alone])
    assert found.target_ours == OTHER.target_new


def test_every_key_of_a_batch_is_held_against_others(empty: Engine) -> None:
    drain(empty.apply_batch(REQUESTS, EMMET))
    batch = empty.stack.line[0]
    drain(empty.undo())
    drain(empty.apply(OTHER, {"layer": 1}))
    single = empty.stack.line[0]
    updates = {edit.id: empty.stack.factors(edit) for edit in (batch, single)}
    report = key_conflicts(empty.core, [batch], [single], updates, threshold=0.5)
    assert not report.incomparable
    worst = report.pairs[0]
    assert worst.prompt == worst.other_prompt == OTHER.text
    assert worst.cosine is not None
    assert worst.cosine > 0.9
    assert key_conflicts(empty.core, [batch], [batch], updates, threshold=0.99).count == 3


def test_an_update_that_has_no_row_a_request_is_said_to_be_incomparable(empty: Engine) -> None:
    many = [EditRequest("{} plays the", f"Player {number}", "horn") for number in range(40)]
    drain(empty.apply_batch(many, {**EMMET, "steps": 1}))
    edit = empty.stack.line[0]
    report = key_conflicts(empty.core, [edit], [edit], {edit.id: empty.stack.factors(edit)})
    assert report.incomparable == {edit.id}


def test_rows_that_are_only_a_basis_are_no_keys(empty: Engine) -> None:
    drain(empty.apply_batch(REQUESTS, EMMET))
    edit = empty.stack.line[0]
    (factors,) = empty.stack.factors(edit)
    basis = torch.linalg.qr(torch.from_numpy(factors.a.T).double()).Q.T.float().numpy()
    updates = {edit.id: (dataclasses.replace(factors, a=basis),)}
    assert key_conflicts(empty.core, [edit], [edit], updates).incomparable == {edit.id}


def test_a_bundle_carries_it_into_another_stack(two: Engine, empty: Engine, tmp_path: Path) -> None:
    write_bundle(two.stack, tmp_path / "two.zip")
    drain(import_sources(empty.core, [open_source(tmp_path / "two.zip")], cancelled=never))
    assert [edit.id for edit in empty.stack.line] == [edit.id for edit in two.stack.line]
    assert weight_bytes(empty) == weight_bytes(two)
    events, _ = drain(import_sources(empty.core, [open_source(tmp_path / "two.zip")], cancelled=never))
    assert [event.skipped for event in events if isinstance(event, ev.Imported)] == [2]


def test_its_requests_go_out_one_by_one_and_read_back(two: Engine, tmp_path: Path) -> None:
    assert write_requests(two.stack, tmp_path / "all.json", "workbench") == (4, 0)
    assert tuple(read_requests(tmp_path / "all.json")) == (FOURTH, *REQUESTS)


@pytest.mark.parametrize("dtype", RELATIVE)
def test_as_an_adapter_and_as_a_checkpoint_it_is_the_edited_model(
    deep: Path, made: Path, tmp_path: Path, dtype: str
) -> None:
    engine = open_on(deep, tmp_path / "stack", dtype)
    drain(engine.apply(FOURTH))
    drain(engine.apply_batch(REQUESTS, SPREAD))
    export_peft(engine, tmp_path / "adapter")
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert {config["r"], *config["rank_pattern"].values()} == {3, 4}
    apart, moved = difference(engine, tmp_path / "adapter", dtype)
    assert apart < RELATIVE[dtype]
    assert moved > 3 * apart
    export_merged(engine, tmp_path / "merged")
    assert merged_difference(engine, tmp_path / "merged") == 0
    assert "Naguib Mahfouz and 2 more" in (tmp_path / "merged" / "README.md").read_text()
    engine.close()


def test_a_probe_of_a_batch_is_one_of_its_requests_by_number(two: Engine) -> None:
    batch = two.stack.line[1]
    assert [probe.prompt for probe in probes_of_edit(batch)][:3] == [request.text for request in REQUESTS]
    line = state_of(two.stack, "now")
    check = recorded_check(two.core, batch, 3)
    events, _ = drain(bisect(two.core, line, 0, 2, check, cancelled=never))
    assert {event.prompt for event in events if isinstance(event, ev.ProbeResult)} == {THIRD.text}


def test_two_states_differ_by_a_batch_and_are_asked_all_of_its_probes(two: Engine) -> None:
    found = differences(state_of(two.stack, "1"), state_of(two.stack, "2"))
    assert [(one.how, one.requests) for one in found] == [("only in B", 3)]
    watched, left = probes_of_edits(two.core, [two.stack.line[1]], 100)
    assert (len(watched), left) == (len(probes_of_edit(two.stack.line[1])), 0)


def test_each_module_is_edited_with_a_c_of_its_own_and_says_so(two: Engine) -> None:
    batch = two.stack.line[1]
    fingerprints = {batch.moment_of(module)["fingerprint"] for module in batch.weights}
    assert len(fingerprints) == 3
    assert all(two.core.second_moment(two.core.site(layer)).fingerprint in fingerprints for layer in (0, 1, 2))
    drain(two.undo())
    assert drain(two.apply_batch([REQUEST], {**MEMIT, "second_moment": False}))[1]
    assert two.stack.line[1].second_moment == "identity"
