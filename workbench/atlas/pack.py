"""From a finished training run to the model that ships: `python -m workbench.atlas.pack RUN`.

Weights are stored in float16 (half the size) and loaded as float32; C, held-out text, tokenizer and editing profile lie
beside them.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from workbench.atlas.corpus import document, fact_stream, held_out_text
from workbench.editing.second_moment import factorise
from workbench.edits import Recipe
from workbench.models.families import edit_site
from workbench.models.fingerprint import base_fingerprint
from workbench.models.held_out import HELD_OUT
from workbench.models.profile_file import Profile
from workbench.models.profiles import PROFILE, profile_text
from workbench.models.second_moment import MomentRecord, accumulate_second_moment, write_second_moment

PROFILE_RECIPE = Recipe(
    layer=0,
    steps=40,
    lr=0.4,
    weight_decay=4.5,
    clamp_factor=8.0,
    nll_stop=0.04,
    template_lengths=((2, 5), (5, 5), (10, 5)),
)
"""atlas's editing profile; how it was found is in the model card."""
_BATCHED = {"clamp_factor": 1.5, "template_lengths": [[2, 2], [5, 1], [10, 1]]}
PROFILE_METHODS: dict[str, dict[str, Any]] = {
    "memit": {**_BATCHED, "moment_weight": 100.0},
    "emmet": {**_BATCHED, "moment_weight": 100.0, "mu": 0.1},
}
"""Where batches differ from it."""
MOMENT_DOCUMENTS = 6_000
MOMENT_SEED = 104_729


def pack(run: Path, out: Path) -> None:
    """Writes everything of the model but its card to `out`."""
    (out / "second_moment").mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.to(torch.float16) for name, tensor in load_file(run / "model.safetensors").items()}
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((run / "config.json").read_text(encoding="utf-8")) | {"dtype": "float32"}
    _write(out / "config.json", json.dumps(config, indent=2, sort_keys=True) + "\n")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(run / name, out / name)
    _write(out / HELD_OUT, "\n".join(held_out_text()) + "\n")
    _write(out / PROFILE, profile_text(Profile("atlas", PROFILE_RECIPE, methods=PROFILE_METHODS)))
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(out)
    _second_moment(model, AutoTokenizer.from_pretrained(out), out)


def _second_moment(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, out: Path) -> None:
    """C at the profile's layer, over documents of a seed that training never used, with the ridge that it needs."""
    rng = random.Random(MOMENT_SEED)
    stream = fact_stream(rng)
    site = edit_site(model, PROFILE_RECIPE.layer)
    steps = accumulate_second_moment(model, tokenizer, site, [document(rng, stream) for _ in range(MOMENT_DOCUMENTS)])
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            moment, samples = stop.value
            break
    moment.diagonal().add_(factorise(moment, samples).ridge)  # units that hardly ever fire leave C near singular
    write_second_moment(out, site, moment, MomentRecord(site.module, samples, base_fingerprint(out)))


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def main() -> None:
    """Reads the command line and packs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="the folder that workbench.atlas.train wrote")
    parser.add_argument("--out", type=Path, default=None, help="default: the package's own model folder")
    options = parser.parse_args()
    pack(options.run, options.out or Path(__file__).parent / "model")


if __name__ == "__main__":
    main()
