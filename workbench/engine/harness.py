"""lm-evaluation-harness on the model as it stands: any of its tasks, with nothing left changed behind it.

It is an extra: `pip install 'rome-workbench[lm-eval]'`. The harness seeds the global random states, gives the tokenizer
a pad token, and writes to both streams; all of that is kept from the rest of the program here.
"""

from __future__ import annotations

import contextlib
import copy
import difflib
import importlib.util
import io
import logging
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from workbench.engine.core import Core
from workbench.errors import EditError, UsageError
from workbench.text import shortened

INSTALL = "pip install 'rome-workbench[lm-eval]'"
BATCH = 16
"""Requests of one forward pass."""
BOOTSTRAPS = 1000
"""Of measures whose standard error has no closed form."""
_FAILURES = (ValueError, TypeError, KeyError, AttributeError, AssertionError, OSError, RuntimeError, ImportError)
"""What a task raises that cannot be read or run."""


@dataclass(frozen=True)
class Measured:
    """One measure of one task."""

    task: str
    metric: str
    value: float
    error: float | None
    """Standard error; None: the harness gives none."""
    items: int
    higher_is_better: bool


def check_installed() -> None:
    """Raises UsageError where the harness is not installed."""
    if importlib.util.find_spec("lm_eval") is None:
        raise UsageError(
            "lm-evaluation-harness is not installed.",
            f"{INSTALL}; the tasks perplexity and cloze work without it.",
        )


def language_model(core: Core, batch: int = BATCH) -> Any:
    """The model as it stands, and as it will stand, as an lm_eval LM: for `lm_eval.simple_evaluate(model=...)`.

    Raises:
        UsageError: the harness is not installed, or not as a whole.
    """
    check_installed()
    try:
        from lm_eval.models.huggingface import HFLM
    except ImportError as error:
        raise UsageError(f"lm-evaluation-harness cannot be used here: {error}.", INSTALL) from error
    tokenizer = copy.deepcopy(core.loaded.tokenizer)  # it is given a pad token
    with _quietly():
        return HFLM(pretrained=core.loaded.model, tokenizer=tokenizer, batch_size=batch)


class Harness:
    """Some of the harness's tasks, to be run on several states of one model.

    Args:
        core: the model.
        names: of tasks, groups or tags.
        include: a folder with task definitions of one's own, which may name code that is run; None: none.
        limit: items of each task at most; None: all.

    Raises:
        UsageError: the harness is not installed, or knows no such task.
    """

    def __init__(self, core: Core, names: Sequence[str], include: Path | None, limit: int | None) -> None:
        self._model, self._limit = language_model(core), limit
        self._manager = _manager(names, include)

    def run(self, name: str) -> list[Measured]:
        """Runs a task on the model as it stands. Raises EditError if it cannot be run, UsageError as `language_model`.

        Global random states are as before afterwards.
        """
        from lm_eval import simple_evaluate

        try:
            with _quietly(), _own_seeds():
                found = simple_evaluate(
                    model=self._model,
                    tasks=[name],
                    limit=self._limit,
                    task_manager=self._manager,
                    bootstrap_iters=BOOTSTRAPS,
                    log_samples=False,
                )
        except _FAILURES as error:
            said = shortened(" ".join(str(error).split()), 300) or type(error).__name__
            raise EditError(
                f"The task '{name}' cannot be run: {said}",
                "Its data may have to be downloaded once, with HF_HUB_OFFLINE unset.",
            ) from error
        return [*_measures(found or {})]


def _manager(names: Sequence[str], include: Path | None) -> Any:
    """What knows all of `names`; the harness's own fourteen thousand are only listed if they are needed."""
    from lm_eval.tasks import TaskManager

    with _quietly():
        manager = TaskManager(include_path=str(include), include_defaults=False) if include else None
        if manager is None or not all(name in manager.all_tasks for name in names):
            manager = TaskManager(include_path=str(include) if include else None)
    unknown = [name for name in names if name not in manager.all_tasks]
    if unknown:
        close = difflib.get_close_matches(unknown[0], manager.all_tasks, n=3)
        hint = f"Did you mean {' or '.join(close)}?" if close else "lm_eval ls tasks lists all of them."
        raise UsageError(f"There is no task '{shortened(unknown[0], 60)}'.", hint)
    return manager


def _measures(found: dict[str, Any]) -> Iterator[Measured]:
    """Every number in the harness's results: "acc,none" beside "acc_stderr,none"."""
    for task, row in found.get("results", {}).items():
        better = found.get("higher_is_better", {}).get(task, {})
        items = found.get("n-samples", {}).get(task, {}).get("effective", 0)
        for key, value in row.items():
            metric, comma, filtered = key.partition(",")
            if not comma or metric.endswith("_stderr") or type(value) not in (int, float):
                continue
            error = row.get(f"{metric}_stderr,{filtered}")
            yield Measured(
                task=task,
                metric=metric if filtered == "none" else f"{metric} ({filtered})",
                value=float(value),
                error=float(error) if type(error) in (int, float) else None,
                items=int(items),
                higher_is_better=better.get(metric) is not False,
            )


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keeps what the harness prints and logs from the streams."""
    logger = logging.getLogger("lm_eval")
    level, out = logger.level, io.StringIO()
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def _own_seeds() -> Iterator[None]:
    """The global random states are as before when the block is left."""
    plain, arrays = random.getstate(), np.random.get_state()
    cuda = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    try:
        with torch.random.fork_rng(devices=[*cuda]):
            yield
    finally:
        random.setstate(plain)
        np.random.set_state(arrays)
