"""Models in several places: blocks lent from disk are edited, undone, verified and exported as if they lay here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests import zoo
from tests.engine.making import drain, open_on, weight_bytes
from tests.models.checkpoints import events_of
from workbench import events as ev
from workbench.edits import EditRequest
from workbench.engine.engine import Engine, open_engine
from workbench.engine.exporting import export_merged
from workbench.errors import DeviceError, UsageError
from workbench.models.load import load_model
from workbench.models.options import LoadOptions

pytest.importorskip("accelerate")

REQUEST = EditRequest("The mother tongue of {} is", "Naguib Mahfouz", "Irish")
LENT = {"model.layers.1": "disk", "model.layers.2": "disk", "model.layers.3": "cpu", "model.layers.0": "cpu"}
HERE = {"model.embed_tokens": "cpu", "model.norm": "cpu", "model.rotary_emb": "cpu", "lm_head": "cpu"}
SPREAD = LoadOptions(device_map={**LENT, **HERE})
"""The edited block and the one above it are on disk."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Llama whose profile edits block 1. Read only."""
    return zoo.save(tmp_path_factory.mktemp("spread") / "model", "llama")


@pytest.fixture
def spread(model: Path, tmp_path: Path) -> Iterator[Engine]:
    """An engine on it with half of it on disk."""
    engine = drain(open_engine(str(model), options=SPREAD, stack=tmp_path / "spread"))[1]
    yield engine
    engine.close()


@pytest.fixture
def here(model: Path, tmp_path: Path) -> Iterator[Engine]:
    """An engine on all of it in memory."""
    engine = open_on(model, tmp_path / "here")
    yield engine
    engine.close()


def make(engine: Engine) -> str:
    events = drain(engine.apply(REQUEST))[0]
    (committed,) = [event for event in events if isinstance(event, ev.EditCommitted)]
    return committed.weight_sha256


def test_blocks_on_disk_are_lent_and_not_held(spread: Engine) -> None:
    lent = {name for name, p in spread.core.loaded.model.named_parameters() if p.device.type == "meta"}
    assert lent
    assert all("layers.1" in name or "layers.2" in name for name in lent)
    assert spread.core.loaded.device == torch.device("cpu")


def test_an_edit_of_a_lent_block_is_the_one_made_in_memory(spread: Engine, here: Engine) -> None:
    assert make(spread) == make(here)
    (module,) = spread.stack.line[0].weights
    assert spread.core.loaded.model.get_submodule(module).weight.device.type == "cpu"
    probes = [
        [e.p_expected for e in drain(engine.probe())[0] if isinstance(e, ev.ProbeResult)] for engine in (spread, here)
    ]
    assert probes[0] == probes[1]


def test_it_is_verified_undone_and_redone(spread: Engine, here: Engine) -> None:
    make(spread)
    (module,) = spread.stack.line[0].weights
    weight = spread.core.live.parameter(module)
    edited = weight.clone()
    assert [e.outcome for e in drain(spread.verify())[0] if isinstance(e, ev.Verified)] == ["bit-identical"]
    drain(spread.undo())
    assert torch.equal(weight, here.core.live.parameter(module))
    drain(spread.redo())
    assert torch.equal(weight, edited)


def test_a_merged_export_of_a_spread_model_is_whole(spread: Engine, here: Engine, tmp_path: Path) -> None:
    make(spread)
    make(here)
    export_merged(spread, tmp_path / "merged")
    stored = load_file(tmp_path / "merged" / "model.safetensors")
    expected = here.core.loaded.model.state_dict()
    assert weight_bytes(here)
    for name, tensor in stored.items():
        assert torch.equal(tensor, expected[name]), name
    assert stored.keys() == expected.keys()


def test_a_lent_block_can_be_held_in_float32(model: Path, tmp_path: Path) -> None:
    options = LoadOptions(device_map=SPREAD.device_map, keep_fp32=True)
    engine = drain(open_engine(str(model), dtype="bfloat16", options=options, stack=tmp_path / "stack"))[1]
    make(engine)
    (module,) = engine.stack.line[0].weights
    assert engine.core.live.parameter(module).dtype == torch.float32
    assert [e.outcome for e in drain(engine.verify())[0] if isinstance(e, ev.Verified)] == ["bit-identical"]
    engine.close()


def test_inputs_have_a_place_though_the_embedding_is_lent(model: Path) -> None:
    lent = {**LENT, **HERE, "model.embed_tokens": "disk"}
    loaded = events_of(model, LoadOptions(device_map=lent))[1]
    assert loaded.device == torch.device("cpu")
    assert loaded.model(torch.tensor([[1, 2]])).logits.isfinite().all()


def test_what_goes_to_disk_is_gone_with_the_model(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    loaded = events_of(model, SPREAD)[1]
    assert [path.name for path in tmp_path.iterdir()]
    del loaded
    import gc

    gc.collect()
    assert not [path.name for path in tmp_path.iterdir()]


def test_the_map_auto_works_with_what_there_is(model: Path) -> None:
    loaded = events_of(model, LoadOptions(device_map="auto"))[1]
    assert loaded.model(torch.tensor([[1, 2]], device=loaded.device)).logits.isfinite().all()


def test_a_map_and_a_device_contradict_each_other(model: Path) -> None:
    with pytest.raises(UsageError, match="a device and a device map"):
        drain(load_model(str(model), "cpu", "auto", LoadOptions(device_map="auto")))
    with pytest.raises(UsageError, match="Unknown device map"):
        drain(load_model(str(model), options=LoadOptions(device_map="everywhere")))


def test_without_accelerate_a_sentence_says_what_to_install(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(DeviceError, match="needs accelerate") as said:
        drain(load_model(str(model), options=LoadOptions(device_map="auto")))
    assert "rome-workbench[accelerate]" in said.value.hint
