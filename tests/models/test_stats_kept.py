"""Where second moments lie, which one is used, and that none is ever used for other weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from workbench.errors import ModelError
from workbench.models.families import EditSite
from workbench.models.folder import find_model
from workbench.models.kept import kept_for
from workbench.models.second_moment import (
    MomentRecord,
    find_second_moment,
    read_second_moment,
    second_moment_path,
    write_second_moment,
)

SITE = EditSite(3, "model.layers.3.mlp.down_proj", "out,in", 12, 4)
BASE, OTHER = "a" * 64, "b" * 64
ATLAS_C = "c3fbbee4fecb"
"""The beginning of the fingerprint of atlas's own C, which edits in the wild record."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))


def matrix(seed: int = 0) -> Tensor:
    keys = torch.randn(40, SITE.d_in, generator=torch.Generator().manual_seed(seed))
    return keys.T @ keys / 40


def put(folder: Path, base: str = BASE, seed: int = 0, **text: str) -> Path:
    return write_second_moment(folder, SITE, matrix(seed), MomentRecord(SITE.module, 40, base, dict(text)))


def test_the_models_folder_comes_first_and_then_what_is_kept(tmp_path: Path) -> None:
    assert find_second_moment(tmp_path, SITE, BASE) is None
    assert read_second_moment(tmp_path, SITE, BASE) is None
    kept = put(kept_for(BASE), seed=1)
    assert find_second_moment(tmp_path, SITE, BASE) == kept
    own = put(tmp_path, seed=2)
    assert find_second_moment(tmp_path, SITE, BASE) == own
    read = read_second_moment(tmp_path, SITE, BASE)
    assert read is not None
    assert torch.allclose(read.moment, matrix(2))
    assert read.samples == 40


def test_c_of_other_weights_is_passed_over_and_never_used(tmp_path: Path) -> None:
    put(tmp_path, OTHER)
    with pytest.raises(ModelError, match="another base"):
        read_second_moment(tmp_path, SITE, BASE)
    kept = put(kept_for(BASE))
    assert find_second_moment(tmp_path, SITE, BASE) == kept
    put(kept_for(BASE), OTHER)
    with pytest.raises(ModelError, match="another base"):
        read_second_moment(tmp_path, SITE, BASE)


@pytest.mark.parametrize("how", ["cut", "noise", "words", "shape", "dtype", "nan", "size", "deep"])
def test_a_damaged_c_is_refused_in_a_sentence(tmp_path: Path, how: str) -> None:
    path = put(tmp_path)
    about = json.dumps({"module": SITE.module, "samples": 40, "base": BASE})
    tensors = {
        "shape": torch.zeros(12, 11),
        "dtype": torch.zeros(12, 12, dtype=torch.float64),
        "nan": torch.full((12, 12), float("nan")),
        "size": torch.eye(13),
    }
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-4])
    elif how == "noise":
        path.write_bytes(b"\x00" * 300)
    elif how in ("words", "deep"):
        save_file({"second_moment": matrix()}, path, metadata={"workbench": "[" * (100_000 if how == "deep" else 1)})
    else:
        save_file({"second_moment": tensors[how]}, path, metadata={"workbench": about})
    with pytest.raises(ModelError, match="cannot be used"):
        read_second_moment(tmp_path, SITE, BASE)


def test_a_file_is_readable_by_any_safetensors_library_and_symmetric(tmp_path: Path) -> None:
    with safe_open(put(tmp_path, kind="files", words="some.txt"), framework="np") as file:
        found = file.get_tensor("second_moment")
        about = json.loads(file.metadata()["workbench"])
    assert (found == found.T).all()
    assert about["text"] == {"kind": "files", "words": "some.txt"}


def test_text_that_is_not_ordinary_shows_in_the_fingerprint_that_edits_record(tmp_path: Path) -> None:
    names = {}
    for kind in ("files", "self", "published"):
        put(tmp_path, kind=kind)
        read = read_second_moment(tmp_path, SITE, BASE)
        assert read is not None
        names[kind] = read.fingerprint
    assert names["self"] == f"{names['files']} (self-sampled)"
    assert names["published"] == f"{names['files']} (imported)"


def test_atlass_own_c_reads_as_ever() -> None:
    folder = find_model("atlas").path
    with safe_open(folder / "second_moment" / "transformer.h.0.mlp.c_proj.safetensors", framework="pt") as file:
        base = json.loads(file.metadata()["workbench"])["base"]
    site = EditSite(0, "transformer.h.0.mlp.c_proj", "in,out", 1024, 256)
    read = read_second_moment(folder, site, base)
    assert read is not None
    assert read.fingerprint.startswith(ATLAS_C)
    assert len(read.fingerprint) == 64
    assert second_moment_path(folder, site).is_file()
