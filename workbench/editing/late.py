"""What a device says, read by the host: at once on a CPU; elsewhere one evaluation later, while the next one runs."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from workbench.models.device import can_pin, room_on_host

Rows = list[list[float]]


class Late:
    """Reports on their way to the host, in order."""

    def __init__(self, device: torch.device) -> None:
        self.waits = can_pin(device)
        """Whether a report is given only after the next one has been asked for."""
        self._under_way: list[tuple[Tensor, torch.Event]] = []

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
        pinned = room_on_host(report.shape, report.dtype, report.device)
        pinned.copy_(report, non_blocking=True)
        arrived = torch.Event(report.device)
        arrived.record(torch.accelerator.current_stream(report.device))
        self._under_way.append((pinned, arrived))

    def _oldest(self) -> Rows:
        pinned, arrived = self._under_way.pop(0)
        arrived.synchronize()
        rows: Rows = pinned.tolist()
        return rows
