"""The base's perplexity kept between runs: read again where nothing has changed, measured where anything is odd."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.damage import edited
from tests.engine.making import REQUEST, drain, open_on
from workbench.engine.kept_perplexity import base_perplexity
from workbench.models.families import edit_site
from workbench.models.float32 import hold_float32
from workbench.models.kept import VARIABLE, kept_for
from workbench.models.load import LoadedModel, load_model
from workbench.probing.perplexity import perplexity

LINES = ("One line of text.", "And another one.")


@pytest.fixture
def loaded(small: Path) -> LoadedModel:
    found: LoadedModel = drain(load_model(str(small), "cpu"))[1]
    return found


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


class Measured:
    """Measures a little more every time."""

    def __init__(self, first: float | None = 12.25) -> None:
        self.value, self.times = first, 0

    def __call__(self) -> float | None:
        self.times += 1
        return None if self.value is None else self.value + self.times - 1


def ask(loaded: LoadedModel, measured: Measured, lines: Sequence[str] = LINES) -> float | None:
    return base_perplexity(loaded, lines, measured)


def test_a_second_process_measures_nothing(loaded: LoadedModel) -> None:
    measured = Measured()
    assert [ask(loaded, measured), ask(loaded, measured)] == [12.25, 12.25]
    assert measured.times == 1


def test_without_text_nothing_is_measured_or_kept(loaded: LoadedModel, cache: Path) -> None:
    measured = Measured()
    assert ask(loaded, measured, ()) is None
    assert (measured.times, [*cache.rglob("perplexity")]) == (0, [])


@pytest.mark.parametrize("value", [None, float("inf")])
def test_what_is_no_number_is_not_kept(loaded: LoadedModel, cache: Path, value: float | None) -> None:
    measured = Measured(value)
    assert [ask(loaded, measured), ask(loaded, measured)] == [value, value]
    assert (measured.times, [*cache.rglob("perplexity")]) == (2, [])


@pytest.mark.parametrize(
    "change",
    [
        lambda loaded: dataclasses.replace(loaded, fingerprint="f" * 64),
        lambda loaded: dataclasses.replace(loaded, tokenizer_fingerprint="f" * 64),
        lambda loaded: dataclasses.replace(loaded, keep_fp32=True),
    ],
)
def test_another_base_is_measured_anew(loaded: LoadedModel, change: Callable[[LoadedModel], LoadedModel]) -> None:
    measured = Measured()
    assert [ask(loaded, measured), ask(change(loaded), measured), ask(loaded, measured)] == [12.25, 13.25, 12.25]


def test_another_text_or_another_release_is_measured_anew(loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = Measured()
    ask(loaded, measured)
    ask(loaded, measured, LINES[:1])
    ask(loaded, measured, ("One line of text.And another one.",))
    monkeypatch.setattr("torch.__version__", "9.9.9")
    ask(loaded, measured)
    assert measured.times == 4


def test_a_module_held_in_float32_is_another_reading_of_the_base(loaded: LoadedModel) -> None:
    measured, site = Measured(), edit_site(loaded.model, 1)
    site.weight(loaded.model).data = site.weight(loaded.model).to(torch.bfloat16)
    ask(loaded, measured)
    hold_float32(site.linear(loaded.model), site.layout)
    assert ask(loaded, measured) == 13.25


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda data: data[:-4],
        lambda _: b"[1, 2]",
        lambda data: data + b" " * 2**13,
        edited(lambda d: d["about"].update(device="cuda")),
        edited(lambda d: d["about"].pop("torch")),
        edited(lambda d: d.update(more=1)),
        edited(lambda d: d.update(perplexity="12.25")),
        edited(lambda d: d.update(perplexity=None)),
        edited(lambda d: d.update(perplexity=-3.5)),
        edited(lambda d: d.update(perplexity=float("nan"))),
        edited(lambda d: d.update(perplexity=float("inf"))),
    ],
)
def test_an_odd_file_is_ignored_and_made_again(
    loaded: LoadedModel, cache: Path, damage: Callable[[bytes], bytes]
) -> None:
    ask(loaded, Measured())
    (path,) = cache.rglob("perplexity/*.json")
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    measured = Measured()
    assert ask(loaded, measured) == 12.25
    assert measured.times == 1
    assert path.read_bytes() == whole


def test_where_nothing_can_be_kept_it_is_measured_all_the_same(loaded: LoadedModel) -> None:
    kept_for(loaded.fingerprint).mkdir(parents=True, exist_ok=True)
    (kept_for(loaded.fingerprint) / "perplexity").write_text("a file where the folder should be")
    measured = Measured()
    assert [ask(loaded, measured), ask(loaded, measured)] == [12.25, 13.25]


def test_an_engine_opened_again_reads_no_text_for_the_base_and_all_of_it_for_an_edit(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[float] = []

    def counted(*args: Any) -> float:
        read.append(perplexity(*args))
        return read[-1]

    monkeypatch.setattr("workbench.engine.core.perplexity", counted)
    first = open_on(small, tmp_path / "first")
    base = first.core.perplexity_base()
    first.close()
    again = open_on(small, tmp_path / "second")
    assert again.core.perplexity_here() == again.core.perplexity_base() == base == read[0]
    assert len(read) == 1
    drain(again.apply(REQUEST))
    edited = again.core.perplexity_here()
    again.close()
    assert (len(read), edited) == (2, read[1])
    assert edited != base
    reopened = open_on(small, tmp_path / "second")
    assert (reopened.core.perplexity_here(), reopened.core.perplexity_base()) == (edited, base)
    assert len(read) == 3
    reopened.close()
