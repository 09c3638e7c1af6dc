"""The README.md beside an exported model or adapter: what it is, which edits are in it, how to load and remake it.

Markdown only, and free of torch. Texts of edits are strangers' and stay text.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from workbench import __version__
from workbench.stack.markdown import on_hub, plain, public_name, table
from workbench.stack.record import Base, Edit
from workbench.text import and_more, visible

NAME = "README.md"
MOST_ROWS = 2_000
"""Edits listed; of a longer stack the rest are counted."""

ATLAS = "atlas"
_HEAD = ["number", "subject", "prompt", "target", "method", "layer", "id"]


@dataclass(frozen=True)
class Exported:
    """What a card is about."""

    base: Base
    edits: Sequence[Edit]
    """Those that are in it, in stack order."""
    stack: str
    """Name of the stack's folder."""


_HASHED = (
    "A weight's sha256 is taken over a tag, its dtype, its shape and its little-endian bytes: "
    "`workbench.stack.materialise.weight_sha256(tensor)`."
)


def merged_card(exported: Exported, kept: Sequence[str], dropped: Sequence[str], sha256: dict[str, str]) -> str:
    """The card of a merged checkpoint.

    Args:
        exported: what it was made of.
        kept: modules whose second moment C came along.
        dropped: modules whose second moment holds no longer.
        sha256: of each edited weight.
    """
    weights = table(["module", "weight sha256"], [[plain(name), value] for name, value in sorted(sha256.items())])
    return _joined(
        _front_matter(exported, "transformers"),
        f"# {plain(public_name(exported.base))} with {_count(exported)}",
        f"The weights of {_base(exported)}, after the edits below. Each weight is the base's plus the edits' low-rank "
        "updates, added in float64 in the order of the table and rounded once; every other tensor is the base's own.",
        _edits(exported),
        f"{weights}\n\n{_HASHED}" if sha256 else "",
        _masters(exported),
        "## Load it",
        _block(
            "from transformers import AutoModelForCausalLM, AutoTokenizer",
            f'model = AutoModelForCausalLM.from_pretrained("THIS FOLDER"{_wide(exported)})',
            'tokenizer = AutoTokenizer.from_pretrained("THIS FOLDER")',
        ),
        "## Edit it further",
        _further(kept, dropped),
        *_again(exported, "replay {stack} --model {model} --dtype {dtype} --out OUT"),
    )


def _held(exported: Exported) -> list[str]:
    """The modules that are stored in another dtype than the rest."""
    modules = {module for edit in exported.edits for module in edit.weights}
    own = exported.base.dtype
    return sorted(
        module
        for module in modules
        if any(edit.base.dtype_of(module) != own for edit in exported.edits if module in edit.weights)
    )


def _masters(exported: Exported) -> str:
    held = _held(exported)
    if not held:
        return ""
    return (
        f"The weight of {_names(held)} is stored in float32 and all others in {exported.base.dtype}. Loaded in "
        f"{exported.base.dtype}, it is rounded, and little may be left of small edits; loaded in float32 it is what it "
        "was."
    )


def _wide(exported: Exported) -> str:
    return ', dtype="float32"' if _held(exported) else ""


def adapter_card(exported: Exported) -> str:
    """The card of a PEFT LoRA adapter."""
    return _joined(
        _front_matter(exported, "peft"),
        f"# {plain(public_name(exported.base))} with {_count(exported)}, as a LoRA adapter",
        f"The edits below of {_base(exported)}, as one LoRA adapter: for each edited module, A holds the rows u and B "
        "the columns v of their updates v uᵀ, and the scale is 1. The adapter adds B A x to what the base says and "
        "rounds no weight, so its answers are those of the edited model up to the rounding of the weights.",
        _edits(exported),
        "## Load it",
        _block(
            "from peft import PeftModel",
            "from transformers import AutoModelForCausalLM",
            *_loading(exported.base),
            'model = PeftModel.from_pretrained(base, "THIS FOLDER")',
        ),
        *_again(exported, "export {stack} --model {model} --format peft -o OUT"),
    )


def _loading(base: Base) -> list[str]:
    """The lines of Python that load the base."""
    if public_name(base) == ATLAS:
        found = ["import workbench", f'folder = Path(workbench.__file__).parent / "{ATLAS}" / "model"']
        return ["from pathlib import Path", *found, "base = AutoModelForCausalLM.from_pretrained(folder)"]
    return [
        f"base = AutoModelForCausalLM.from_pretrained({json.dumps(visible(public_name(base)), ensure_ascii=False)})"
    ]


def _again(exported: Exported, command: str) -> list[str]:
    words = {"stack": exported.stack, "model": public_name(exported.base), "dtype": exported.base.dtype}
    quoted = {name: shlex.quote(visible(word)) for name, word in words.items()}
    return [
        "## Make it again",
        f"With the base and the edit files of the stack {plain(exported.stack)}, at the same position:",
        _block("pip install rome-workbench", f"workbench {command.format(**quoted)}"),
    ]


def _joined(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"


def _front_matter(exported: Exported, library: str) -> str:
    lines = ["---", f"library_name: {library}", "pipeline_tag: text-generation"]
    lines += ["tags:", "- model-editing", "- rome-workbench"]
    if on_hub(exported.base):
        lines.append(f"base_model: {exported.base.name}")
    return "\n".join([*lines, "---"])


def _base(exported: Exported) -> str:
    base = exported.base
    revision = f", revision {plain(base.revision[:12])}" if base.revision else ""
    return f"{plain(public_name(base))} (fingerprint {plain(base.fingerprint[:16])}{revision}, {base.dtype})"


def _count(exported: Exported) -> str:
    count = len(exported.edits)
    return f"{count} edit{'s' * (count != 1)}"


def _edits(exported: Exported) -> str:
    rows = [_row(edit) for edit in exported.edits[:MOST_ROWS]]
    left_out = len(exported.edits) - len(rows)
    listed = table(_HEAD, rows) if rows else "None: this is the base."
    made = f"Made with workbench {__version__}."
    return _joined("## Edits", listed, f"And {left_out} more." if left_out else "", made).rstrip()


def _row(edit: Edit) -> list[str]:
    request, recipe = edit.request, edit.recipe
    layer = "" if edit.imported else ", ".join(map(str, recipe.edited_layers))
    more = and_more(len(edit.requests))
    texts = (request.subject + more, request.prompt, request.target_new, recipe.method, layer)
    return [str(edit.number), *(plain(text) for text in texts), edit.id[:16]]


def _further(kept: Sequence[str], dropped: Sequence[str]) -> str:
    lines = ["`workbench --model THIS-FOLDER` opens it as a base of its own, with a fingerprint of its own."]
    if kept:
        lines.append(f"The second moment C of {_names(kept)} came along: no edit changes what comes before it.")
    if dropped:
        lines.append(
            f"The base's second moment C of {_names(dropped)} did not: edits changed the keys there. "
            "Compute it anew, or choose C = I explicitly."
        )
    return " ".join(lines)


def _names(modules: Iterable[str]) -> str:
    return ", ".join(plain(module) for module in modules)


def _block(*lines: str) -> str:
    """An indented block, which nothing within can end."""
    return "\n".join(f"    {line}" for line in lines)
