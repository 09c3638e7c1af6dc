"""Several processes that share a run, as torchrun starts them: each sums every n-th batch, then all sums are added."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from workbench.errors import UsageError


@dataclass(frozen=True)
class Ranks:
    """This process among those that share the run."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def mine(self, batch: int) -> bool:
        """Whether this process sums that batch."""
        return batch % self.size == self.rank

    def add_up(self, total: Tensor) -> None:
        """Makes `total` the sum over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(total)

    def in_order(self, own: list[str]) -> list[str]:
        """What the processes have of the batches, in the batches' order."""
        if self.size == 1:
            return own
        everyone: list[list[str]] = [[] for _ in range(self.size)]
        dist.all_gather_object(everyone, own)
        return [everyone[n % self.size][n // self.size] for n in range(sum(map(len, everyone)))]

    def sum_of(self, number: int) -> int:
        """The sum of everyone's number."""
        if self.size == 1:
            return number
        everyone = [0] * self.size
        dist.all_gather_object(everyone, number)
        return sum(everyone)


def asked_for() -> Ranks:
    """What torchrun put into the environment; one process alone where it put nothing. Raises UsageError."""
    try:
        ranks = Ranks(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))
    except ValueError as error:
        raise UsageError("RANK and WORLD_SIZE are not numbers.", "Start it with torchrun.") from error
    if not 0 <= ranks.rank < ranks.size:
        raise UsageError(f"There is no rank {ranks.rank} of {ranks.size}.", "Start it with torchrun.")
    return ranks


def device_for(ranks: Ranks, device: str) -> str:
    """Each process has a CUDA device of its own where there are several; else what was asked."""
    if ranks.size > 1 and device in ("auto", "cuda") and torch.cuda.is_available():
        return f"cuda:{int(os.environ.get('LOCAL_RANK', ranks.rank)) % torch.cuda.device_count()}"
    return device


@contextmanager
def joined(ranks: Ranks, device: torch.device) -> Iterator[Ranks]:
    """All processes of the run, waiting for each other where they add up; nothing to do for one alone."""
    if ranks.size == 1 or dist.is_initialized():
        yield ranks
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield ranks
    finally:
        dist.destroy_process_group()
