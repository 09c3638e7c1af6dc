"""Harm done to files that are kept between runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any


def edited(change: Callable[[dict[str, Any]], object]) -> Callable[[bytes], bytes]:
    """The bytes of a JSON document, changed in place by `change`."""

    def damage(data: bytes) -> bytes:
        document = json.loads(data)
        change(document)
        return json.dumps(document).encode()

    return damage
