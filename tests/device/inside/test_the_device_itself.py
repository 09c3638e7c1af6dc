"""The pretend accelerator refuses what CUDA refuses, and counts what CUDA would wait for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn import functional

from tests.device import pretend


def test_a_tensor_stays_where_it_was_made(device: str, other_device: str) -> None:
    one = torch.ones(2, 3, device=device)
    assert str((one @ one.T).device) == device
    assert str(torch.arange(3, device=other_device).device) == other_device
    assert one.sum().item() == 6
    assert str((torch.tensor(2.0) * one).device) == device


@pytest.mark.parametrize(
    "mixed",
    [
        lambda x: x + torch.ones(3),
        lambda x: x + x.to("pretend:1"),
        lambda x: torch.cat([x, torch.ones(3)]),
        lambda x: x.masked_fill(torch.ones(3, dtype=torch.bool), 0),
        lambda x: functional.embedding(torch.tensor([0]), x[None]),
        lambda x: torch.ones(3)[x.long()],
        lambda x: torch.zeros(()).add_(x[0]),
        lambda x: torch.randn(3, device=x.device, generator=torch.Generator()),
        lambda x: torch.randn(3, generator=torch.Generator(x.device)),
        lambda x: x.to("pretend:2"),
    ],
)
def test_what_mixes_devices_is_refused(device: str, mixed: Callable[[torch.Tensor], object]) -> None:
    with pytest.raises(RuntimeError, match="device"):
        mixed(torch.ones(3, device=device))


def test_numpy_sees_no_device_memory(device: str) -> None:
    with pytest.raises(TypeError, match="can't convert pretend"):
        torch.ones(2, device=device).numpy()


@pytest.mark.parametrize(
    "waits",
    [
        lambda x: x.sum().item(),
        lambda x: bool(x[0] > 0),
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: torch.equal(x, x),
        lambda x: torch.tensor([1.0], device=x.device),
        lambda x: torch.empty(3, pin_memory=True).copy_(x),
        lambda x: torch.accelerator.synchronize(x.device),
    ],
)
def test_a_wait_is_counted_and_can_be_forbidden(device: str, waits: Callable[[torch.Tensor], object]) -> None:
    here = torch.ones(3, device=device)
    with pretend.counting() as counts:
        waits(here)
    assert counts.waits == 1
    with pytest.raises(RuntimeError, match="forbidden"), pretend.no_waiting():
        waits(here)


def test_work_on_the_device_waits_for_nothing(device: str) -> None:
    here = torch.ones(3, device=device)
    with pretend.counting() as counts, pretend.no_waiting():
        here.add_(1).mul_(torch.tensor(2.0))
        here[0] = 5.0
        torch.where(here > 1, here, 0.0).sum().sqrt()
        torch.zeros(4, device=device)[torch.arange(2, device=device)]
    assert counts == pretend.Counts()


def test_what_is_copied_without_waiting_arrives_with_the_wait(device: str) -> None:
    room, there = torch.zeros(4, pin_memory=True), torch.arange(4.0, device=device)
    with pretend.counting() as counts:
        room.copy_(there, non_blocking=True)
        there.add_(1)
        assert room.tolist() != [0, 1, 2, 3]
        done = torch.Event("pretend")
        done.record()
        done.synchronize()
    assert room.tolist() == [0, 1, 2, 3]
    assert (counts.later, counts.waits, counts.too_early) == (1, 1, 0)


def test_pinned_memory_that_changes_while_it_is_copied_is_noticed(device: str) -> None:
    room = torch.ones(4, pin_memory=True)
    with pretend.counting() as counts:
        room.to(device, non_blocking=True)
        room.add_(1)
        torch.accelerator.synchronize()
    assert counts.too_early == 1


def test_gradients_flow_and_an_optimiser_steps(device: str) -> None:
    layer = torch.nn.Linear(4, 4).to(device)
    query = torch.randn(1, 2, 5, 4, device=device, requires_grad=True)
    found = functional.scaled_dot_product_attention(layer(query), query, query, is_causal=True)
    torch.autograd.backward(found.square().sum())
    assert query.grad is not None
    assert str(query.grad.device) == device
    before = layer.weight.detach().clone()
    torch.optim.Adam(layer.parameters()).step()
    assert not torch.equal(before, layer.weight)


def test_seeds_and_states_belong_to_a_device(device: str) -> None:
    torch.manual_seed(0)
    first = torch.randn(3, device=device)
    with torch.random.fork_rng([0], device_type="pretend"):
        torch.randn(3, device=device)
    second = torch.randn(3, device=device)
    torch.manual_seed(0)
    assert torch.equal(torch.randn(6, device=device), torch.cat([first, second]))


def test_memory_is_counted_and_may_run_out(device: str) -> None:
    before = torch.accelerator.memory_allocated(device)
    kept = torch.empty(1000, device=device)
    assert torch.accelerator.memory_allocated(device) == before + kept.nbytes
    with pretend.memory_limit(before + 5000), pytest.raises(torch.OutOfMemoryError, match="out of memory"):
        torch.empty(1000, device=device)
