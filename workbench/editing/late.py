"""What a device says, read by the host: at once on a CPU; on CUDA one evaluation later, while the next one runs."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

Rows = list[list[float]]


class Late:
    """Reports on their way to the host, in order."""

    def __init__(self, device: torch.device) -> None:
        self.waits = device.type == "cuda"
        """Whether a report is given only after the next one has been asked for."""
        self._under_way: list[tuple[Tensor, torch.cuda.Event]] = []

    def after(self, report: Tensor) -> Iterator[Rows]:
        """Takes `report`, (n, columns), and gives those that are there: itself, or the one before it, or none."""
        if not self.waits:
            yield report.tolist()
            return
        self._send(report)
        if len(self._under_way) > 1:
            yield self._oldest()

    def rest(self) -> Iterator[Rows]:
        """Those that have not been given."""
        while self._under_way:
            yield self._oldest()

    def _send(self, report: Tensor) -> None:
        pinned = torch.empty(report.shape, dtype=report.dtype, pin_memory=True)
        pinned.copy_(report, non_blocking=True)
        arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
        arrived.record(torch.cuda.current_stream(report.device))
        self._under_way.append((pinned, arrived))

    def _oldest(self) -> Rows:
        pinned, arrived = self._under_way.pop(0)
        arrived.synchronize()
        rows: Rows = pinned.tolist()
        return rows
