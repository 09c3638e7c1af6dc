"""The probes that a person has added to a stack: kept in a file of the screen's own beside the queue's."""

from __future__ import annotations

import json
from pathlib import Path

from workbench.contrasts import AddedProbe, added_probes
from workbench.errors import UsageError, WorkbenchError
from workbench.stack.files import make_folder, read_bytes, write_atomic
from workbench.tui.aside import moved_aside

FILE = "probes.json"
FORMAT = 1
MAX_BYTES = 16 * 1024 * 1024


def read_added(folder: Path) -> tuple[tuple[AddedProbe, ...], str]:
    """The probes kept in `folder`, and what is to be said about them.

    A file that cannot be understood is moved aside, never overwritten.

    Raises:
        StorageError: it cannot be read, or cannot be moved aside.
    """
    path = folder / FILE
    if not path.exists():
        return (), ""
    try:
        document = json.loads(read_bytes(path, MAX_BYTES))
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise UsageError("it is not a list of probes of this version.")
        return added_probes(document.get("probes")), ""
    except (WorkbenchError, ValueError, RecursionError) as error:
        return (), f"The probes you added could not be read ({error}) and were moved to {moved_aside(path)}."


def write_added(folder: Path, probes: tuple[AddedProbe, ...]) -> None:
    """Keeps `probes` in `folder`. Raises StorageError."""
    document = {"format": FORMAT, "probes": [probe.to_json() for probe in probes]}
    make_folder(folder)
    write_atomic(folder / FILE, json.dumps(document, ensure_ascii=True, indent=1).encode())
