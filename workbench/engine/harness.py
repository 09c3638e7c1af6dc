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
import numbers
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from workbench.engine.core import Core
from workbench.engine.failing import is_of_the_device
from workbench.errors import EditError, UsageError
from workbench.models.device import every_accelerator, is_out_of_memory
from workbench.models.randomness import random_states_kept
from workbench.text import shortened

INSTALL = "pip install 'rome-workbench[lm-eval]'"
BATCH = 16
"""Requests of one forward pass."""
BOOTSTRAPS = 1000
"""Of measures whose standard error has no closed form."""
SEED = 1234
"""Of the harness's examples and of what a task draws: the harness's own default, the same for every state."""
ANSWER = 256
"""Tokens of a written answer where a task says nothing: the harness's own default."""
_LONGEST = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
"""What a task may call that number; the first counts before the others."""


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
        self._loaded: dict[str, Any] = {}

    def load(self, name: str) -> list[str]:
        """Reads a task and its data, which may be downloaded. Returns in sentences what is done otherwise than it asks.

        Raises:
            EditError: its definition or its data cannot be read.
        """
        with _refused(name), _quietly(), _own_seeds():
            loaded = self._manager.load([name])
            single = loaded["tasks"]
            for task in single.values():
                if task.get_config("num_fewshot") is None:
                    task.set_config(key="num_fewshot", value=0)
            said = [_within_window(task, one, self._model.max_length) for task, one in single.items()]
        self._loaded[name] = loaded
        return [*filter(None, said)]

    def run(self, name: str) -> list[Measured]:
        """Runs a task on the model as it stands. Raises EditError if it cannot be run, UsageError as `language_model`.

        Global random states are as before afterwards.
        """
        from lm_eval import evaluate

        if name not in self._loaded:
            self.load(name)
        loaded = self._loaded[name]
        with _refused(name), _quietly(), _own_seeds():
            for task in loaded["tasks"].values():
                task.set_fewshot_seed(seed=SEED)
            found = evaluate(
                lm=self._model, task_dict=loaded, limit=self._limit, bootstrap_iters=BOOTSTRAPS, log_samples=False
            )
        return [*_measures(found or {})]


def _within_window(name: str, task: Any, window: int) -> str | None:
    """Lets no answer of `task` take the whole window of the model, where the prompt must stand too; says so."""
    if task.get_config("output_type") != "generate_until":
        return None
    asked = task.get_config("generation_kwargs") or {}
    tokens = next((asked[word] for word in _LONGEST if asked.get(word) is not None), ANSWER)
    if int(tokens) < window:
        return None
    task.set_config(key="generation_kwargs", value={_LONGEST[0]: window // 2}, update=True)
    return f"Answers of '{name}' end after {window // 2} tokens: the model's window has {window}."


@contextlib.contextmanager
def _refused(name: str) -> Iterator[None]:
    """What the harness raises over a task, as an EditError."""
    try:
        yield
    except Exception as error:  # a task is a program, with templates and data of its own, and may fail in any way
        if is_out_of_memory(error) or is_of_the_device(error):
            raise
        cause = error if isinstance(error, OSError) else error.__cause__ or error
        said = shortened(" ".join(str(cause).split()), 300) or type(error).__name__
        raise EditError(f"The task '{name}' cannot be run: {said}", _hint(error)) from error


def _hint(error: BaseException) -> str:
    if isinstance(error, ImportError):
        return "Install what it names: some tasks need a package of their own."
    if isinstance(error, OSError):
        return (
            "Its data is downloaded once, with a network and HF_HUB_OFFLINE unset; or give it a file: --help says how."
        )
    return "The task and this model do not go together, or its definition is wrong."


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
        hint += f" In '{include}', what is not YAML is passed over." if include else ""
        raise UsageError(f"There is no task '{shortened(unknown[0], 60)}'.", hint)
    return manager


def _measures(found: dict[str, Any]) -> Iterator[Measured]:
    """Every number in the harness's results: "acc,none" beside "acc_stderr,none"."""
    for task, row in found.get("results", {}).items():
        better = found.get("higher_is_better", {}).get(task, {})
        items = found.get("n-samples", {}).get(task, {}).get("effective", 0)
        for key, value in row.items():
            metric, comma, filtered = key.partition(",")
            if not comma or metric.endswith("_stderr") or not _is_number(value):
                continue
            error = row.get(f"{metric}_stderr,{filtered}")
            yield Measured(
                task=task,
                metric=metric if filtered == "none" else f"{metric} ({filtered})",
                value=float(value),
                error=float(error) if _is_number(error) else None,
                items=int(items),
                higher_is_better=better.get(metric) is not False,
            )


def _is_number(value: object) -> bool:
    """Numpy's are numbers too; "N/A" is none."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keeps what the harness and its loader of data print and log from the streams."""
    loggers = [logging.getLogger(name) for name in ("lm_eval", "datasets", "huggingface_hub")]
    levels, out = [one.level for one in loggers], io.StringIO()
    for one in loggers:
        one.setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            yield
    finally:
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)


@contextlib.contextmanager
def _own_seeds() -> Iterator[None]:
    """The harness's seeds within the block; the global random states are as before when it is left."""
    plain, arrays = random.getstate(), np.random.get_state()
    try:
        with random_states_kept(every_accelerator()):
            random.seed(0)
            np.random.seed(SEED)
            torch.manual_seed(SEED)
            yield
    finally:
        random.setstate(plain)
        np.random.set_state(arrays)
