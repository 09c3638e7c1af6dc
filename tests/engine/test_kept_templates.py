"""Context templates kept between runs: read again where nothing has changed, made again where anything is odd."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.damage import edited
from tests.engine.making import drain
from workbench.editing import sample_templates
from workbench.edits import Recipe
from workbench.engine.kept_templates import templates_for
from workbench.models.kept import VARIABLE
from workbench.models.load import LoadedModel, load_model

RECIPE = Recipe(layer=1, seed=3, template_lengths=((2, 2), (4, 1)))


@pytest.fixture(scope="module")
def loaded(small: Path) -> LoadedModel:
    found: LoadedModel = drain(load_model(str(small), "cpu"))[1]
    return found


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def sampled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A number for every time that templates are sampled."""
    times: list[int] = []

    def counted(*args: Any) -> tuple[str, ...]:
        times.append(1)
        return sample_templates(*args)

    monkeypatch.setattr("workbench.engine.kept_templates.sample_templates", counted)
    return times


def kept_file(cache: Path) -> Path:
    (found,) = cache.rglob("templates/*.json")
    return found


def test_a_second_process_samples_nothing(loaded: LoadedModel, cache: Path, sampled: list[int]) -> None:
    first = templates_for(loaded, RECIPE)
    assert templates_for(loaded, RECIPE) == first
    assert len(sampled) == 1
    assert len(first) == 4


@pytest.mark.parametrize(
    "change",
    [{"seed": 4}, {"template_lengths": ((2, 2), (3, 1))}, {"template_lengths": ((4, 1), (2, 2))}],
)
def test_another_seed_or_other_lengths_have_templates_of_their_own(
    loaded: LoadedModel, cache: Path, sampled: list[int], change: dict[str, Any]
) -> None:
    first = templates_for(loaded, RECIPE)
    assert templates_for(loaded, dataclasses.replace(RECIPE, **change)) != first
    assert len(sampled) == 2
    assert templates_for(loaded, RECIPE) == first
    assert len(sampled) == 2


def test_what_else_is_in_the_recipe_does_not_matter(loaded: LoadedModel, cache: Path, sampled: list[int]) -> None:
    templates_for(loaded, RECIPE)
    templates_for(loaded, dataclasses.replace(RECIPE, layer=0, steps=3, lr=0.1))
    assert len(sampled) == 1


def test_another_base_or_another_release_samples_anew(
    loaded: LoadedModel, cache: Path, sampled: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    templates_for(loaded, RECIPE)
    templates_for(dataclasses.replace(loaded, fingerprint="f" * 64), RECIPE)
    templates_for(dataclasses.replace(loaded, tokenizer_fingerprint="f" * 64), RECIPE)
    monkeypatch.setattr("torch.__version__", "9.9.9")
    templates_for(loaded, RECIPE)
    assert len(sampled) == 4


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda data: data[:-9],
        lambda _: b"[1, 2]",
        lambda data: data + b" " * 2**20,
        edited(lambda d: d["about"].update(seed=9)),
        edited(lambda d: d["about"].pop("torch")),
        edited(lambda d: d.update(more=1)),
        edited(lambda d: d["templates"].pop()),
        edited(lambda d: d["templates"].__setitem__(0, "Before {}")),
        edited(lambda d: d["templates"].__setitem__(1, "no slot")),
        edited(lambda d: d["templates"].__setitem__(1, "two {}. {}")),
        edited(lambda d: d["templates"].__setitem__(1, "a\u001b[31m word. {}")),
        edited(lambda d: d["templates"].__setitem__(1, 7)),
        edited(lambda d: d.update(templates={"0": "{}"})),
    ],
)
def test_an_odd_file_is_ignored_and_made_again(
    loaded: LoadedModel, cache: Path, sampled: list[int], damage: Callable[[bytes], bytes]
) -> None:
    first = templates_for(loaded, RECIPE)
    path = kept_file(cache)
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert templates_for(loaded, RECIPE) == first
    assert len(sampled) == 2
    assert path.read_bytes() == whole


def test_where_nothing_can_be_kept_templates_are_sampled_all_the_same(
    loaded: LoadedModel, cache: Path, sampled: list[int]
) -> None:
    cache.write_text("a file where the folder should be")
    assert templates_for(loaded, RECIPE) == templates_for(loaded, RECIPE)
    assert len(sampled) == 2
