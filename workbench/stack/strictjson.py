"""JSON from strangers, read strictly, and JSON with one spelling, so that it can be hashed.

Refused: duplicate keys, NaN and infinities, numbers wider than 64 bits, deep nesting, text that is not valid Unicode.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Collection, Iterator
from typing import Any, NoReturn

from workbench.errors import StackError
from workbench.stack.limits import MAX_DEPTH, MAX_INT, MAX_REASON
from workbench.text import shortened

_LONG_NUMBER = re.compile(r"\d{18}")
"""What an integer out of range contains."""
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
"""Makes the one spelling."""


class MalformedError(ValueError):
    """What is wrong with a document, as the end of a sentence that starts with its name: "is truncated".

    A stranger's words in it are cut, so that they stay a sentence.
    """

    def __init__(self, what: str) -> None:
        super().__init__(shortened(what, MAX_REASON))


class NewerError(MalformedError):
    """It is of a format that a newer workbench writes."""


@contextlib.contextmanager
def naming(name: str, hint: str) -> Iterator[None]:
    """Turns MalformedError into StackError, with the file's `name` in front and `hint` behind."""
    try:
        yield
    except NewerError as error:
        raise StackError(f"{name} {error}.", "Update workbench.") from error
    except MalformedError as error:
        raise StackError(f"{name} {error}.", hint) from error


def canonical(document: object) -> str:
    """The one spelling of `document`: keys sorted, no spaces, shortest numbers, text as it is.

    Raises:
        MalformedError: it holds something that JSON has no word for.
    """
    try:
        text = _ENCODER.encode(document)
        text.encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        raise MalformedError("holds something that JSON cannot say") from error
    return text


def parse(data: bytes | str) -> Any:
    """Reads one JSON document.

    Raises:
        MalformedError: it is not JSON, or JSON that is refused here.
    """
    try:
        text = data.decode("utf-8") if isinstance(data, bytes) else data
        if isinstance(data, str):
            _check_text(data)
        document = json.loads(
            text, object_pairs_hook=_unique, parse_int=_int, parse_float=_float, parse_constant=_constant
        )
    except MalformedError:
        raise
    except UnicodeDecodeError as error:
        raise MalformedError("is not UTF-8 text") from error
    except RecursionError as error:
        raise MalformedError("is nested too deeply") from error
    except ValueError as error:
        raise MalformedError("is not JSON") from error
    _check_depth(document)
    if "\\u" in text:  # nothing but an escape can say half of a surrogate pair in text that is valid UTF-8
        _check_text(document)
    return document


def parse_canonical(text: str) -> Any:
    """Reads one JSON document that must be in its one spelling; faster than `parse`, and as strict.

    The spelling leaves no room for keys said twice, NaN, infinities or half of a surrogate pair.

    Raises:
        MalformedError: it is not JSON, or another spelling of it, or JSON that is refused here.
    """
    try:
        document = json.loads(text, parse_int=_int) if _LONG_NUMBER.search(text) else json.loads(text)
    except MalformedError:
        raise
    except RecursionError as error:
        raise MalformedError("is nested too deeply") from error
    except ValueError as error:
        raise MalformedError("is not JSON") from error
    _check_depth(document)
    if canonical(document) != text:
        raise MalformedError("has a record that is not in its canonical form")
    return document


def plain(value: object) -> Any:
    """`value` as JSON gives it back: tuples become lists, NaN and infinities become null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedError("says the same key twice")
    return found


def _int(digits: str) -> int:
    if len(digits) > 20 or not -MAX_INT < int(digits) < MAX_INT:
        raise MalformedError("holds a number that is too large")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise MalformedError("holds a number that is too large")
    return value


def _constant(word: str) -> NoReturn:
    raise MalformedError(f"holds {word}, which is not a number")


def _check_depth(document: object) -> None:
    nested: list[Any] = [[document]]
    for _ in range(MAX_DEPTH + 1):
        held = (one.values() if type(one) is dict else one for one in nested)
        nested = [child for children in held for child in children if type(child) is dict or type(child) is list]
        if not nested:
            return
    raise MalformedError("is nested too deeply")


def _children(value: object) -> Collection[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _check_text(value: object) -> None:
    """Refuses half of a surrogate pair in any text, keys included."""
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise MalformedError("holds half of a surrogate pair") from error
    for key in value if isinstance(value, dict) else ():
        _check_text(key)
    for child in _children(value):
        _check_text(child)
