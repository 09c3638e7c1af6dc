"""The batches of a run, from written text or from the model itself, shared out among the processes of the run."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any, Protocol

from torch import Tensor

from workbench.engine.stats.documents import Counted, Documents
from workbench.engine.stats.packing import packed
from workbench.engine.stats.plan import Plan
from workbench.engine.stats.ranks import Ranks
from workbench.engine.stats.sampling import rows_at_once, sampling
from workbench.models.load import LoadedModel

AT_ONCE = {"cpu": 4096, "cuda": 16384, "mps": 8192}
"""Tokens of a batch of written text, by device: what bounds the memory of a forward pass."""


class Batches(Protocol):
    """Batches of ids that a plan cuts, the same at every reading unless the text has changed."""

    plan: Plan
    resumable: bool
    """Whether the text can be read again from its start."""

    def own(self, ranks: Ranks, done: int) -> Iterator[tuple[int, Tensor | int]]:
        """This process's batches with their numbers among its own; the first `done` may be left out.

        Before a batch that takes long to come there may be numbers in its place: how many of its tokens there are yet.
        """

    def named(self) -> dict[str, Any]:
        """What is known of the text before it is read."""

    def about(self) -> dict[str, Any]:
        """What is to be recorded of it once it has been read."""


class WrittenText:
    """Documents, packed. Every process reads all of them, and runs the model on its own share."""

    def __init__(self, loaded: LoadedModel, tokens: int, window: int, documents: Documents) -> None:
        self.plan = Plan(tokens, window, max(1, AT_ONCE.get(loaded.device.type, AT_ONCE["cpu"]) // window))
        self.resumable = documents.again
        self._tokenizer, self._documents = loaded.tokenizer, documents
        self._counted = Counted(iter(()))

    def own(self, ranks: Ranks, done: int) -> Iterator[tuple[int, Tensor | int]]:  # noqa: ARG002  the text is read either way
        """All of this process's batches: those that are done tell whether the text is still the same."""
        self._counted = Counted(self._documents.read())
        for number, ids in enumerate(packed(self._tokenizer, self._counted, self.plan)):
            if ranks.mine(number):
                yield number // ranks.size, ids

    def named(self) -> dict[str, Any]:
        """The documents' names."""
        return self._documents.about()

    def about(self) -> dict[str, Any]:
        """Their names, number and sha256: of all that were read, the last of which may have gone in only in part."""
        return {**self._documents.about(), **self._counted.about()}


class SampledText:
    """Text that the model itself writes: each process samples its own share."""

    resumable = True

    def __init__(self, loaded: LoadedModel, tokens: int, window: int, seed: int) -> None:
        self.plan = Plan(tokens, window, rows_at_once(loaded, window))
        self._loaded, self._seed = loaded, seed

    def own(self, ranks: Ranks, done: int) -> Iterator[tuple[int, Tensor | int]]:
        """This process's batches that are not done, and how far each has come while the model writes it."""
        for number, (rows, length) in enumerate(self.plan.shapes()):
            if ranks.mine(number) and number // ranks.size >= done:
                writing = sampling(self._loaded, rows, length, self._seed, number)
                yield from _numbered(number // ranks.size, writing)

    def named(self) -> dict[str, Any]:
        """The label that says what this text is, and the seed."""
        words = f"text sampled from the model itself (seed {self._seed})"
        return {"kind": "self", "seed": self._seed, "words": words}

    def about(self) -> dict[str, Any]:
        """The same."""
        return self.named()


def _numbered(number: int, writing: Generator[int, None, Tensor]) -> Generator[tuple[int, Tensor | int], None, None]:
    """What `writing` yields and then what it returns, each with the number of the batch."""
    while True:
        try:
            written = next(writing)
        except StopIteration as end:
            yield number, end.value
            return
        yield number, written
