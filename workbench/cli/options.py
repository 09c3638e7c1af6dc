"""The options that mean the same in every command."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

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


def stack_options(function: Function) -> Function:
    """--stack, --model and --json, for commands that need no model; given to the command as `common`."""
    return _gathered(function, [*_STACK])


def engine_options(function: Function) -> Function:
    """--model, --device, --dtype, --stack and --json; given to the command as `common`."""
    return _gathered(function, [*_STACK, *_ENGINE])


def model_options(function: Function) -> Function:
    """--model, --device, --dtype and --json, for commands on a model without a stack; given as `common`."""
    model, _, json = _STACK
    return _gathered(function, [model, json, *_ENGINE])


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
