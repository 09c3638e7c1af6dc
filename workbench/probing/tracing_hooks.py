"""Where a trace reaches into a forward pass: noise on embeddings, clean states put back, a pass entered half way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from workbench.editing.hooks import answering, forward_hook
from workbench.errors import ModelError
from workbench.models.families import decoder_blocks, edit_site
from workbench.traces import Kind

OUTPUT_PROJECTIONS = ("o_proj", "out_proj", "c_proj", "dense", "wo")
"""What the last linear map of an attention is called."""


def traced_modules(model: PreTrainedModel, kind: Kind) -> list[nn.Module]:
    """One module a layer, whose output at a token is what `kind` means.

    The outputs of MLP and attention are those of their last linear maps: whatever a family does with them afterwards
    (a norm, the residual), it does to the restored ones too.

    Raises:
        ModelError: the structure is not known.
    """
    blocks = decoder_blocks(model)
    if kind == "state":
        return [*blocks]
    if kind == "mlp":
        return [edit_site(model, layer).linear(model) for layer in range(len(blocks))]
    return [_attention_output(block, layer) for layer, block in enumerate(blocks)]


def _attention_output(block: nn.Module, layer: int) -> nn.Module:
    """The last linear map of the attention of `block`."""
    found = [
        module
        for path, module in block.named_modules()
        if "att" in path.partition(".")[0]
        and path.rpartition(".")[2] in OUTPUT_PROJECTIONS
        and isinstance(module, (nn.Linear, Conv1D))
    ]
    if len(found) != 1:
        raise ModelError(f"Layer {layer} has no attention of a known kind.", "Trace states or MLPs.")
    return found[0]


@contextmanager
def observed(modules: Sequence[nn.Module]) -> Iterator[list[Any]]:
    """The list that is given fills with what `modules` return, in the order in which they run."""
    seen: list[Any] = []

    def see(_: nn.Module, __: tuple[Any, ...], output: Any) -> None:
        seen.append(output)

    with ExitStack() as stack:
        for module in modules:
            stack.enter_context(forward_hook(module, see))
        yield seen


@contextmanager
def corrupted(embedding: nn.Module, noise: Tensor, first: int) -> Iterator[None]:
    """Adds `noise`, (rows, tokens, d), to the embeddings from token `first` on."""

    def add(_: nn.Module, __: tuple[Any, ...], output: Tensor) -> Tensor:
        shifted = output.clone()
        shifted[:, first : first + noise.shape[1]] += noise.to(output)
        return shifted

    with forward_hook(embedding, add):
        yield


@contextmanager
def restored(modules: Sequence[nn.Module], values: Mapping[int, tuple[Tensor, Tensor]]) -> Iterator[None]:
    """Puts vectors in the place of the outputs of `modules`.

    Args:
        modules: one a layer.
        values: by layer, flat indices over rows and tokens, (n,), and what is put there, (n, d).
    """
    with ExitStack() as stack:
        for layer, (places, vectors) in values.items():
            stack.enter_context(forward_hook(modules[layer], _Put(places, vectors)))
        yield


class _Put:
    """A hook that changes an output at some places."""

    def __init__(self, places: Tensor, vectors: Tensor) -> None:
        self._places, self._vectors = places, vectors

    def __call__(self, _: nn.Module, __: tuple[Any, ...], output: Any) -> Any:
        states = hidden(output)
        flat = states.reshape(-1, states.shape[-1])  # (rows * length, d)
        changed = flat.index_copy(0, self._places.to(flat.device), self._vectors.to(flat)).view(states.shape)
        return (changed, *output[1:]) if isinstance(output, tuple) else changed


@contextmanager
def entered(blocks: Sequence[nn.Module], start: int, states: Tensor, *, beside: int | None) -> Iterator[None]:
    """Block `start` reads `states`, (rows, length, d); the blocks before it do nothing.

    Args:
        blocks: the decoder's.
        start: at least 1.
        states: what leaves the block before `start`.
        beside: how many things a block returns behind its hidden states, as a tuple; None: it returns them alone.
    """

    def passed(hidden_states: Tensor, *_: Any, **__: Any) -> Any:
        return hidden_states if beside is None else (hidden_states, *[None] * beside)

    def given(hidden_states: Tensor, *_: Any, **__: Any) -> Any:
        return passed(states.to(hidden_states))

    stand_ins: dict[nn.Module, Any] = dict.fromkeys(blocks[:start], passed)
    stand_ins[blocks[start - 1]] = given
    with answering(stand_ins):
        yield


def hidden(output: Any) -> Tensor:
    """The hidden states among what a module returns: (rows, length, d), from some MLPs (rows * length, d)."""
    states: Tensor = output[0] if isinstance(output, tuple) else output
    return states
