"""Why a stack does not fit the model at hand: another architecture, checkpoint, revision, dtype or tokenizer.

Each is told apart from the others by what the edit files recorded, and each comes with what can still be done.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor
from transformers import PreTrainedModel

from workbench.events import Finding
from workbench.models.device import DTYPES, dtype_name
from workbench.models.families import layout_of
from workbench.models.load import LoadedModel
from workbench.models.placing import bring_home
from workbench.stack.materialise import weight_sha256
from workbench.stack.record import Base, Edit
from workbench.stack.view import StackView

ANEW = (
    "What was asked for can be edited in anew: workbench export STACK --format requests -o facts.json, then "
    "workbench apply facts.json --model MODEL."
)


def explain(stack: StackView, base: Base, loaded: LoadedModel, asked_dtype: str) -> Iterator[Finding]:
    """What agrees and what does not between a stack and the loaded model.

    Args:
        stack: whose edits are held against the model.
        base: the stack's.
        loaded: the model, untouched.
        asked_dtype: what it was asked to be loaded in; "auto": as stored.
    """
    strange = list(_architecture(base, loaded.model))
    if strange:
        yield from strange
    elif base.fingerprint == loaded.fingerprint:
        yield from _same_checkpoint(base, loaded)
        yield from _dtype(base, loaded)
    else:
        yield from _other_checkpoint(stack, base, loaded, asked_dtype)
    yield from _tokenizer(stack, loaded)


def _architecture(base: Base, model: PreTrainedModel) -> Iterator[Finding]:
    for module, info in base.modules.items():
        weight = weight_of(model, module)
        if weight is None:
            message = f"this model has no linear module {module}, which the stack edits"
        elif list(weight.shape) != info["shape"] or layout_of(model.get_submodule(module)) != info["layout"]:
            here, there = ("x".join(map(str, shape)) for shape in (weight.shape, info["shape"]))
            message = f"{module} is {here} here, and {there} where the stack was made"
        else:
            continue
        yield Finding(
            topic="architecture",
            verdict="mismatch",
            message=f"another model or size: {message}",
            hint=f"No edit of this stack fits. {_where(base)} {ANEW}",
        )


def weight_of(model: PreTrainedModel, module: str) -> Tensor | None:
    """The weight matrix of a module; None if there is none."""
    try:
        bring_home(model, module)
        weight = model.get_submodule(module).weight
    except AttributeError:
        return None
    return weight if isinstance(weight, Tensor) and weight.dim() == 2 else None


def _same_checkpoint(base: Base, loaded: LoadedModel) -> Iterator[Finding]:
    yield Finding(topic="checkpoint", verdict="fine", message=f"the stack's own, fingerprint {loaded.fingerprint[:12]}")
    if base.name != loaded.name:
        yield Finding(
            topic="name",
            verdict="note",
            message=f"called {loaded.name} here and {base.name} in the stack; every weight is the same",
        )
    if base.revision and loaded.revision and base.revision != loaded.revision:
        yield Finding(
            topic="revision",
            verdict="note",
            message=f"{loaded.revision[:12]} here and {base.revision[:12]} in the stack; every weight is the same",
        )


def _dtype(base: Base, loaded: LoadedModel) -> Iterator[Finding]:
    here = dtype_name(loaded.dtype)
    if here == base.dtype:
        yield Finding(topic="dtype", verdict="fine", message=f"{here}, as the stack was made in")
        return
    yield Finding(
        topic="dtype",
        verdict="mismatch",
        message=f"loaded in {here}, and the stack was made in {base.dtype}: no weight hash can be compared",
        hint=f"--dtype {base.dtype} gives the recorded bytes; workbench replay gives {here}, unverified.",
    )


def _other_checkpoint(stack: StackView, base: Base, loaded: LoadedModel, asked_dtype: str) -> Iterator[Finding]:
    """The fingerprints differ though the shapes agree: says in what, as far as the records tell."""
    prints = f"fingerprint {loaded.fingerprint[:12]} here and {base.fingerprint[:12]} in the stack"
    named = f"{_where(base)} {ANEW}"
    here = dtype_name(loaded.dtype)
    same_name = base.name == loaded.name
    if same_name and base.revision and loaded.revision and base.revision != loaded.revision:
        yield Finding(
            topic="revision",
            verdict="mismatch",
            message=f"another revision of {base.name}, {loaded.revision[:12]} for {base.revision[:12]}; {prints}",
            hint=named,
        )
    elif asked_dtype == "auto" and here != base.dtype:
        yield Finding(
            topic="checkpoint",
            verdict="mismatch",
            message=f"another checkpoint, stored in {here} where the stack's gave {base.dtype}: a converted copy, or "
            f"another training; {prints}",
            hint=named,
        )
    else:
        what = f"{base.name} has other weights now" if same_name else f"another checkpoint than {base.name}"
        yield Finding(topic="checkpoint", verdict="mismatch", message=f"{what}; {prints}", hint=named)
    yield from _edited_modules(stack, base, loaded)


def _where(base: Base) -> str:
    """How to come by a base."""
    if not base.revision:
        return f"Load {base.name} with --model."
    return f"hf download {base.name} --revision {base.revision} --local-dir FOLDER gets it; name FOLDER with --model."


def _edited_modules(stack: StackView, base: Base, loaded: LoadedModel) -> Iterator[Finding]:
    """Holds each edited module's pristine bytes against what the first edit of it recorded."""
    edits = (*stack.line, *stack.others)
    pristine = pristine_hashes(edits)
    if base.dtype not in DTYPES or not pristine:
        return
    held = {
        module: edit.base.dtype_of(module)
        for edit in edits
        for module in edit.weights
        if edit.weights[module]["before"] == pristine.get(module)
    }
    same = [module for module, sha in pristine.items() if _sha_in(loaded, module, base.dtype, held[module]) == sha]
    if len(same) == len(pristine):
        yield Finding(
            topic="edited modules",
            verdict="note",
            message=f"all {len(same)} hold the very bytes that the stack was made on; what differs lies elsewhere in "
            "the model",
            hint="The edited weights would be the same, bit for bit; what the edits do here is not what was measured.",
        )
    else:
        yield Finding(
            topic="edited modules",
            verdict="mismatch",
            message=f"{len(pristine) - len(same)} of {len(pristine)} hold other bytes than the stack was made on",
        )


def pristine_hashes(edits: tuple[Edit, ...]) -> dict[str, str]:
    """sha256 of each module's weight in the base, as recorded by the first edit of a line that touched it."""
    known = {edit.id: edit for edit in edits}
    found: dict[str, str] = {}
    touched: dict[str, set[str]] = {}
    for edit in sorted(edits, key=lambda one: one.number):
        before = touched.get(edit.parent, set()) if edit.parent else set()
        touched[edit.id] = before | edit.weights.keys()
        if edit.parent is None or edit.parent in known:
            new = edit.weights.keys() - before - found.keys()
            found |= {module: edit.weights[module]["before"] for module in new}
    return found


def _sha_in(loaded: LoadedModel, module: str, dtype: str, held: str) -> str:
    """sha256 of a weight in the base's dtype, as it is held in that of an edit."""
    weight = weight_of(loaded.model, module)
    return "" if weight is None else weight_sha256(weight.detach().to("cpu", DTYPES[dtype]).to(DTYPES.get(held)))


def _tokenizer(stack: StackView, loaded: LoadedModel) -> Iterator[Finding]:
    recorded = [edit.tokenizer for edit in (*stack.line, *stack.others) if edit.tokenizer]
    here = loaded.tokenizer_fingerprint
    strange = [one for one in recorded if one != here]
    if not strange:
        if recorded:
            yield Finding(topic="tokenizer", verdict="fine", message=f"the stack's own, fingerprint {here[:12]}")
        return
    yield Finding(
        topic="tokenizer",
        verdict="mismatch",
        message=f"another one: {len(strange)} of {len(recorded)} edits were made with {strange[0][:12]}, here is "
        f"{here[:12]}",
        hint="The weights can be rebuilt all the same; probes and new edits read other tokens. Put its files back.",
    )
