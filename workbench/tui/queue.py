"""The queue: edits that wait. Kept in the stack's folder, so that it is there again after quitting, or after a kill.

An item holds the text as it was typed, valid or not. The one item that is being made cannot be changed until it is
done; all others can, at any time. An item leaves the queue when its edit is on disk, or by `remove`, and never else.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from workbench import events as ev
from workbench.edits import EditRequest
from workbench.errors import StorageError, UsageError, WorkbenchError
from workbench.recipes import BATCHED
from workbench.text import and_more
from workbench.tui.aside import moved_aside
from workbench.tui.draft import Draft
from workbench.tui.kept_draft import KeptDraft
from workbench.tui.keynames import key_name

FILE = "queue.json"
FORMAT = 1
MAX_BYTES = 64 * 1024 * 1024

ItemState = Literal["queued", "running", "failed", "invalid"]


@dataclass(frozen=True)
class QueueItem:
    """One edit that waits."""

    draft: Draft
    key: str = field(default_factory=lambda: secrets.token_hex(4))
    held: bool = False
    """Passed over by a run until it is released."""
    running: bool = False
    failure: str = ""
    """Why it could not be made when it was tried."""
    tip: str | None = None
    """Set from its start until its end is known: id of the newest applied edit when it was started, "" for the base.

    After a crash of engine or screen it tells whether the edit was made.
    """

    @property
    def problem(self) -> str:
        """Why the draft cannot be made, or ""."""
        return self.draft.problem

    @property
    def state(self) -> ItemState:
        """In one word."""
        if self.running:
            return "running"
        if self.problem:
            return "invalid"
        return "failed" if self.failure and not self.held else "queued"

    @property
    def reason(self) -> str:
        """Why it is invalid or has failed, or ""."""
        return self.problem or self.failure

    @property
    def ready(self) -> bool:
        """A run may take it."""
        return self.state == "queued" and not self.held


class Queue:
    """The items, in order. Every change is handed to `save` as the bytes of queue.json.

    Args:
        save: takes the bytes; None keeps the queue in memory only.
        items: what is in it at first.
        written: what is being written and not queued yet.
    """

    unsaved = "the stack is in use elsewhere"
    """Why it is not kept, if it is not."""

    def __init__(
        self,
        save: Callable[[bytes], None] | None = None,
        items: Sequence[QueueItem] = (),
        written: KeptDraft | None = None,
    ) -> None:
        self.written = written or KeptDraft()
        """The draft in the form of this queue's stack."""
        self._save = save
        self._items = tuple(items)

    def __iter__(self) -> Iterator[QueueItem]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    @property
    def kept(self) -> bool:
        """It is on disk, too."""
        return self._save is not None

    @property
    def items(self) -> tuple[QueueItem, ...]:
        """All, in order."""
        return self._items

    @property
    def running(self) -> QueueItem | None:
        """The item that is being made."""
        return next((item for item in self._items if item.running), None)

    def ready(self) -> tuple[QueueItem, ...]:
        """What a run would take, in order."""
        return tuple(item for item in self._items if item.ready)

    def get(self, key: str) -> QueueItem | None:
        """The item with `key`, if it is still there."""
        return next((item for item in self._items if item.key == key), None)

    def add(self, *drafts: Draft, first: bool = False) -> tuple[QueueItem, ...]:
        """Puts new items at the end, or before all others."""
        new = tuple(QueueItem(draft) for draft in drafts)
        self._set((*new, *self._items) if first else (*self._items, *new))
        return new

    def edit(self, key: str, draft: Draft) -> None:
        """Gives an item another draft; an earlier failure is forgotten. Raises UsageError if it is being made."""
        self._change(key, draft=draft, failure="", tip=None)

    def hold(self, key: str, held: bool) -> None:
        """Lets runs pass over an item, or releases it; a failed item is released for another try."""
        self._change(key, held=held, failure="")

    def remove(self, *keys: str) -> None:
        """Takes items out. Raises UsageError if one is being made."""
        for key in keys:
            self._free(key)
        self._set(tuple(item for item in self._items if item.key not in keys))

    def move(self, key: str, by: int) -> None:
        """Moves an item up (negative) or down, at most to the ends."""
        item = self._free(key)
        rest = [other for other in self._items if other.key != key]
        rest.insert(max(0, min(len(rest), self._items.index(item) + by)), item)
        self._set(tuple(rest))

    def put_back_at(self, place: int, item: QueueItem) -> None:
        """An item that was taken out is in again, where it was; nothing if it is there already."""
        if self.get(item.key) is None:
            items = list(self._items)
            items.insert(place, item)
            self._set(tuple(items))

    def duplicate(self, key: str) -> QueueItem:
        """The same draft once more, under the first. Raises UsageError if it is gone."""
        item = self.get(key)
        if item is None:
            raise UsageError("That edit is no longer in the queue.")
        twin = QueueItem(item.draft)
        items = list(self._items)
        items.insert(items.index(item) + 1, twin)
        self._set(tuple(items))
        return twin

    def start(self, *keys: str, tip: str) -> None:
        """One edit of these items begins; `tip` is the id of the newest applied edit."""
        for key in keys:
            self._free(key)
        self._put(*keys, running=True, failure="", tip=tip)

    def done(self, *keys: str) -> None:
        """The items' edit is on disk."""
        self._set(tuple(item for item in self._items if item.key not in keys))

    def fail(self, *keys: str, reason: str) -> None:
        """The items' edit could not be made."""
        self._put(*keys, running=False, failure=reason, tip=None)

    def put_back(self, *keys: str, reason: str = "") -> None:
        """The items' edit was stopped and they wait again; with a reason, held."""
        self._put(*keys, running=False, tip=None, held=bool(reason), failure=reason)

    def interrupt(self) -> None:
        """The engine is gone: nothing is being made any more. What became of the last edit is seen by `settle`."""
        self._set(tuple(replace(item, running=False) for item in self._items))

    def stand_on(self, tip: str, *keys: str) -> None:
        """One edit of a job of several is on disk, with the id `tip`; these items' edits come after it."""
        self._put(*keys, tip=tip)

    def settle(self, applied: Sequence[ev.EditRow]) -> str:
        """After a crash: items that were being made are done if edits of them are among the stack's `applied`.

        Returns:
            What was found, in words, or "".
        """
        items = tuple(item for item in self._items if item.tip is not None and not item.running)
        if not items:
            return ""
        keys, since = [item.key for item in items], _since(items[0].tip or "", applied)
        many = next((row for row in since if row.method in BATCHED and any(i.draft.makes(row) for i in items)), None)
        if many is not None:
            self.made_of(*keys, count=many.requests)
            return _settled(items, len(items))
        made: list[str] = []
        for row in since:
            made += [item.key for item in items if item.key not in made and item.draft.makes(row)][:1]
        self.done(*made)
        self.put_back(*(key for key in keys if key not in made))
        return _settled(items, len(made))

    def made_of(self, *keys: str, count: int) -> None:
        """One edit of `count` of these items is on disk. Which were left out, if some were, cannot be told here."""
        if count >= len(keys):
            self.done(*keys)
        else:
            reason = f"an edit was made of {count} of these {len(keys)}, and the log says which were left out"
            self.fail(*keys, reason=reason)

    def to_bytes(self) -> bytes:
        """The file's content."""
        document = {"format": FORMAT, "items": [_plain(item) for item in self._items]}
        return json.dumps(document, ensure_ascii=True, indent=1).encode()

    def _free(self, key: str) -> QueueItem:
        item = self.get(key)
        if item is None:
            raise UsageError("That edit is no longer in the queue.")
        if item.running:
            raise UsageError("That edit is being made now.", f"{key_name('stop')} stops it; then it can be changed.")
        return item

    def _change(self, key: str, **values: Any) -> None:
        self._free(key)
        self._put(key, **values)

    def _put(self, *keys: str, **values: Any) -> None:
        self._set(tuple(replace(item, **values) if item.key in keys else item for item in self._items))

    def _set(self, items: tuple[QueueItem, ...]) -> None:
        if items == self._items:
            return
        self._items = items
        if self._save is not None:
            self._save(self.to_bytes())


def _since(tip: str, applied: Sequence[ev.EditRow]) -> Sequence[ev.EditRow]:
    """The edits after the one with the id `tip`; where that is gone, the newest at most."""
    ids = [row.id for row in applied]
    if not tip:
        return applied
    return applied[ids.index(tip) + 1 :] if tip in ids else applied[-1:]


def _settled(items: Sequence[QueueItem], made: int) -> str:
    """Of `items`, which were in flight, the edits of `made` are on disk."""
    name, count = items[0].draft.subject, len(items)
    if count == 1:
        was = "had been made; it left" if made else "was interrupted; it waits in"
        return f"The edit of {name} {was} the queue."
    if made in (0, count):
        was = "had been made; they left" if made else "were interrupted; they wait in"
        return f"The edits of {name}{and_more(count)} {was} the queue."
    return f"{made} of the {count} edits in flight had been made and left the queue; the others wait in it."


def read_queue(folder: Path) -> tuple[tuple[QueueItem, ...], str]:
    """The items kept in `folder`, and what is to be said about them.

    A file that cannot be understood is moved aside, never overwritten.

    Raises:
        StorageError: the file is there and cannot be read, or cannot be moved aside.
    """
    path = folder / FILE
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UsageError(f"{FILE} is larger than {MAX_BYTES} bytes.")
        return _parse(path.read_bytes()), ""
    except FileNotFoundError:
        return (), ""
    except OSError as error:
        raise StorageError(f"The queue {path} cannot be read: {error.strerror}.") from error
    except (WorkbenchError, ValueError, RecursionError) as error:
        return (), f"The saved queue could not be read ({error}) and was moved to {moved_aside(path)}."


def _parse(data: bytes) -> tuple[QueueItem, ...]:
    document = json.loads(data)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise UsageError("it is not a queue of this version")
    rows = document.get("items")
    if not isinstance(rows, list):
        raise UsageError("it has no list of items")
    items = tuple(_item(row) for row in rows)
    if len({item.key for item in items}) != len(items):
        raise UsageError("two items have one key")
    return items


def _item(row: object) -> QueueItem:
    if not isinstance(row, dict):
        raise UsageError("an item is not an object")
    key, failure, held, tip = row.get("key", ""), row.get("failure", ""), row.get("held", False), row.get("tip")
    if not (isinstance(key, str) and isinstance(failure, str) and isinstance(held, bool)):
        raise UsageError("an item has a field of the wrong kind")
    if not (tip is None or isinstance(tip, str)):
        raise UsageError("an item has a field of the wrong kind")
    return QueueItem(Draft.from_json(row.get("draft")), key or secrets.token_hex(4), held, False, failure, tip)


def _plain(item: QueueItem) -> dict[str, Any]:
    values: dict[str, Any] = {"key": item.key, "draft": item.draft.to_json()}
    more = {"held": item.held or None, "failure": item.failure or None, "tip": item.tip}
    return values | {name: value for name, value in more.items() if value is not None}


def drafts_of(requests: Sequence[EditRequest]) -> tuple[Draft, ...]:
    """Imported requests as drafts."""
    return tuple(Draft.from_request(request) for request in requests)
