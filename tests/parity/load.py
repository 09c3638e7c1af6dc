"""Reads a folder of golden numbers: the model, its requests, hyper-parameters and expected tensors."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from workbench.editing import SecondMoment
from workbench.edits import EditRequest, Method, Recipe

FOLDER = Path(__file__).parent


@dataclass(frozen=True, eq=False)
class Parity:
    """One model with its cases. Shared by all tests: copy the model before you change it."""

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    tensors: dict[str, Tensor]
    document: dict[str, Any]

    @cached_property
    def cases(self) -> dict[str, dict[str, Any]]:
        return {case["id"]: case for case in self.document["cases"]}

    @cached_property
    def requests(self) -> dict[str, dict[str, Any]]:
        return {request["id"]: request for request in self.document["requests"]}

    @property
    def templates(self) -> tuple[str, ...]:
        return tuple(self.document["context_templates"])

    def request(self, name: str) -> EditRequest:
        entry = self.requests[name]
        return EditRequest(entry["prompt"], entry["subject"], entry["target"])

    def second_moments(self, case: dict[str, Any]) -> list[SecondMoment | None]:
        """Of every layer of a batch's case."""
        return [self.second_moment({"second_moment": name}) for name in case["second_moment"].values()]

    def second_moment(self, case: dict[str, Any]) -> SecondMoment | None:
        if case["second_moment"] is None:
            return None
        return SecondMoment(self.tensors[case["second_moment"]], self.document["second_moment"]["count"], "golden")


def recipe(case: dict[str, Any], method: Method) -> Recipe:
    """The recipe that `case` was made with."""
    settings = case["hparams"]
    return Recipe(
        method=method,
        layer=case["layer"] if "layer" in case else case["layers"][-1],
        steps=settings["v_num_grad_steps"],
        lr=settings["v_lr"],
        weight_decay=settings["v_weight_decay"],
        kl_factor=settings["kl_factor"],
        clamp_factor=settings["clamp_norm_factor"],
        loss_stop=settings["early_stop_loss"],
        second_moment=settings.get("use_second_moment", True),
        **_of_batches(case),
    )


def _of_batches(case: dict[str, Any]) -> dict[str, Any]:
    """The settings that batched methods alone have."""
    if case["kind"] != "batch":
        return {}
    weight = {"moment_weight": case["hparams"]["mom2_update_weight"]}
    own = {"layers": tuple(case["layers"])} if case["method"] == "memit" else {"mu": case["hparams"]["emmet_mu"]}
    return weight | own


def load(name: str) -> Parity:
    """The folder tests/parity/`name`."""
    folder = FOLDER / name
    model = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder / "model")
    document = json.loads((folder / "cases.json").read_text(encoding="utf-8"))
    return Parity(name, model, tokenizer, load_file(folder / "expected.safetensors"), document)
