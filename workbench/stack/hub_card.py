"""The README.md of a stack on the Hub: what it is, how to get it, and a table of its edits. Markdown only."""

from __future__ import annotations

from workbench.stack.markdown import on_hub, plain, public_name, table
from workbench.stack.record import Edit
from workbench.stack.view import StackView
from workbench.text import and_more

NAME = "README.md"
MARK = "<!-- Made by workbench push; remove this line to keep your own text. -->"
"""Says that the file may be made anew."""
MAX_BYTES = 8 * 1024 * 1024
"""Largest card that is read."""
MOST_ROWS = 1_000
"""Edits listed; of a longer stack the rest are counted."""

_HEAD = ["number", "edit", "becomes", "was", "method", "state", "id"]
_ABOUT = (
    "Each `.safetensors` file is one edit: a low-rank update of a weight matrix, with its request, its recipe and what "
    "was measured in the file's metadata. `stack.json` holds their order."
)


def card(stack: StackView, repo: str) -> str:
    """The card of `stack` in the repository `repo`."""
    line = stack.line
    rows = [_row(stack, edit, number) for number, edit in enumerate(line[:MOST_ROWS], 1)]
    count = f"{len(line)} edit{'s' * (len(line) != 1)}"
    parts = [
        _front_matter(stack),
        MARK,
        f"# Edits: {plain(repo)}",
        f"{count} of what {_base(stack)} knows; the first {stack.position} of them are applied. {_ABOUT}",
        f"    pip install rome-workbench\n    workbench pull {repo}",
        table(_HEAD, rows) if rows else "The line is empty.",
    ]
    if len(line) > MOST_ROWS:
        parts.append(f"And {len(line) - MOST_ROWS} more.")
    if len(stack.branches) > 1:
        parts.append(f"Branches: {', '.join(f'{plain(b.name)} ({b.length})' for b in stack.branches)}.")
    return "\n\n".join(parts) + "\n"


def _front_matter(stack: StackView) -> str:
    lines = ["---", "tags:", "- model-editing", "- rome-workbench"]
    if stack.base and on_hub(stack.base):
        lines.append(f"base_model: {stack.base.name}")
    return "\n".join([*lines, "---"])


def _base(stack: StackView) -> str:
    if stack.base is None:
        return "a model"
    return f"{plain(public_name(stack.base))} (fingerprint {plain(stack.base.fingerprint[:16])})"


def _row(stack: StackView, edit: Edit, number: int) -> list[str]:
    request = edit.request
    state = "undone" if number > stack.position else "off" if edit.id in stack.off else "applied"
    texts = (
        request.text + and_more(len(edit.requests)),
        request.target_new,
        request.target_true or "",
        edit.recipe.method,
    )
    return [str(number), *(plain(text) for text in texts), state, edit.id[:8]]
