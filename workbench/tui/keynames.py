"""How sentences on the screen name a key, so that they name the one the person has put in its place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType

from textual.keys import format_key

OWN: Mapping[str, str] = MappingProxyType(
    {
        "run": "ctrl+r",
        "stop": "ctrl+g",
        "new": "ctrl+n",
        "jump": "ctrl+o",
        "palette": "ctrl+p",
        "quit": "ctrl+q",
        "help": "f1",
        "place.edit": "f2",
        "place.live": "f3",
        "place.history": "f4",
        "place.compare": "f5",
        "place.log": "f8",
    }
)
"""The program's own keys that sentences speak of, by the id of their binding."""

REBOUND: ContextVar[Mapping[str, str]] = ContextVar("REBOUND", default=MappingProxyType({}))
"""Keys by the id of their binding, where they are not the program's own."""

_NAMED = re.compile(r"\b(" + "|".join(re.escape(key) for key in OWN.values()) + r")\b", re.IGNORECASE)
_IDS = {key: binding for binding, key in OWN.items()}


def key_name(binding: str) -> str:
    """The key of one of the bindings in OWN, as people write it: "ctrl+r", "f8"."""
    return spoken(REBOUND.get().get(binding, OWN[binding]).split(",")[0])


def named(sentence: str) -> str:
    """A sentence of the program's own, with the keys in it as they are now; F2 stays in capitals."""
    return _NAMED.sub(_now, sentence) if REBOUND.get() else sentence


def spoken(key: str) -> str:
    """A key in Textual's names as people write it: a mark as itself, an arrow or enter by its name."""
    *modifiers, last = key.split("+")
    shown = format_key(last)
    return "+".join((*modifiers, shown if len(shown) == 1 and shown.isascii() else last))


def _now(found: re.Match[str]) -> str:
    key = key_name(_IDS[found[0].lower()])
    return key.upper() if found[0].isupper() else key
