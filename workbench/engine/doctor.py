"""Doctor: what this machine, this model and this stack are fit for, and why they do not fit each other.

Everything is looked at, also after something is found wanting; nothing is changed.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from workbench.engine.auditing import check_files
from workbench.engine.dtypes import measure_dtypes, pristine_weights
from workbench.engine.machine import GIB, MIB, machine
from workbench.engine.mismatch import explain
from workbench.errors import WorkbenchError
from workbench.events import Event, Finding
from workbench.models.device import dtype_name
from workbench.models.families import EditSite, edit_site, layer_count
from workbench.models.held_out import held_out_lines
from workbench.models.load import LoadedModel, load_model
from workbench.models.options import PLAIN, LoadOptions
from workbench.models.profiles import described, find_one, profile_of
from workbench.models.second_moment import find_second_moment, read_record, read_second_moment
from workbench.stack.store import Stack
from workbench.stack.view import StackView

MOST_NAMED = 3
"""Tensors that are named of those that are not numbers."""


def examine(
    model: str, device: str, dtype: str, folder: Path | None, options: LoadOptions = PLAIN
) -> Generator[Event, None, None]:
    """Yields a Finding for each thing looked at, with ModelLoading and WeightsDiffer between.

    Args:
        model: "atlas", a folder or a Hub name.
        device: as for `load_model`.
        dtype: as for `load_model`.
        folder: the stack's; None: there is none to look at.
        options: as for `load_model`.
    """
    yield from machine()
    stack: StackView | None = None
    if folder is not None:
        stack = yield from _open(folder)
    loaded = yield from _load(model, device, dtype, options)
    if loaded is not None:
        yield from _fit(loaded)
    if loaded is None or stack is None or stack.base is None:
        return
    base = stack.base
    yield from explain(stack, base, loaded, dtype)
    if base.fingerprint == loaded.fingerprint and base.dtype != dtype_name(loaded.dtype):
        here = pristine_weights(loaded, base)
        del loaded  # the model is read once more, in the other dtype
        try:
            yield from measure_dtypes(stack, base, model, here, options)
        except WorkbenchError as error:
            yield _failed("two dtypes", "note", error)


def _open(folder: Path) -> Generator[Event, None, StackView | None]:
    """Looks at the stack's files. Returns None if it cannot be read at all."""
    try:
        stack = Stack.open(folder)
        damaged = [event for event in check_files(stack) if event.problem]
    except WorkbenchError as error:
        yield _failed("stack", "damaged", error)
        return None
    base = f"{stack.base.name}, {stack.base.dtype}" if stack.base else "no base yet"
    edits, branches = len(stack.line) + len(stack.others), len(stack.branches)
    yield Finding(
        topic="stack",
        verdict="fine",
        message=f"{folder}: position {stack.position} of {len(stack.line)}, {edits} edits in all on "
        f"{branches} branch{'es' * (branches != 1)}, on {base}",
    )
    for event in damaged:
        yield Finding(
            topic="damaged",
            verdict="damaged",
            message=f"{event.file}: {event.problem}",
            hint="Put an intact copy back; workbench verify checks every file.",
        )
    for text in (*stack.findings, _read_only(folder)):
        if text:
            yield Finding(topic="stack", verdict="note", message=text)
    return stack


def _load(model: str, device: str, dtype: str, options: LoadOptions) -> Generator[Event, None, LoadedModel | None]:
    try:
        return (yield from load_model(model, device, dtype, options))
    except WorkbenchError as error:
        yield _failed("model", "unusable", error)
        return None


def _fit(loaded: LoadedModel) -> Iterator[Finding]:
    """What the model can be used for."""
    held = f"{loaded.memory / GIB:.2f} GiB" if loaded.memory >= GIB / 10 else f"{loaded.memory / MIB:.1f} MiB"
    size = f"{loaded.model.num_parameters() / 1e6:.1f} M parameters, {held}"
    revision = f" at {loaded.revision[:12]}" if loaded.revision else ""
    yield Finding(
        topic="model",
        verdict="fine",
        message=f"{loaded.name}{revision} ({loaded.family}), {size} in {dtype_name(loaded.dtype)} on {loaded.device}",
    )
    yield _numbers(loaded)
    try:
        yield from _editing(loaded)
    except WorkbenchError as error:
        yield _failed("editing", "unusable", error)


def _numbers(loaded: LoadedModel) -> Finding:
    """Whether every weight is a number; those that no device holds, or that torch cannot compare, are not looked at."""
    looked = {name: _finite(one) for name, one in loaded.model.named_parameters()}
    held = {name: finite for name, finite in looked.items() if finite is not None}
    broken = [name for name, finite in held.items() if not finite]
    if not broken:
        return Finding(topic="weights", verdict="fine", message=f"all {len(held)} tensors are numbers throughout")
    named = ", ".join(broken[:MOST_NAMED]) + ", …" * (len(broken) > MOST_NAMED)
    return Finding(
        topic="weights",
        verdict="unusable",
        message=f"{len(broken)} of {len(held)} tensors hold NaN or infinity: {named}",
        hint="Get the checkpoint again; if it is larger than float16 reaches, use --dtype float32 or bfloat16.",
    )


def _finite(weight: Tensor) -> bool | None:
    """Whether all of it are numbers; None where that cannot be told, as of some quantised kinds."""
    if weight.device.type == "meta" or not weight.numel():
        return None
    held = weight.detach()
    try:
        if held.is_floating_point() and held.itemsize == 1:  # float8 has no order of its own
            held = held.to(torch.bfloat16)
        return all(bool(end.isfinite()) for end in held.aminmax())
    except (NotImplementedError, TypeError):  # which of them depends on torch's version
        return None


def _editing(loaded: LoadedModel) -> Iterator[Finding]:
    """The profile, C and the held-out text. Raises ModelError if no module can be edited."""
    profile = profile_of(loaded, layer_count(loaded.model))
    site = edit_site(loaded.model, profile.recipe.layer)
    yield Finding(
        topic="editing",
        verdict="fine" if profile.known else "note",
        message=f"{profile.recipe.method} at {site.module}, {site.d_in} to {site.d_out}; {described(profile)}",
        hint="" if profile.known else find_one(loaded.name),
    )
    yield _second_moment(loaded, site)
    lines = len(held_out_lines(loaded.folder))
    yield Finding(
        topic="held-out text",
        verdict="fine" if lines else "note",
        message=f"{lines} texts" if lines else "there is none: perplexity is not measured",
        hint="" if lines else "Put held_out.txt, one text a line, into the model's folder.",
    )


def _second_moment(loaded: LoadedModel, site: EditSite) -> Finding:
    try:
        stored = read_second_moment(loaded.folder, site, loaded.fingerprint)
        path = find_second_moment(loaded.folder, site, loaded.fingerprint)
        record = read_record(path, loaded.fingerprint) if path else None
    except WorkbenchError as error:
        return _failed("second moment", "note", error)
    if stored and record:
        message = f"C for {site.module} is there, the mean over {stored.samples} keys of {record.words}"
        return Finding(topic="second moment", verdict="fine", message=message)
    return Finding(
        topic="second moment",
        verdict="note",
        message=f"there is no C for {site.module}",
        hint=f"workbench stats {shlex.quote(loaded.name)} --layer {site.layer} makes it; until then "
        "--set second_moment=false takes C = I: edits disturb more of what is near.",
    )


def _read_only(folder: Path) -> str:
    return "" if os.access(folder, os.W_OK) else "The folder may not be written: the stack can only be read."


def _failed(topic: str, verdict: Literal["note", "damaged", "unusable"], error: WorkbenchError) -> Finding:
    return Finding(topic=topic, verdict=verdict, message=error.message, hint=error.hint)
