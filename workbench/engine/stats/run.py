"""One run while it reads: batch after batch into the sums, with checkpoints between.

A run that was stopped, at any moment, goes on from its last checkpoint and ends with the same bits.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

import torch
import transformers
from torch import Tensor

from workbench import __version__
from workbench.engine.stats.checkpoint import Checkpoint, Progress, batch_digest
from workbench.engine.stats.ranks import Ranks
from workbench.engine.stats.reading import Batches
from workbench.engine.stats.sums import Keys
from workbench.errors import StorageError, UsageError
from workbench.events import Event, MomentProgress, Warning  # noqa: A004  the wire's word
from workbench.models.device import dtype_name
from workbench.models.kept import kept_for
from workbench.models.load import LoadedModel
from workbench.models.second_moment import FOLDER

Cancelled = Callable[[], bool]


class Run:
    """What one process has summed, and what it is still to sum."""

    def __init__(self, loaded: LoadedModel, keys: Keys, text: Batches, ranks: Ranks, every: float) -> None:
        self.loaded, self.keys, self.text, self.ranks = loaded, keys, text, ranks
        self.progress = Progress()
        folder = kept_for(loaded.fingerprint) / FOLDER
        self.checkpoint = Checkpoint(folder, self._settings(), ranks.rank, every)

    def read(self, cancelled: Cancelled) -> Generator[Event, None, bool]:
        """Sums the keys of all batches; whether it came to the end.

        Raises:
            ModelError, UsageError, StorageError: as the text, the model and the disk do.
        """
        found = self.checkpoint.read(self._totals()) if self.text.resumable else None
        self.progress = found or Progress()
        pace = _Pace(self.progress.tokens, self.text.plan.tokens, self.ranks.size)
        yield pace.event(self.progress.tokens)
        done = len(self.progress.batches)
        for number, ids in self.text.own(self.ranks, done):
            if isinstance(ids, int):
                if cancelled():
                    yield from self._leave()
                    return False
                yield from pace.now_and_then(self.progress.tokens + ids)
                continue
            if number < done:
                if batch_digest(ids) != self.progress.batches[number]:
                    return (yield from self._anew(cancelled))
                continue
            if cancelled():
                yield from self._leave()
                return False
            self._add(ids)
            yield pace.event(self.progress.tokens)
        if len(self.progress.batches) < done:
            return (yield from self._anew(cancelled))
        return True

    def _add(self, ids: Tensor) -> None:
        rows = max(1, _FORWARD // ids.shape[1])
        for start in range(0, len(ids), rows):
            self.keys.add(ids[start : start + rows])
        self.progress.batches.append(batch_digest(ids))
        self.progress.tokens += ids.numel()
        if self.text.resumable and self.checkpoint.due:
            self._keep()

    def _anew(self, cancelled: Cancelled) -> Generator[Event, None, bool]:
        yield Warning(message="The text has changed since the run was stopped.", hint="It begins anew.")
        self.checkpoint.remove()
        for total in self._totals().values():
            total.zero_()
        return (yield from self.read(cancelled))

    def _leave(self) -> Generator[Event, None, None]:
        if self.text.resumable and not self._keep():
            yield Warning(message="What was read could not be kept.", hint="Its folder takes no files.")
        elif self.text.resumable:
            tokens = self.progress.tokens * self.ranks.size
            yield Warning(message=f"{tokens} tokens are kept.", hint="The same command goes on from there.")

    def _keep(self) -> bool:
        """Writes a checkpoint, or says that it cannot: then the run goes on without."""
        try:
            self.checkpoint.write(self.progress, self._totals())
        except StorageError:
            return False
        return True

    def _totals(self) -> dict[str, Tensor]:
        return {module: one.total for module, one in self.keys.sums.items()}

    def samples(self) -> int:
        """Keys summed by all processes. Raises UsageError for a text without a single token."""
        samples = self.ranks.sum_of(self.progress.tokens)
        if not samples:
            raise UsageError("There is no text: not one token was read.", "Name other files.")
        return samples

    def tokens_sha256(self) -> str:
        """sha256 over the batches of all processes, in order."""
        batches = self.ranks.in_order(self.progress.batches)
        return hashlib.sha256("\n".join(["workbench tokens v1", *batches]).encode()).hexdigest()

    def made_by(self) -> dict[str, Any]:
        """What may decide the last bits of the result."""
        return {
            "window": self.text.plan.window,
            "budget": self.text.plan.tokens,
            "dtype": dtype_name(self.loaded.dtype),
            "device": self.loaded.device.type,
            "threads": torch.get_num_threads(),
            "processes": self.ranks.size,
            "workbench": __version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        }

    def _settings(self) -> dict[str, Any]:
        """All that decides the bits of the result."""
        return {
            "base": self.loaded.fingerprint,
            "tokenizer": self.loaded.tokenizer_fingerprint,
            "modules": [site.module for site in self.keys.sites],
            "text": self.text.named(),
            "rows": self.text.plan.rows,
            **self.made_by(),
        }


_FORWARD = 16384
"""Tokens of one forward pass at most."""
_TELL = 0.5
"""Seconds between two words on a batch that the model writes."""


class _Pace:
    """Tokens a second since this run began."""

    def __init__(self, before: int, of: int, processes: int) -> None:
        self._before, self._of, self._processes = before, of, processes
        self._start = self._told = time.monotonic()

    def now_and_then(self, tokens: int) -> Iterator[MomentProgress]:
        """The same as `event`, where the last one is a while ago."""
        if time.monotonic() - self._told >= _TELL:
            yield self.event(tokens)

    def event(self, tokens: int) -> MomentProgress:
        self._told = time.monotonic()
        seconds = self._told - self._start
        new, left = (tokens - self._before) * self._processes, self._of - tokens * self._processes
        rate = new / seconds if new and seconds > 0 else None
        return MomentProgress(
            tokens=min(tokens * self._processes, self._of),
            of=self._of,
            rate=rate,
            remaining=max(left, 0) / rate if rate else None,
        )
