"""Models that lie on several devices: accelerate's map, and how an edited module comes to stay where it is used.

accelerate keeps what does not fit on a GPU in host memory or on disk and lends it to the GPU for the length of one
forward pass. What is written to such a weight is forgotten, so a module that is to be edited is taken out of that.
"""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from workbench.errors import DeviceError, UsageError
from workbench.models.options import LoadOptions


def check_map(device: str, options: LoadOptions) -> None:
    """Raises UsageError or DeviceError if the model cannot be spread as `options` ask."""
    if not options.device_map:
        return
    if isinstance(options.device_map, str) and options.device_map != "auto":
        raise UsageError(f"Unknown device map '{options.device_map}'.", "Use --device-map auto.")
    if device != "auto":
        raise UsageError("Both a device and a device map are given.", "Give --device or --device-map.")
    if importlib.util.find_spec("accelerate") is None:
        raise DeviceError(
            "--device-map needs accelerate, which is not installed.", "pip install 'rome-workbench[accelerate]'"
        )


def map_settings(options: LoadOptions) -> dict[str, Any]:
    """What transformers is told of the map, with a folder for what goes to disk; see `clear_with`."""
    table = options.device_map if isinstance(options.device_map, str) else dict(options.device_map)
    return {"device_map": table, "offload_folder": tempfile.mkdtemp(prefix="workbench-offload-")}


def clear_with(model: PreTrainedModel, settings: dict[str, Any]) -> None:
    """Deletes the folder of `settings` when the model is gone, or the process ends."""
    weakref.finalize(model, shutil.rmtree, settings["offload_folder"], True)


def settle_inputs(model: PreTrainedModel) -> None:
    """Makes `model.device` a device: that of its first parameter, which is brought home if it is lent."""
    if model.device.type == "meta":
        name, _ = next(model.named_parameters())
        bring_home(model, name.rpartition(".")[0])


def bring_home(model: nn.Module, module: str) -> None:
    """Makes the parameters of `module` stay on the device where they are used; nothing to do where they do already."""
    linear: Any = model.get_submodule(module)
    lending = [hook for hook in _hooks(getattr(linear, "_hf_hook", None)) if getattr(hook, "offload", False)]
    if not lending:
        return
    from accelerate.hooks import AlignDevicesHook, add_hook_to_module, remove_hook_from_module
    from accelerate.utils import set_module_tensor_to_device

    hook = lending[0]
    values = {name: hook.weights_map[name] for name, _ in linear.named_parameters(recurse=False)}
    remove_hook_from_module(linear)
    for name, value in values.items():
        set_module_tensor_to_device(linear, name, hook.execution_device, value=value.clone())
        getattr(linear, name).requires_grad_(False)
    add_hook_to_module(linear, AlignDevicesHook(hook.execution_device))


def _hooks(hook: Any) -> Iterator[Any]:
    """The hooks of accelerate on one module, one by one."""
    if hook is not None:
        yield from getattr(hook, "hooks", (hook,))
