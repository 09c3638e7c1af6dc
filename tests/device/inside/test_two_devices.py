"""A model of which one part is on one device and the rest on another."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn
from transformers import PreTrainedModel

from tests import zoo
from tests.device.inside.making import CLOSE, apart, open_at, said, verified
from tests.engine.making import OTHER, REQUEST, drain, weight_bytes
from workbench.engine.engine import Engine
from workbench.engine.exporting import export_merged
from workbench.models.families import decoder_blocks
from workbench.models.fingerprint import base_fingerprint
from workbench.models.load import load_model
from workbench.models.options import LoadOptions

pytest.importorskip("accelerate")


def halves(model: PreTrainedModel, cut: int, first: str, second: str) -> dict[str, str]:
    """A device map: what comes before block `cut` on the first device, that block and what comes after on the second.

    The last norm and the head follow the blocks, unless the head is the embedding.
    """
    blocks = decoder_blocks(model)
    (prefix,) = (name for name, module in model.named_modules() if module is blocks)
    found = {f"{prefix}.{number}": first if number < cut else second for number in range(len(blocks))}
    tied = bool(model.config.tie_word_embeddings)
    after = [name for name, module in model.named_modules() if module is model.get_output_embeddings() and not tied]  # type: ignore[no-untyped-call]
    for name, module in model.named_modules():
        if name and not [*module.children()] and not name.startswith(f"{prefix}."):
            found[name] = second if name in after or "norm" in name or "ln_f" in name else first
    return found


@pytest.fixture(scope="module", params=["llama", "gpt2", "gemma2", "deepseek_v3"])
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(family: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the family. Read only."""
    return zoo.save(tmp_path_factory.mktemp("zoo") / family, family)


@pytest.mark.parametrize(
    "cut", [1, 2], ids=["the edited block begins the second", "the blocks above are on the second"]
)
def test_a_spread_model_is_edited_as_one_on_the_cpu(
    device: str, other_device: str, folder: Path, family: str, cut: int, tmp_path: Path
) -> None:
    options = LoadOptions(device_map=halves(zoo.tiny(family), cut, device, other_device))
    here = open_at(folder, tmp_path / "here", "cpu")
    there = open_at(folder, tmp_path / "there", "auto", options=options)
    assert places(there.core.loaded.model) == {device, other_device}
    weight = there.core.live.parameter(there.core.site(1).module)
    assert str(weight.device) == (other_device if cut == 1 else device)
    before = weight_bytes(there)
    for engine in (here, there):
        events, done = drain(engine.apply(REQUEST))
        assert done
        assert said(events) == []
        drain(engine.apply(OTHER, {"layer": 2}))
    assert apart(there, here) < CLOSE
    assert verified(there) == {"bit-identical"}
    drain(there.undo(2))
    assert weight_bytes(there) == before


def test_everything_else_works_on_a_spread_model(device: str, other_device: str, tmp_path: Path) -> None:
    folder = zoo.save(tmp_path / "model", "llama")
    options = LoadOptions(device_map=halves(zoo.tiny("llama"), 2, device, other_device))
    there = open_at(folder, tmp_path / "stack", "auto", options=options)
    batch = {"method": "memit", "layers": [1, 2], "second_moment": False}
    assert drain(there.apply_batch([REQUEST, OTHER], batch))[1]
    drain(there.apply_together([REQUEST, OTHER]))
    for steps in (there.probe(), there.health(), there.trace(OTHER.prompt, OTHER.subject), there.generate("Clara")):
        drain(steps)
    merged_is_the_cpus(there, folder, tmp_path)


def merged_is_the_cpus(there: Engine, folder: Path, tmp_path: Path) -> None:
    export_merged(there, tmp_path / "merged")
    there.close()
    export_merged(open_at(folder, tmp_path / "stack", "cpu", write=False), tmp_path / "expected")
    assert base_fingerprint(tmp_path / "merged") == base_fingerprint(tmp_path / "expected")


def test_a_model_may_be_on_the_second_device_alone(other_device: str, device: str, tmp_path: Path) -> None:
    assert device != other_device
    loaded = drain(load_model(str(zoo.save(tmp_path / "model", "gpt2")), other_device))[1]
    assert places(loaded.model) == {other_device}
    engine = open_at(tmp_path / "model", tmp_path / "stack", other_device)
    assert drain(engine.apply(REQUEST))[1]
    assert verified(engine) == {"bit-identical"}


def places(model: nn.Module) -> set[str]:
    return {str(parameter.device) for parameter in model.parameters()}
