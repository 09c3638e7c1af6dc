"""The fields of a document from a stranger, read one by one: of their type, within their limits, none unknown.

Raised is MalformedError, the end of a sentence that starts with the document's name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from datetime import datetime
from typing import Any

from workbench.edits import MAX_TEXT, EditRequest, Recipe
from workbench.errors import UsageError
from workbench.stack.limits import MAX_MODULE_PART, MAX_MODULE_PARTS, MAX_NUMBER, MAX_REQUESTS, MAX_TEMPLATES
from workbench.stack.strictjson import MalformedError, NewerError

ID = re.compile(r"[0-9a-f]{64}")
_PART = rf"[A-Za-z0-9_]{{1,{MAX_MODULE_PART}}}"
_MODULE = re.compile(rf"(?![0-9]){_PART}(\.{_PART}){{0,{MAX_MODULE_PARTS - 1}}}")


def check_version(document: object, newest: int) -> int:
    """The version of `document`, one of those up to `newest`."""
    version = document.get("version") if isinstance(document, dict) else None
    if type(version) is not int or version < 1:
        raise MalformedError("does not say which version of the format it is")
    if version > newest:
        raise NewerError(f"is of format version {version}, which a newer workbench wrote")
    return version


def check_id(value: object) -> str:
    """`value` if it is an edit's id."""
    if isinstance(value, str) and ID.fullmatch(value):
        return value
    raise MalformedError("has an id that is not 64 hex digits")


def check_module(name: str) -> str:
    """`name` if it is a module's dotted path."""
    if not _MODULE.fullmatch(name):
        raise MalformedError("names a module that cannot be one")
    return name


def table(value: object, what: str, names: Set[str]) -> dict[str, Any]:
    """`value` if it is an object with just the fields `names`."""
    if not isinstance(value, dict):
        raise MalformedError(f"has no {what}")
    if value.keys() != names:
        wrong = sorted(value.keys() ^ names)[0]
        raise MalformedError(f"has a {what} where the field '{wrong}' is {'unknown' if wrong in value else 'missing'}")
    return value


def by_module(value: object, what: str) -> dict[str, Any]:
    """`value` if it is an object whose keys are modules."""
    if not isinstance(value, dict):
        raise MalformedError(f"has no {what}")
    return {check_module(module): item for module, item in value.items()}


def text(fields: Mapping[str, Any], key: str, longest: int) -> str:
    """The text in a field, of at most `longest` characters."""
    value = fields[key]
    if not isinstance(value, str) or len(value) > longest:
        raise MalformedError(f"has no proper text for '{key}'")
    return value


def free(fields: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The object in a field, whatever is in it."""
    value = fields[key]
    if not isinstance(value, dict):
        raise MalformedError(f"has no proper object for '{key}'")
    return value


def request_of(document: object) -> EditRequest:
    """An edit's request, with what stands around it in a chat."""
    try:
        request = EditRequest.from_json(document)
    except UsageError as error:
        raise MalformedError(f"holds no valid request: {_clause(error.message)}") from error
    if request.chat is not None and not request.chat.known:
        raise MalformedError("holds a request in a chat, but not what stands around it")
    return request


def requests_of(value: object) -> tuple[EditRequest, ...]:
    """The requests of an edit that is made of several."""
    if not isinstance(value, list) or not value:
        raise MalformedError("holds no requests")
    if len(value) > MAX_REQUESTS:
        raise MalformedError(f"holds more than {MAX_REQUESTS} requests")
    return tuple(request_of(document) for document in value)


def recipe_of(document: object) -> Recipe:
    """How an edit was made."""
    try:
        return Recipe.from_json(document)
    except UsageError as error:
        raise MalformedError(f"holds no valid recipe: {_clause(error.message)}") from error


def _clause(sentence: str) -> str:
    return (sentence[:1].lower() + sentence[1:]).rstrip(".")


def templates_of(value: object) -> tuple[str, ...]:
    """Context templates."""
    if not isinstance(value, list) or not 0 < len(value) <= MAX_TEMPLATES:
        raise MalformedError("has no proper list of context templates")
    if not all(isinstance(one, str) and len(one) <= MAX_TEXT for one in value):
        raise MalformedError("has no proper list of context templates")
    return tuple(value)


def ridge_of(value: object) -> float:
    """What was added to C's diagonal."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
        raise MalformedError("has a ridge that is not a number")
    return float(value)


def number_of(value: object) -> int:
    """A position on a line, from 1."""
    if type(value) is not int or not 1 <= value <= MAX_NUMBER:
        raise MalformedError("has a number out of range")
    return value


def time_of(written: str) -> str:
    """`written` if it is a time in ISO 8601."""
    try:
        datetime.fromisoformat(written)
    except ValueError as error:
        raise MalformedError("has no proper time of creation") from error
    return written
