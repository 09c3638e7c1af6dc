"""An event that comes from a stranger, with every value of its field's own type. Free of torch."""

from __future__ import annotations

import dataclasses
import functools
import operator
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union, cast

E = TypeVar("E")

PLAIN = (str, int, float, bool)
"""Kinds whose values are what they are."""


def checked(event: E) -> E:
    """`event`, a dataclass, as it should be: a number that JSON could not say is NaN, a whole number may be a float.

    Raises:
        ValueError: a value is of another type than its field.
    """
    values, cls = dict[str, Any](), cast("type", type(event))
    for name, kind in _kinds(cls).items():
        value = getattr(event, name)
        if kind in PLAIN and type(value) is kind:
            continue
        try:
            fitted = _fit(value, kind)
        except _WrongError as error:
            raise ValueError(f"{type(event).__name__}.{name} is not what it should be") from error
        if fitted is not value:
            values[name] = fitted
    return dataclasses.replace(event, **values) if values else event  # type: ignore[type-var]  # a dataclass


class _WrongError(Exception):
    """A value is not of its kind."""


@functools.cache
def _kinds(cls: type) -> Mapping[str, Any]:
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def _fit(value: Any, kind: Any) -> Any:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if kind is float:
        return _number(value)
    if origin is Literal:
        return _need(value in inner and isinstance(value, str), value)
    if origin in (Union, types.UnionType):
        return _one_of(value, inner)
    if origin is tuple:
        return _row(value, inner)
    if origin in (dict, Mapping):
        return _table(value, inner)
    if dataclasses.is_dataclass(kind):
        return checked(_need(type(value) is kind, value))
    return value if kind is Any else _need(type(value) is kind, value)


def _number(value: Any) -> float:
    try:
        return float("nan") if value is None else float(_need(type(value) in (int, float), value))
    except OverflowError as error:
        raise _WrongError from error


def _one_of(value: Any, kinds: tuple[Any, ...]) -> Any:
    if value is None and type(None) in kinds:
        return None
    for kind in kinds:
        try:
            return _fit(value, kind)
        except _WrongError:
            continue
    raise _WrongError


def _row(value: Any, kinds: tuple[Any, ...]) -> Any:
    _need(isinstance(value, tuple), value)
    wanted = [kinds[0]] * len(value) if kinds[-1:] == (...,) else [*kinds]
    _need(len(value) == len(wanted), value)
    fitted = tuple(map(_fit, value, wanted))
    return value if all(map(operator.is_, fitted, value)) else fitted


def _table(value: Any, kinds: tuple[Any, ...]) -> dict[Any, Any]:
    _need(isinstance(value, dict), value)
    return {_fit(name, kinds[0]): _fit(one, kinds[1]) for name, one in value.items()}


def _need(right: bool, value: Any) -> Any:
    if not right:
        raise _WrongError
    return value
