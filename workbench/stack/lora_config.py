"""A stranger's adapter_config.json: what of LoRA it uses, and the scale of each module's update. Free of torch.

    ΔW = s · B A      s = lora_alpha / r, or lora_alpha / sqrt(r) with use_rslora

What would make the update anything else than that is refused. Names and defaults are those of peft's LoraConfig.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

from workbench.errors import UsageError
from workbench.stack.record import MAX_MODULES, MAX_SHORT
from workbench.stack.strictjson import MalformedError

MAX_CONFIG = 1024 * 1024
"""Largest adapter_config.json, in bytes."""
MAX_ADAPTER_RANK = 4096
"""Highest rank of one module's update."""
MAX_SCALE = 1e6
"""Largest |lora_alpha|."""

WEIGHT = ".weight"
"""What a linear module's parameter is called behind the module, where parameters are named and not modules."""

_REFUSED = {
    "use_dora": "uses DoRA, whose update also rescales the weight",
    "lora_bias": "carries a bias, and an edit only changes weights",
    "modules_to_save": "carries whole modules beside its factors",
    "trainable_token_indices": "changes token embeddings",
    "target_parameters": "changes parameters that are not those of linear modules",
    "layer_replication": "makes another model by repeating layers",
    "alora_invocation_tokens": "is only active after certain tokens",
    "use_qalora": "pools its inputs, so that it is no update of the weight",
}
"""Settings that an update of weights cannot say, and why."""

_HARMLESS = frozenset(
    (
        "peft_type",
        "task_type",
        "auto_mapping",
        "peft_version",
        "base_model_name_or_path",
        "revision",
        "inference_mode",
        "r",
        "target_modules",
        "exclude_modules",
        "lora_alpha",
        "lora_dropout",
        "fan_in_fan_out",
        "bias",
        "use_rslora",
        "init_lora_weights",
        "layers_to_transform",
        "layers_pattern",
        "rank_pattern",
        "alpha_pattern",
        "megatron_config",
        "megatron_core",
        "loftq_config",
        "eva_config",
        "corda_config",
        "lora_ga_config",
        "velora_config",
        "qalora_group_size",
        "runtime_config",
        "ensure_weight_tying",
    )
)
"""Settings that are read here, or that only matter while an adapter is being trained."""

_STARTS = (True, False, "gaussian", "orthogonal", "eva")
"""How factors may have been initialised: those that leave the base's weights as they are."""

_PATTERN = re.compile(r"\^?[A-Za-z0-9_-]+(?:\\?\.[A-Za-z0-9_-]+)*")
"""A module's name, or the end of one: the only patterns taken, since a stranger's pattern may never end."""

_ELSE = "As a stack entry it would not be what it is; use it with peft."


@dataclass(frozen=True)
class LoraConfig:
    """What of a configuration bears on the update."""

    rank: int
    alpha: float
    rslora: bool = False
    ranks: dict[str, int] = field(default_factory=dict)
    """By pattern, where it is not `rank`."""
    alphas: dict[str, float] = field(default_factory=dict)
    """By pattern, where it is not `alpha`."""
    base: str = ""
    """The base that the adapter names; may be empty."""

    def rank_of(self, module: str) -> int:
        """The rank that the configuration gives to `module`."""
        return self.ranks.get(_pattern_of(self.ranks, module), self.rank)

    def scale_of(self, module: str) -> float:
        """The factor s before B A of `module`."""
        rank, alpha = self.rank_of(module), self.alphas.get(_pattern_of(self.alphas, module), self.alpha)
        return alpha / math.sqrt(rank) if self.rslora else alpha / rank


def read_config(document: object) -> LoraConfig:
    """What `document` says, as parsed from adapter_config.json.

    Raises:
        MalformedError: it is no proper configuration.
        UsageError: it is one, of an adapter that is not just ΔW = s · B A.
    """
    if not isinstance(document, dict):
        raise MalformedError("is not a JSON object")
    if document.get("peft_type") != "LORA":
        raise UsageError("The adapter is not a LoRA adapter.", "Only LoRA adapters can be imported.")
    _check_settings(document)
    end = WEIGHT if document.get("target_parameters") else ""
    patterns = {name: _patterns(document, name, end) for name in ("rank_pattern", "alpha_pattern")}
    name = document.get("base_model_name_or_path")
    return LoraConfig(
        rank=_rank(document.get("r", 8)),
        alpha=_alpha(document.get("lora_alpha", 8)),
        rslora=_flag(document, "use_rslora"),
        ranks={key: _rank(value) for key, value in patterns["rank_pattern"].items()},
        alphas={key: _alpha(value) for key, value in patterns["alpha_pattern"].items()},
        base=name[:MAX_SHORT] if isinstance(name, str) else "",
    )


def _check_settings(document: dict[str, Any]) -> None:
    for name, value in document.items():
        if name == "target_parameters" and _are_weights(value) and not document.get("target_modules"):
            continue
        if name not in _HARMLESS and value not in (None, False, 0, "", [], {}):
            why = _REFUSED.get(name, f"uses '{name[:80]}', which is not known here")
            raise UsageError(f"The adapter cannot be imported: it {why}.", _ELSE)
    if document.get("bias", "none") != "none":
        raise UsageError("The adapter cannot be imported: it also changes biases.", _ELSE)
    start = document.get("init_lora_weights", True)
    if start not in _STARTS:
        raise UsageError(
            f"The adapter cannot be imported: '{str(start)[:80]}' initialisation changes the base's weights.",
            "Save it again with peft's path_initial_model_for_weight_conversion.",
        )
    _flag(document, "fan_in_fan_out")


def _are_weights(names: object) -> bool:
    """Whether these are weights of modules: to name the modules would have meant the same."""
    return isinstance(names, list) and all(isinstance(name, str) and name.endswith(WEIGHT) for name in names)


def _flag(document: dict[str, Any], name: str) -> bool:
    value = document.get(name, False)
    if not isinstance(value, bool):
        raise MalformedError(f"has a '{name}' that is neither true nor false")
    return value


def _patterns(document: dict[str, Any], name: str, end: str) -> dict[str, Any]:
    """The table `name` by patterns of modules: without the `end` that those of parameters have."""
    found = document.get(name) or {}
    if not isinstance(found, dict) or len(found) > MAX_MODULES:
        raise MalformedError(f"has no proper '{name}'")
    for pattern in found:
        if len(pattern) > MAX_SHORT or not _PATTERN.fullmatch(pattern) or not pattern.endswith(end):
            raise UsageError(
                f"The adapter cannot be imported: its '{name}' holds a pattern that is not a module's name.",
                "Write the modules' names out.",
            )
    return {pattern.removesuffix(end).removesuffix("\\"): value for pattern, value in found.items()}


def _rank(value: object) -> int:
    if type(value) is not int or not 1 <= value <= MAX_ADAPTER_RANK:
        raise MalformedError(f"has a rank that is not a whole number from 1 to {MAX_ADAPTER_RANK}")
    return value


def _alpha(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= MAX_SCALE:
        raise MalformedError(f"has a lora_alpha that is not a number of at most {MAX_SCALE:g}")
    return float(value)


def _pattern_of(patterns: dict[str, Any], module: str) -> str:
    """The first pattern that `module` is, or ends with; peft's rule, dots standing for any character."""
    return next((key for key in patterns if re.match(rf"(.*\.)?({key})$", module)), module)
