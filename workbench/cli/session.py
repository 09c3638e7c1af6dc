"""An engine for the length of one command: opened with its progress shown, closed whatever happens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.cli.options import Common
from workbench.cli.output import Output
from workbench.cli.where import model_of
from workbench.engine.starting import start_engine
from workbench.errors import ModelNotFound

if TYPE_CHECKING:
    from workbench.engine.engine import Engine


@contextmanager
def engine_session(
    common: Common, folder: Path, output: Output, *, write: bool, rehash: bool = False
) -> Iterator[Engine]:
    """Loads the model, materialises the stack in `folder`, and gives the engine; with `rehash` hashes every file.

    Raises:
        WorkbenchError: of the model, the device or the stack, as open_engine does.
    """
    model = model_of(common, folder)
    output.loading(model)
    starting = start_engine(
        model,
        device=common.device,
        dtype=common.dtype,
        options=common.loading(rehash=rehash),
        stack=folder,
        write=write,
    )
    with _named_by_the_stack(common, model):
        engine = output.follow(starting, "load")
    try:
        yield engine
    finally:
        engine.close()


@contextmanager
def _named_by_the_stack(common: Common, model: str) -> Iterator[None]:
    """Where no --model is given and the stack's is not here, the hint inside is how to name it."""
    try:
        yield
    except ModelNotFound as error:
        if common.model:
            raise
        raise ModelNotFound(
            error.message, f"The stack was made on it: say with --model where '{model}' is on this machine."
        ) from error
