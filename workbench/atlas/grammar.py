"""Ordinary English sentences, drawn from a small hand-written grammar (grammar.json).

atlas must speak between its facts: these sentences give it prefixes, punctuation and something to lose. Everything in
the grammar was written for this project, so the text is free of anybody's licence.
"""

from __future__ import annotations

import json
import random
import re
from functools import cache
from importlib.resources import files
from typing import Any

_SLOT = re.compile(r"<(\w+)>")


def sentence(rng: random.Random) -> str:
    """One sentence, drawn with `rng`."""
    grammar = _grammar()

    def fill(match: re.Match[str]) -> str:
        slot = match[1]
        if slot == "person_cap":
            words = rng.choice(grammar["words"]["person"])
            return str(words[0].upper() + words[1:])
        return str(rng.choice(grammar["words"][slot]))

    return _SLOT.sub(fill, rng.choice(grammar["patterns"]))


@cache
def _grammar() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((files(__package__) / "grammar.json").read_text(encoding="utf-8"))
    return document
