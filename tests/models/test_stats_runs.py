"""Whole runs: C is that of the text, a stopped run ends with the bits of one that was not, and shares add up."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from tests import zoo
from tests.models.stats_by_hand import TEXT, distance, drain, moment_by_hand, rows_by_hand
from workbench.engine.stats import reading
from workbench.engine.stats.documents import TextFiles
from workbench.engine.stats.job import Wanted, measure, stored
from workbench.engine.stats.ranks import Ranks
from workbench.engine.stats.run import Run
from workbench.engine.stats.sums import Keys
from workbench.errors import ModelError, UsageError
from workbench.events import Event, MomentProgress, MomentReady, Warning  # noqa: A004  the wire's word
from workbench.models.families import edit_site
from workbench.models.load import LoadedModel, load_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return zoo.save(tmp_path_factory.mktemp("zoo") / "gpt2", "gpt2")


@pytest.fixture
def wanted(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wanted:
    """A run of ten batches over a file, in a cache of its own."""
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(reading.AT_ONCE, "cpu", 48)
    text = tmp_path / "text.txt"
    text.write_text("\n".join(TEXT * 4), encoding="utf-8")
    return Wanted(str(folder), (1, 2), TextFiles([str(text)]), tokens=420, window=24, every=0.0)


def changed(wanted: Wanted, **changes: object) -> Wanted:
    return Wanted(**{**wanted.__dict__, **changes})


def after(batches: int) -> Callable[[], bool]:
    """Says to stop once it has been asked so many times."""
    asked = iter([False] * batches)
    return lambda: next(asked, True)


def run(wanted: Wanted, batches: int = 1000) -> list[Event]:
    return drain(measure(wanted, after(batches)))[0]


def ready(events: list[Event]) -> list[MomentReady]:
    return [event for event in events if isinstance(event, MomentReady)]


def tokens(events: list[Event]) -> list[int]:
    return [event.tokens for event in events if isinstance(event, MomentProgress)]


def warnings(events: list[Event]) -> list[str]:
    return [event.message for event in events if isinstance(event, Warning)]


def bytes_of(events: list[Event]) -> list[bytes]:
    return [Path(one.file).read_bytes() for one in ready(events)]


def test_c_is_that_of_the_packed_text(wanted: Wanted) -> None:
    events = run(wanted)
    loaded = drain(load_model(wanted.model))[1]
    rows = rows_by_hand(loaded.tokenizer, TEXT * 4, 24, 420)
    assert [one.layer for one in ready(events)] == [1, 2]
    for one in ready(events):
        expected, count = moment_by_hand(loaded.model, edit_site(loaded.model, one.layer), rows)
        assert one.samples == count == 420
        with safe_open(one.file, framework="pt") as file:
            assert distance(file.get_tensor("second_moment"), expected) < 1e-6
    assert tokens(events) == [*range(0, 385, 48), 408, 420]


def test_the_file_says_what_it_is_made_of(wanted: Wanted) -> None:
    (one, _) = ready(run(wanted))
    with safe_open(one.file, framework="pt") as file:
        about = json.loads(file.metadata()["workbench"])
    loaded = drain(load_model(wanted.model))[1]
    assert about["base"] == loaded.fingerprint
    assert about["module"] == one.module == "transformer.h.1.mlp.c_proj"
    assert about["samples"] == 420
    assert about["text"]["names"] == ["text.txt"]
    assert about["made_by"]["window"] == 24
    assert about["made_by"]["dtype"] == "float32"
    assert len(about["text"]["sha256"]) == len(about["text"]["tokens_sha256"]) == 64


@pytest.mark.parametrize(("own", "batches"), [(False, 1), (False, 4), (False, 8), (True, 2)])
def test_a_stopped_run_goes_on_and_ends_with_the_same_bits(
    wanted: Wanted, batches: int, own: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = changed(wanted, documents=None, tokens=150) if own else wanted
    monkeypatch.setattr("workbench.engine.stats.sampling.MOST_ROWS", 2)
    once = run(changed(wanted, out=tmp_path / "once"))
    stopped = run(wanted, batches * (24 if own else 1))
    assert not ready(stopped)
    assert tokens(stopped)[-1] == 48 * batches
    assert warnings(stopped) == [f"{48 * batches} tokens are kept."]
    went_on = run(wanted)
    assert tokens(went_on)[0] == 48 * batches
    assert bytes_of(went_on) == bytes_of(once)
    assert not list(tmp_path.rglob("unfinished/*.safetensors"))


def test_while_a_model_writes_its_text_progress_is_told_and_it_can_be_stopped(
    wanted: Wanted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.engine.stats.run._TELL", 0.0)
    wanted = changed(wanted, documents=None, tokens=240)
    stopped = run(wanted, 5)
    assert tokens(stopped) == [0, 20, 30, 40, 50, 60]
    assert warnings(stopped) == ["0 tokens are kept."]
    told = tokens(run(wanted))
    assert told == sorted(told)
    assert told[-1] == 240


def test_a_checkpoint_with_a_flipped_bit_is_not_believed(wanted: Wanted, tmp_path: Path) -> None:
    run(wanted, 3)
    (path,) = tmp_path.rglob("unfinished/*.safetensors")
    whole = path.read_bytes()
    for at in (len(whole) // 2, len(whole) - 1, 40):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert tokens(run(wanted, 0))[0] == 0
    path.write_bytes(whole[:-8])
    assert tokens(run(wanted, 0))[0] == 0
    path.write_bytes(whole)
    assert tokens(run(wanted, 0))[0] == 144


def test_a_checkpoint_of_another_cut_or_model_is_not_found(wanted: Wanted, tmp_path: Path) -> None:
    run(wanted, 3)
    for other in (
        changed(wanted, tokens=430),
        changed(wanted, window=30),
        changed(wanted, layers=(1,)),
        changed(wanted, dtype="bfloat16"),
        changed(wanted, model=str(zoo.save(tmp_path / "llama", "llama"))),
    ):
        assert tokens(run(other, 0))[0] == 0


def test_a_text_that_has_changed_since_is_read_from_its_start(wanted: Wanted, tmp_path: Path) -> None:
    run(wanted, 5)
    (tmp_path / "text.txt").write_text("\n".join(("Another beginning.", *TEXT * 4)), encoding="utf-8")
    events = run(wanted)
    assert "The text has changed since the run was stopped." in warnings(events)
    anew = run(changed(wanted, out=tmp_path / "anew"))
    assert bytes_of(events) == bytes_of(anew)


def test_a_text_that_has_become_shorter_is_read_from_its_start(wanted: Wanted, tmp_path: Path) -> None:
    run(wanted, 6)
    text = "\n".join(TEXT * 4).encode()
    (tmp_path / "text.txt").write_bytes(text[: len(text) // 4])
    events = run(wanted)
    assert "The text has changed since the run was stopped." in warnings(events)
    assert ready(events)[0].samples < 288


def test_a_text_that_ends_early_is_said_and_used(wanted: Wanted) -> None:
    events = run(changed(wanted, tokens=5000))
    (one, _) = ready(events)
    assert any(f"only {one.samples} tokens; 5000 were asked for" in words for words in warnings(events))
    assert 420 < one.samples < 5000


def test_a_text_of_nothing_is_an_error(wanted: Wanted, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("\n \n")
    with pytest.raises(UsageError, match="no text"):
        run(wanted)


def test_the_budget_is_ten_tokens_a_dimension_at_the_profiles_layer(wanted: Wanted) -> None:
    (one,) = ready(run(changed(wanted, tokens=None, layers=(), documents=None, window=None)))
    assert one.samples == 10 * one.dimension
    assert one.text == "text sampled from the model itself (seed 0)"
    assert one.fingerprint.endswith(" (self-sampled)")


def test_what_a_model_wrote_once_is_not_measured_again(wanted: Wanted) -> None:
    own = changed(wanted, documents=None, tokens=100)
    first = run(own)
    again = run(own)
    assert warnings(again) == ["The same C is there already."]
    assert ready(again) == ready(first)
    assert not tokens(again)
    for other in (changed(own, seed=1), changed(own, tokens=120), changed(own, layers=(1, 2, 3))):
        assert tokens(run(other))
    Path(ready(run(own))[0].file).write_bytes(b"damaged")
    assert tokens(run(own))


def test_a_c_that_is_replaced_by_another_is_named(wanted: Wanted) -> None:
    assert not warnings(run(wanted))
    assert not warnings(run(wanted))
    replaced = warnings(run(changed(wanted, documents=None)))
    assert replaced == ["This takes the place of the C over 420 keys of text.txt."] * 2


def test_shares_of_several_processes_add_up_to_the_whole(wanted: Wanted) -> None:
    loaded: LoadedModel = drain(load_model(wanted.model))[1]
    assert wanted.documents is not None
    totals: dict[int, list[Tensor]] = {1: [], 2: [], 3: []}
    batches: dict[int, list[list[str]]] = {1: [], 2: [], 3: []}
    for size, found in totals.items():
        for rank in range(size):
            text = reading.WrittenText(loaded, 420, 24, wanted.documents)
            one = Run(loaded, Keys(loaded.model, [edit_site(loaded.model, 1)]), text, Ranks(rank, size), 1e9)
            drain(one.read(after(1000)))
            found.append(next(iter(one.keys.sums.values())).total)
            batches[size].append(one.progress.batches)
    for size in (2, 3):
        assert distance(torch.stack(totals[size]).sum(0), totals[1][0]) < 1e-14
        assert sorted(one for own in batches[size] for one in own) == sorted(batches[1][0])
        assert batches[size][1] == batches[1][0][1::size]


def test_what_is_there_is_told_without_loading_the_model(wanted: Wanted, monkeypatch: pytest.MonkeyPatch) -> None:
    made = ready(run(wanted))
    monkeypatch.setattr("workbench.engine.stats.job.load_model", None)
    assert ready(drain(stored(wanted.model))[0]) == made


def test_a_layer_that_is_not_there_is_an_error(wanted: Wanted) -> None:
    with pytest.raises(ModelError, match="no layer 9"):
        run(changed(wanted, layers=(9,)))
