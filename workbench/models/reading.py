"""Reading a checkpoint through transformers: its configuration, its weights, and why it cannot be read, in words."""

from __future__ import annotations

import importlib.util
import pickle
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.utils import logging as transformers_logging

from workbench.errors import DeviceError, ModelError, WorkbenchError
from workbench.models.config_file import check_config
from workbench.models.device import is_out_of_memory
from workbench.models.folder import is_pickle, weight_files
from workbench.models.options import LoadOptions
from workbench.models.placing import clear_with, map_settings
from workbench.models.quantised import check_editable
from workbench.models.task import Tell

if TYPE_CHECKING:
    from transformers import PretrainedConfig

_READING = threading.Lock()
"""transformers has one place for who is told of progress."""


@dataclass(frozen=True)
class Asked:
    """What is to be read, and how."""

    folder: Path
    name: str
    """What the person calls it."""
    dtype: torch.dtype | str
    """"auto": as stored."""
    device: torch.device
    options: LoadOptions


def open_config(folder: Path, name: str, *, trust_remote_code: bool) -> PretrainedConfig:
    """The configuration in `folder`, of whatever model that is.

    Raises:
        ModelError: it cannot be read, or is of a kind that transformers does not know.
    """
    check_config(folder, name)
    try:
        auto: Any = AutoConfig  # which transformers leaves untyped
        config: PretrainedConfig = auto.from_pretrained(folder, trust_remote_code=trust_remote_code)
    except Exception as error:  # transformers lets through whatever a strange configuration makes happen
        raise _unreadable(name, error) from error
    return config


def read_config(asked: Asked) -> PretrainedConfig:
    """The model's configuration.

    Raises:
        ModelError: it cannot be read, is of a kind that transformers does not know, or of one that cannot be edited.
    """
    name = asked.name
    config = open_config(asked.folder, name, trust_remote_code=asked.options.trust_remote_code)
    if getattr(config, "is_encoder_decoder", False):
        raise ModelError(
            f"'{name}' is an encoder-decoder model ({config.model_type}): only decoders can be edited.",
            "Choose a causal language model, such as GPT-2, Llama or Qwen.",
        )
    check_editable(config, name)
    return config


def read_model(asked: Asked, config: PretrainedConfig, tell: Tell) -> PreTrainedModel:
    """The model with its weights: on its device where accelerate is there to put them, else on the CPU.

    Raises:
        ModelError: the weights are not all there, or are not of this configuration.
        DeviceError: they do not fit.
    """
    settings = _settings(asked)
    try:
        with _told(tell):
            auto: Any = AutoModelForCausalLM
            model, found = auto.from_pretrained(asked.folder, config=config, **settings)
    except WorkbenchError:
        raise
    except Exception as error:  # as above
        if "Unrecognized configuration class" in str(error):
            raise _not_causal(asked.name, config) from error
        if is_out_of_memory(error):
            place = "here" if asked.options.device_map else f"on {asked.device}"
            raise DeviceError(
                f"'{asked.name}' does not fit {place}.", "Use a smaller --dtype, --device-map auto or --device cpu."
            ) from error
        raise _unreadable(asked.name, error) from error
    if asked.options.device_map:
        clear_with(model, settings)
    _check_complete(asked.name, found)
    read: PreTrainedModel = model
    return read


def _settings(asked: Asked) -> dict[str, Any]:
    """What transformers is told besides the configuration."""
    pickled = is_pickle(weight_files(asked.folder, allow_pickle=asked.options.allow_pickle))
    settings = {
        "dtype": asked.dtype,
        "use_safetensors": not pickled,
        "weights_only": True,
        "trust_remote_code": asked.options.trust_remote_code,
        "output_loading_info": True,
        "ignore_mismatched_sizes": True,  # they are told below, by name
    }
    if asked.options.device_map:
        return settings | map_settings(asked.options)
    if asked.device.type != "cpu" and importlib.util.find_spec("accelerate") is not None:
        return settings | {"device_map": {"": asked.device}}
    return settings


def _check_complete(name: str, found: dict[str, Any]) -> None:
    """Raises ModelError where transformers would go on with random numbers."""
    missing, mismatched = sorted(found["missing_keys"]), sorted(found["mismatched_keys"], key=str)
    if mismatched:
        tensor, stored, wanted = mismatched[0]
        raise ModelError(
            f"The weights of '{name}' are not those of its config.json: {tensor} is {_shape(stored)}, not "
            f"{_shape(wanted)}.",
            "Put config.json and weights of one model into the folder.",
        )
    if missing:
        raise ModelError(
            f"The weights of '{name}' are not all there: {missing[0]} is missing"
            + (f", and {len(missing) - 1} more." if len(missing) > 1 else "."),
            "Is it a causal language model? If so, download it again.",
        )


def _shape(sides: Iterable[int]) -> str:
    return " x ".join(str(side) for side in sides)


def _unreadable(name: str, error: Exception) -> ModelError:
    """Why transformers could not read it, in one sentence."""
    reason = str(error).strip()
    if isinstance(error, pickle.UnpicklingError) or "PytorchStreamReader" in reason:
        return ModelError(
            f"The weights of '{name}' are damaged or hold more than tensors, and are not read.",
            "Get the model as safetensors.",
        )
    if "does not recognize this architecture" in reason:
        return ModelError(
            f"'{name}' is of an architecture that transformers {transformers.__version__} does not know.",
            "Install a newer transformers. A model with code of its own needs --trust-remote-code.",
        )
    if "trust_remote_code" in reason:
        return ModelError(
            f"'{name}' comes with code of its own, which is not run.",
            "Read that code; if you trust it, add --trust-remote-code.",
        )
    first = reason.splitlines()[0][:200] if reason else type(error).__name__
    return ModelError(
        f"'{name}' cannot be loaded as a causal language model: {first}", "Try it with transformers alone."
    )


def _not_causal(name: str, config: PretrainedConfig) -> ModelError:
    """Why transformers has no causal language model of this configuration."""
    senses = [sense for sense in ("vision", "audio") if hasattr(config, f"{sense}_config")]
    if senses:
        return ModelError(
            f"'{name}' ({config.model_type}) takes {' and '.join(senses)} besides text, and transformers does not load "
            "it as a causal language model.",
            "Choose a text-only model, or one whose text part transformers loads alone, such as Gemma 3.",
        )
    return ModelError(f"'{name}' is no causal language model.", "Choose one, such as GPT-2, Llama or Qwen.")


class _Counted:
    """What transformers goes through while it loads, with `tell` told after each."""

    def __init__(self, items: Any, tell: Tell) -> None:
        self._items, self._tell = items, tell

    def __iter__(self) -> Iterator[Any]:
        for done, item in enumerate(self._items):
            self._tell(done, len(self._items))
            yield item


@contextmanager
def _told(tell: Tell) -> Iterator[None]:
    """Within, transformers draws no bar, and says how far it is to `tell` instead."""
    logging: Any = transformers_logging  # partly untyped
    logging.set_verbosity_error()
    logging.disable_progress_bar()

    def bar(factory: Callable[..., Any], given: tuple[Any, ...], options: dict[str, Any]) -> Any:
        if options.get("desc") == "Loading weights" and given:
            return _Counted(given[0], tell)
        return factory(*given, **options)

    with _READING:
        former = logging.set_tqdm_hook(bar)
        try:
            yield
        finally:
            logging.set_tqdm_hook(former)
