"""Second moments: tokens a second beside a bare forward of the same rows, and C beside a sum in float64 throughout.

`python -m tests.benchmarks stats`; one thread, text of random words, rows of 256 tokens.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tests.benchmarks.measuring import Row, Times, against, in_turn, threads
from tests.benchmarks.shapes import GPT2, GPT2_MEDIUM, LLAMA_1B, TINY, Shape, random_model
from workbench.engine.stats.sums import ROWS, Keys
from workbench.models.families import EditSite, edit_site

WINDOW, AT_ONCE = 256, 4
"""Tokens of a row, and rows of a batch."""
KEYS = 4
"""Batches whose C is held against float64."""


def rows(quick: bool) -> Iterator[Row]:
    """A line for each shape and way to go through the text, and one for how exact C is."""
    for shape in (TINY,) if quick else (GPT2, GPT2_MEDIUM, LLAMA_1B):
        with threads(1):
            yield from _of(shape, repeats=3 if shape in (GPT2, GPT2_MEDIUM) else 1)


def _of(shape: Shape, repeats: int) -> Iterator[Row]:
    model = random_model(shape)
    site = edit_site(model, shape.layer)
    ids = _ids(model, 0)
    bare, stats = f"{shape.name}: forward through all layers", f"{shape.name}: stats at layer {shape.layer}"
    stopped = f"{shape.name}: the same forward, keys not summed"
    ways = {
        bare: lambda: _forward(model, ids),
        stats: lambda: Keys(model, [site]).add(ids),
        stopped: lambda: _keys(model, site, ids),
    }
    found = in_turn(ways, repeats)
    yield from against(bare, found, notes={name: _speed(times, ids) for name, times in found.items()})
    yield Row(
        f"{shape.name}: |C - C in float64| / |C|",
        value=_error(model, site),
        unit="relative",
        note=f"{ROWS} keys a product",
    )


def _speed(times: Times, ids: Tensor) -> str:
    return f"{ids.numel() / times.cpu:.0f} tokens/s of processor"


def _ids(model: PreTrainedModel, number: int) -> Tensor:
    window = min(WINDOW, int(model.config.get_text_config().max_position_embeddings))
    draw = torch.Generator().manual_seed(number)
    return torch.randint(int(model.config.get_text_config().vocab_size), (AT_ONCE, window), generator=draw)


@torch.no_grad()
def _forward(model: PreTrainedModel, ids: Tensor) -> None:
    model(input_ids=ids, use_cache=False)


class _Stopped(Exception):  # noqa: N818  a signal
    """Ends a forward pass."""


@torch.no_grad()
def _keys(model: PreTrainedModel, site: EditSite, ids: Tensor) -> Tensor:
    """The keys of `ids`, (tokens, d_in), by a plain hook."""
    seen: list[Tensor] = []

    def stop(_: object, inputs: tuple[Tensor, ...]) -> None:
        seen.append(inputs[0].reshape(-1, site.d_in))
        raise _Stopped

    handle = site.linear(model).register_forward_pre_hook(stop)
    try:
        model(input_ids=ids, use_cache=False)
    except _Stopped:
        return seen[0]
    finally:
        handle.remove()
    raise AssertionError("the module is not used")


def _error(model: PreTrainedModel, site: EditSite) -> float:
    """Frobenius distance of the stored C to the mean of float64 products, relative."""
    keys, count = Keys(model, [site]), 0
    exact = torch.zeros(site.d_in, site.d_in, dtype=torch.float64)
    for number in range(KEYS):
        ids = _ids(model, number)
        keys.add(ids)
        wide = _keys(model, site, ids).double()
        exact.addmm_(wide.T, wide)
        count += len(wide)
    exact /= count
    return float((keys.sums[site.module].mean(count).double() - exact).norm() / exact.norm())


if __name__ == "__main__":
    import sys

    from tests.benchmarks.__main__ import main

    sys.exit(main(["stats", *sys.argv[1:]]))
