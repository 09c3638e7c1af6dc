"""What a file from a stranger may hold at most. All limits are here; what goes beyond one is refused, never cut.

An edit file, and a stack's own index and journal, are held against these before a number is believed. Besides sizes:
factors are finite float32, ids are 64 hex digits, names are checked by their pattern, a file is a regular file and not
a link, JSON says no key twice and no NaN, and text is valid Unicode. Control characters may stand in text; they are
shown and never sent to a terminal (`workbench.text.visible`).

What only one kind of file has is beside its reader: requests and probes in `edits` and `requests`, the container of a
bundle in `archive` and `bundle`, an adapter in `adapter` and `lora_config`, a repository in `pulling` and `hub`.
"""

from __future__ import annotations

MAX_FILE = 4 * 1024**3
"""Largest edit file, in bytes: 10,000 requests in one MLP of 14,336 by 4,096 take 0.3 GiB."""
MAX_HEADER = 64 * 1024**2
"""Longest header of an edit file, in bytes; so the longest record. Below the 100 MB at which safetensors stops."""
MAX_REQUESTS = 10_000
"""Most requests of one edit."""
MAX_TENSORS = 512
"""Most tensors of a file: two for each module."""
MAX_MODULES = 256
"""Most modules that one edit changes, and that a base names."""
MAX_SIDE = 2**24
"""Longest side of a weight or factor."""
MAX_RANK = 10_000
"""Highest rank of an update."""
MAX_MODULE_PARTS = 16
"""Most parts of a module's dotted path."""
MAX_MODULE_PART = 64
"""Longest part of it, in characters."""

MAX_DEPTH = 24
"""Deepest nesting of lists and objects in JSON."""
MAX_INT = 2**63
"""Integers in JSON lie strictly between -MAX_INT and MAX_INT; other numbers are finite."""

MAX_REASON = 300
"""Longest reason why a file is refused, in characters; words of the file in it are cut."""
MAX_SHORT = 500
"""Longest name, fingerprint or time, in characters."""
MAX_TEMPLATES = 201
"""Most context templates."""
MAX_NUMBER = 1_000_000
"""Longest line of edits, and most edits of an index."""
MAX_NAMES = 10_000
"""Most branches, and most tags."""
MAX_INDEX = 64 * 1024**2
"""Longest index, in bytes."""
MAX_JOURNAL = 64 * 1024**2
"""Most of a journal that is read, in bytes."""
MAX_LOCK = 4096
"""Most of a lock file that is read, in bytes."""
