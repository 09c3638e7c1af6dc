"""The README.md that goes with a stack on the Hub: what it is, how to use it, and a table of its edits. Markdown only.

Texts of edits are strangers': in the table they can neither end a cell, nor become a link, an image or a tag.
"""

from __future__ import annotations

import re

from workbench.stack.record import Edit
from workbench.stack.view import StackView
from workbench.text import shortened, visible

NAME = "README.md"
MARK = "<!-- Made by workbench push; remove this line to keep your own text. -->"
"""Says that the file may be made anew."""
MOST_ROWS = 1_000
"""Edits listed; of a longer stack the rest are counted."""
CELL = 100
"""Characters of a cell."""

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_MARKUP = re.compile(r"[\\`*_\[\]|~$<>&@:]|(?<=www)\.", re.IGNORECASE)


def card(stack: StackView, repo: str) -> str:
    """The card of `stack` in the repository `repo`."""
    line = stack.line
    count = f"{len(line)} edit{'s' * (len(line) != 1)}"
    parts = [
        _front_matter(stack),
        MARK,
        f"# Edits: {_plain(repo)}",
        f"{count} of what {_base(stack)} knows; the first {stack.position} of them are applied. {_ABOUT}",
        f"```sh\npip install rome-workbench\nworkbench pull {repo}\n```",
        "\n".join([*_HEAD, *(_row(stack, edit, number) for number, edit in enumerate(line[:MOST_ROWS], 1))]),
    ]
    if len(line) > MOST_ROWS:
        parts.append(f"And {len(line) - MOST_ROWS} more.")
    if stack.others:
        parts.append(f"On other branches: {len(stack.others)}.")
    return "\n\n".join(parts) + "\n"


_ABOUT = (
    "Each `.safetensors` file is one edit: a low-rank update of a weight matrix, with its request, its recipe and what "
    "was measured in the file's metadata. `stack.json` holds their order."
)
_HEAD = ("| # | Edit | Becomes | Was | Method | State | Id |", "|--:|---|---|---|---|---|---|")


def _front_matter(stack: StackView) -> str:
    lines = ["---", "tags:", "- model-editing", "- rome-workbench"]
    if stack.base and _HUB_NAME.fullmatch(stack.base.name):
        lines.append(f"base_model: {stack.base.name}")
    return "\n".join([*lines, "---"])


def _base(stack: StackView) -> str:
    """The base by name; a folder by its last part, for the rest of a path is nobody's business."""
    if stack.base is None:
        return "a model"
    name = stack.base.name if _HUB_NAME.fullmatch(stack.base.name) else re.split(r"[/\\]", stack.base.name)[-1]
    return f"{_plain(name)} (fingerprint {_plain(stack.base.fingerprint[:12])})"


def _row(stack: StackView, edit: Edit, number: int) -> str:
    request = edit.request
    state = "undone" if number > stack.position else "off" if edit.id in stack.off else "applied"
    cells = [
        str(number),
        _plain(request.text),
        _plain(request.target_new),
        _plain(request.target_true or ""),
        _plain(f"{edit.recipe.method}, layer {edit.recipe.layer}"),
        state,
        edit.id[:8],
    ]
    return f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    """`text` as it is to be read, whatever Markdown would make of it."""
    return _MARKUP.sub(lambda found: f"&#{ord(found[0])};", shortened(visible(text), CELL))
