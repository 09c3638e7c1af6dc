"""Every family of the zoo through the engine: undo to the last byte, exports that answer alike, half precision."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from tests.engine.comparing import PROMPTS, RELATIVE, difference, logits, merged_difference
from tests.engine.making import OTHER, REQUEST, drain, open_on, weight_bytes
from tests.zoo import FAMILIES, HYBRIDS, save
from workbench import events as ev
from workbench.engine.engine import Engine
from workbench.engine.exporting import export_merged, export_peft
from workbench.models.families import edit_site


@dataclass(frozen=True)
class Edited:
    """An engine with one edit; leave it as it is."""

    engine: Engine
    pristine: dict[str, bytes]
    """The weights before."""


@pytest.fixture(scope="module", params=[*FAMILIES, *HYBRIDS])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the family. Read only."""
    return save(tmp_path_factory.mktemp("zoo") / str(request.param), str(request.param))


@pytest.fixture(scope="module")
def edited(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edited]:
    engine = open_on(folder, tmp_path_factory.mktemp("stack") / "stack")
    pristine = weight_bytes(engine)
    assert drain(engine.apply(REQUEST))[1]
    yield Edited(engine, pristine)
    engine.close()


def test_an_edit_changes_one_weight_and_undo_restores_every_byte(edited: Edited) -> None:
    engine, pristine = edited.engine, edited.pristine
    module, with_edit = engine.core.site(1).module, weight_bytes(engine)
    assert {name for name in pristine if pristine[name] != with_edit[name]} == {f"{module}.weight"}
    drain(engine.undo())
    assert weight_bytes(engine) == pristine
    drain(engine.redo())
    assert weight_bytes(engine) == with_edit


def test_an_adapter_on_the_base_answers_as_the_edited_model(edited: Edited, tmp_path: Path) -> None:
    export_peft(edited.engine, tmp_path / "adapter")
    apart, moved = difference(edited.engine, tmp_path / "adapter", "float32")
    assert apart < RELATIVE["float32"]
    assert moved > 10 * apart


def test_a_merged_checkpoint_answers_to_the_bit_as_the_edited_model(edited: Edited, tmp_path: Path) -> None:
    export_merged(edited.engine, tmp_path / "merged")
    assert merged_difference(edited.engine, tmp_path / "merged") == 0


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_an_edit_in_half_precision_has_only_numbers_and_can_be_undone(folder: Path, dtype: str, tmp_path: Path) -> None:
    engine = open_on(folder, tmp_path / "stack", dtype)
    pristine, model = weight_bytes(engine), engine.core.loaded.model
    events, done = drain(engine.apply(OTHER, {"steps": 2}))
    assert done
    assert weight_bytes(engine) != pristine
    assert edit_site(model, 1).weight(model).dtype == getattr(torch, dtype)
    measured = [
        value
        for event in events
        if isinstance(event, ev.OptimStep | ev.NormReport | ev.KeyReady)
        for value in vars(event).values()
        if isinstance(value, float)
    ]
    assert len(measured) > 2 * 6
    assert all(math.isfinite(value) for value in measured)
    assert all(one.isfinite().all() for one in logits(model, engine.core.loaded.tokenizer, PROMPTS))
    drain(engine.undo())
    assert weight_bytes(engine) == pristine
    engine.close()
