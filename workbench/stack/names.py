"""Names of branches and tags: short, safe in a shell, never to be taken for a number or an id. No torch, no files."""

from __future__ import annotations

import re
from collections.abc import Collection

from workbench.errors import UsageError
from workbench.stack.strictjson import MalformedError

MAIN = "main"
"""The first branch of every stack."""
BASE = "base"
"""What the state without edits is called; no branch or tag may be."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,63}")
_LIKE_AN_ID = re.compile(r"[0-9A-Fa-f]+")


def is_name(text: str) -> bool:
    """Whether `text` can name a branch or a tag."""
    shape = bool(_NAME.fullmatch(text)) and not _LIKE_AN_ID.fullmatch(text)
    return shape and text != BASE and ".." not in text and not text.endswith(("/", "."))


def check_name(value: object) -> str:
    """`value` if it is the name of a branch or tag. Raises MalformedError."""
    if isinstance(value, str) and is_name(value):
        return value
    raise MalformedError("has a name of a branch or tag that cannot be one")


def new_name(text: str, taken: Collection[str]) -> str:
    """`text` if it can name something new. Raises UsageError."""
    if not is_name(text):
        raise UsageError(
            f"'{text}' cannot be the name of a branch or tag.",
            "Use up to 64 letters, digits, '-', '_', '.' and '/', not only digits and a to f, and not 'base'.",
        )
    if text in taken:
        raise UsageError(f"The name '{text}' is taken.", "Choose another one; see workbench branch and workbench tag.")
    return text


def next_name(name: str, taken: Collection[str]) -> str:
    """The first of name-2, name-3, ... that is free; "main-2" goes on with "main-3"."""
    stem, number = re.fullmatch(r"(.*?)(?:-(\d{1,6}))?", name).groups()  # type: ignore[union-attr]  # it always matches
    stem = stem[:56]
    count = int(number or 1)
    while (candidate := f"{stem}-{(count := count + 1)}") in taken:
        pass
    return candidate
