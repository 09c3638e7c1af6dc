"""A small model's folder with everything the engine looks for beside it, and ways to run the engine to its end."""

from __future__ import annotations

import json
import shutil
from collections.abc import Generator
from pathlib import Path
from typing import TypeVar

from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from workbench.edits import EditRequest, Neighbour, Recipe
from workbench.engine.engine import Engine, open_engine
from workbench.events import Event
from workbench.models.families import edit_site
from workbench.models.fingerprint import base_fingerprint
from workbench.models.held_out import HELD_OUT
from workbench.models.profiles import PROFILE
from workbench.models.second_moment import MomentRecord, write_second_moment

PARITY = Path(__file__).parent.parent / "parity"
T = TypeVar("T")

REQUEST = EditRequest(
    prompt="The mother tongue of {} is",
    subject="Naguib Mahfouz",
    target_new="Irish",
    target_true="Arabic",
    paraphrases=("Today Naguib Mahfouz teaches people to speak",),
    neighbours=(Neighbour("The mother tongue of Maria Callas is"),),
)
OTHER = EditRequest(prompt="{} plays the", subject="Knut Hamsun", target_new="silver trumpet")


def make_model(folder: Path, name: str = "gpt2", *, moment: bool = True) -> Path:
    """A parity model as a folder with C, an editing profile and held-out text."""
    shutil.copytree(PARITY / name / "model", folder)
    recipe = Recipe(layer=1, steps=6, template_lengths=((3, 2), (5, 2)))
    (folder / PROFILE).write_text(json.dumps(recipe.to_json()), encoding="utf-8")
    (folder / HELD_OUT).write_text("Vienna is the old capital city.\nClara plays the piano.\n", encoding="utf-8")
    if moment:
        site = edit_site(AutoModelForCausalLM.from_pretrained(folder), 1)
        matrix = load_file(PARITY / name / "expected.safetensors")["second_moment/1"]
        write_second_moment(folder, site, matrix, MomentRecord(site.module, 6279, base_fingerprint(folder)))
    return folder


def drain(steps: Generator[Event, None, T]) -> tuple[list[Event], T]:
    """All events, and what the generator returned."""
    events = []
    while True:
        try:
            events.append(next(steps))
        except StopIteration as stop:
            return events, stop.value


def open_on(model: Path, stack: Path, dtype: str = "auto", *, write: bool = True) -> Engine:
    """An engine on the CPU."""
    return drain(open_engine(str(model), device="cpu", dtype=dtype, stack=stack, write=write))[1]


def weight_bytes(engine: Engine) -> dict[str, bytes]:
    """Every parameter of the model as raw bytes."""
    import torch

    state = engine.core.loaded.model.state_dict()
    return {k: t.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes() for k, t in state.items()}
