"""A model from the Hub: only what is needed comes, with progress, and offline it is read from the cache."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests import zoo
from tests.hub_stand_in import Hub, point_at, serving
from tests.models.checkpoints import events_of, load
from workbench.errors import ModelError
from workbench.events import ModelLoading
from workbench.models.options import LoadOptions

NAME = "somebody/small-llama"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A Hub with a small Llama, which also holds code and the same weights in other forms."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    folder = zoo.save(tmp_path / "source", "llama")
    with serving() as served:
        point_at(served, monkeypatch)
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", served.url)
        monkeypatch.setattr(
            "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
            served.url + "/{repo_id}/resolve/{revision}/{filename}",
        )
        tree = {path.name: path.read_bytes() for path in folder.iterdir()}
        pickled = io.BytesIO()
        torch.save(load(folder).model.state_dict(), pickled)
        other = {
            "own.py": b"raise SystemExit",
            "original/weights.safetensors": b"x",
            "pytorch_model.bin": pickled.getvalue(),
        }
        served.put(NAME, tree | other)
        yield served


def fetched(tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / "cache").rglob("snapshots/*/*")}


def test_a_model_comes_with_progress_and_is_named_by_its_commit(hub: Hub, tmp_path: Path) -> None:
    events, loaded = events_of(NAME)
    assert any(isinstance(event, ModelLoading) and event.stage == f"fetching {NAME}" for event in events)
    assert loaded.revision == hub.repositories[NAME].branches["main"]
    assert loaded.fingerprint == load(tmp_path / "source").fingerprint
    assert {"config.json", "model.safetensors", "tokenizer.json", "editing_profile.json"} <= fetched(tmp_path)
    assert not {"own.py", "original", "pytorch_model.bin"} & fetched(tmp_path)


def test_pickle_files_come_only_where_they_are_allowed_and_there_are_no_others(hub: Hub, tmp_path: Path) -> None:
    load(NAME, LoadOptions(allow_pickle=True))
    assert "pytorch_model.bin" not in fetched(tmp_path)
    hub.put(NAME, {name: data for name, data in hub.repositories[NAME].files.items() if name != "model.safetensors"})
    with pytest.raises(ModelError, match="no safetensors"):
        load(NAME)
    load(NAME, LoadOptions(allow_pickle=True))
    assert "pytorch_model.bin" in fetched(tmp_path)


def test_offline_it_is_read_from_the_cache(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load(NAME)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    asked = len(hub.asked)
    again = load(NAME)
    assert (again.fingerprint, again.revision) == (first.fingerprint, first.revision)
    assert len(hub.asked) == asked


def test_a_model_that_the_hub_does_not_have_is_one_sentence(hub: Hub) -> None:
    with pytest.raises(ModelError, match="There is no model 'somebody/else'"):
        load("somebody/else")
