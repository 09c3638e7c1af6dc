"""The options that mean the same in every command."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from workbench.models.options import LoadOptions

Function = Callable[..., Any]


@dataclass(frozen=True)
class Common:
    """The common options as they were given."""

    model: str | None = None
    """None: the one the stack is made for, else atlas."""
    stack: Path | None = None
    """None: edits/<model>."""
    device: str = "auto"
    dtype: str = "auto"
    json: bool = False
    device_map: str | None = None
    keep_fp32: bool = False
    allow_pickle: bool = False
    trust_remote_code: bool = False

    def loading(self, *, rehash: bool = False) -> LoadOptions:
        """How the model is to be loaded; with `rehash` every weight file is hashed, whatever is known of it."""
        return LoadOptions(self.device_map or "", self.keep_fp32, self.allow_pickle, self.trust_remote_code, rehash)


def stack_options(function: Function) -> Function:
    """--stack, --model and --json, for commands that need no model; given to the command as `common`."""
    return _gathered(function, [*_STACK])


def engine_options(function: Function) -> Function:
    """--model, --stack, --json and how to load the model; given to the command as `common`."""
    return _gathered(function, [*_STACK, *_ENGINE])


def model_options(function: Function) -> Function:
    """--model, --json and how to load the model, for commands that need no stack; given as `common`."""
    return _gathered(function, [_MODEL, _STACK[-1], *_ENGINE])


def loading_options(function: Function) -> Function:
    """--model, --json and how to load the model, where neither a model nor a stack is the argument; as `common`."""
    return _gathered(function, [_ONLY_MODEL, _STACK[-1], *_ENGINE])


_ONLY_MODEL = click.option("--model", metavar="MODEL", help="A folder or a Hub name. [default: atlas]")
_MODEL = click.option("--model", metavar="MODEL", help="Another way to name MODEL. [default: atlas]")
_STACK: list[Callable[[Function], Function]] = [
    click.option("--model", metavar="MODEL", help="A folder or a Hub name. [default: the stack's, else atlas]"),
    click.option("--stack", metavar="FOLDER", type=click.Path(path_type=Path), help="[default: edits/<model>]"),
    click.option("--json", is_flag=True, help="One event a line on stdout, as JSON."),
]
_ENGINE: list[Callable[[Function], Function]] = [
    click.option("--device", default="auto", metavar="DEVICE", help="auto, cpu, cuda, cuda:1, mps. [default: auto]"),
    click.option(
        "--dtype",
        default="auto",
        type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
        help="What the model's weights are held in. [default: as stored]",
    ),
    click.option(
        "--device-map",
        type=click.Choice(["auto"]),
        help="Spread the model over all GPUs, host memory and disk; needs accelerate.",
    ),
    click.option("--keep-fp32", is_flag=True, help="Hold edited modules in float32: no small edit is rounded away."),
    click.option("--allow-pickle", is_flag=True, help="Read .bin weights where there are no safetensors."),
    click.option("--trust-remote-code", is_flag=True, help="Run code that comes with the model. Read it first."),
]


def _gathered(function: Function, options: list[Callable[[Function], Function]]) -> Function:
    @functools.wraps(function)
    def with_common(**given: Any) -> Any:
        common = {name: given.pop(name) for name in Common.__dataclass_fields__ if name in given}
        return function(common=Common(**common), **given)

    command: Function = with_common
    for option in reversed(options):
        command = option(command)
    return command
