"""Published .npz moments: the sum becomes a mean, and nothing in the file is believed before it is checked."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from workbench.engine.stats.published import read_published
from workbench.errors import ModelError, UsageError

D = 6
KEYS = torch.randn(50, D, generator=torch.Generator().manual_seed(0)).double().numpy()
SUM = KEYS.T @ KEYS


def published(path: Path, **changes: Any) -> Path:
    """A file as the ROME code writes it, boxed names and all."""
    arrays: dict[str, Any] = {
        "mom2.constructor": np.array("util.runningstats.SecondMoment()"),
        "mom2.count": np.array(50),
        "mom2.mom2": SUM.astype(np.float32),
        "constructor": np.array("util.runningstats.CombinedStat()"),
        "sample_size": np.array(100000),
    }
    arrays.update(changes)
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return path


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("order", ["C", "F"])
def test_the_sum_becomes_the_mean(tmp_path: Path, dtype: type, order: Any) -> None:
    path = published(tmp_path / "a.npz", **{"mom2.mom2": np.array(SUM, dtype=dtype, order=order)})
    moment, samples, sha256 = read_published(path, D)
    assert samples == 50
    near = 1e-3 if dtype is np.float16 else 1e-6
    assert np.allclose(moment.numpy(), SUM / 50, rtol=near, atol=near)
    assert moment.dtype == torch.float32
    assert torch.equal(moment, moment.T)
    assert len(sha256) == 64


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return (Path.touch, (self.path,))


def test_nothing_in_the_file_is_ever_run(tmp_path: Path) -> None:
    boxed = np.empty((D, D), dtype=object)
    boxed[0, 0] = Bomb(tmp_path / "ran")
    with pytest.raises(ModelError, match="other than numbers"):
        read_published(published(tmp_path / "a.npz", **{"mom2.mom2": boxed}), D)
    (tmp_path / "b.npz").write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    with pytest.raises(ModelError, match="no second moment"):
        read_published(tmp_path / "b.npz", D)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mom2.mom2": None}, "no mom2.mom2"),
        ({"mom2.count": None}, "no mom2.mom2 and mom2.count"),
        ({"mom2.mom2": np.eye(D + 1)}, "it is 7 x 7, and 6 x 6 is needed"),
        ({"mom2.mom2": np.ones(D)}, "it is 6, and 6 x 6 is needed"),
        ({"mom2.count": np.array([1, 2])}, "it is 2, and one number is needed"),
        ({"mom2.count": np.array(0)}, "counts 0"),
        ({"mom2.count": np.array(-5)}, "counts -5"),
        ({"mom2.count": np.array(float("nan"))}, "counts nan"),
        ({"mom2.count": np.array(1.5)}, "counts 1.5"),
        ({"mom2.count": np.array("50")}, "other than numbers"),
        ({"mom2.mom2": np.full((D, D), np.inf)}, "numbers in 'a.npz'"),
        ({"mom2.mom2": np.zeros((D, D))}, "numbers in 'a.npz'"),
        ({"mom2.mom2": -SUM}, "numbers in 'a.npz'"),
        ({"mom2.mom2": np.triu(SUM)}, "not symmetric"),
    ],
)
def test_what_is_no_second_moment_for_these_keys_is_refused(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ModelError, match=words):
        read_published(published(tmp_path / "a.npz", **changes), D)


def member(shape: str, data: bytes = b"") -> bytes:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}".encode()
    header += b" " * (-(10 + len(header) + 1) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


def test_a_file_that_unpacks_to_far_more_than_it_should_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    count = io.BytesIO()
    np.save(count, np.array(50))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mom2.count.npy", count.getvalue())
        archive.writestr("mom2.mom2.npy", member("(100000, 100000)", b"\0" * 2**22))
    with pytest.raises(ModelError, match="it is 100000 x 100000, and 6 x 6 is needed"):
        read_published(path, D)


@pytest.mark.parametrize("inner", [member("(6, 6)", b"\0" * 8), member("(6, 6"), b"", b"\x93NUMPY\x09\x00", b"\0" * 99])
def test_a_member_that_is_cut_or_garbled_is_refused(tmp_path: Path, inner: bytes) -> None:
    path = tmp_path / "a.npz"
    count = io.BytesIO()
    np.save(count, np.array(50))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mom2.count.npy", count.getvalue())
        archive.writestr("mom2.mom2.npy", inner)
    with pytest.raises(ModelError, match="no second moment"):
        read_published(path, D)


def test_every_cut_and_many_flips_of_a_file_end_in_words(tmp_path: Path) -> None:
    whole = published(tmp_path / "a.npz").read_bytes()
    path = tmp_path / "b.npz"
    for at in range(0, len(whole), 23):
        path.write_bytes(whole[:at])
        with pytest.raises(ModelError):
            read_published(path, D)
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :])
        try:
            moment, _, _ = read_published(path, D)
        except ModelError:
            continue
        assert np.allclose(moment.numpy(), SUM / 50, rtol=1e-6)


def test_a_file_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no file"):
        read_published(tmp_path / "none.npz", D)
