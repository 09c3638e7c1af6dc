"""Causal tracing: which hidden states carry a fact (Meng et al., ROME, arXiv 2202.05262, section 2).

clean      The Space Need le is in  → p(answer)
corrupted  The ░░░░░ ░░░░ ░░ is in  → noise on the subject's embeddings: the answer is gone
restored   The ░░░░░ ░░░░ ██ is in  → the same noise, one clean state put back at (token, layer)

How much of the answer comes back is that state's indirect effect. What lies below the lowest restored layer is the
corrupted pass as it was, so it is not run again.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from workbench.editing.flags import frozen
from workbench.editing.lookup import Row
from workbench.editing.rows import check_length
from workbench.errors import EditError
from workbench.models.device import is_out_of_memory
from workbench.models.families import decoder_blocks
from workbench.probing.forward import BATCH_TOKENS, LOGITS
from workbench.probing.tracing_hooks import corrupted, entered, hidden, observed, restored, traced_modules
from workbench.probing.tracing_text import TraceText, input_embeddings
from workbench.traces import TraceSettings

FULL_TOKENS = 256
"""With so many tokens a forward is worth its overhead."""

Cell = tuple[int, int]
"""(token, layer)."""


@dataclass(frozen=True, eq=False)
class Trace:
    """Probabilities of the answer, each the geometric mean over its tokens and the mean over samples of the noise."""

    clean: float
    corrupted: float
    restored: Tensor
    """(tokens, layers), float64: with the clean state put back at this token and layer."""


@dataclass(frozen=True)
class Restored:
    """How far a trace is."""

    done: int
    of: int


def trace(
    model: PreTrainedModel,
    text: TraceText,
    settings: TraceSettings,
    sigma: float,
    cancelled: Callable[[], bool],
    *,
    batch_tokens: int = BATCH_TOKENS,
) -> Generator[Restored, None, Trace | None]:
    """Traces one fact; yields after every batch of (token, layer) pairs and returns the trace, None if cancelled.

    Args:
        model: restored to what it was between two yields.
        text: prompt, subject and answer.
        settings: what is put back, and how the noise is drawn.
        sigma: standard deviation of the noise.
        cancelled: asked before every batch.
        batch_tokens: how many tokens a forward may have; one pair with all its samples is the least. Where memory is
            short there are fewer.

    Raises:
        EditError: the prompt is longer than the model reads, or its predictions are not numbers.
        ModelError: the model's structure is not known.
    """
    runs = _Runs(model, text, settings, sigma)
    clean = runs.clean()
    low = runs.corrupted()
    layers = runs.layers
    found = torch.full((len(text.prompt), layers), low, dtype=torch.float64)
    # What comes before the subject never sees the noise: restoring it changes nothing.
    cells = [(token, layer) for layer in range(layers) for token in range(text.first, len(text.prompt))]
    size, done = runs.cells_at_once(batch_tokens), 0
    while done < len(cells):
        if cancelled():
            return None
        some = runs.batch(cells[done : done + size])
        try:
            again = runs.restored(some)
        except (RuntimeError, MemoryError) as error:
            if len(some) == 1 or not is_out_of_memory(error):
                raise
            size = len(some) // 2
            continue
        for (token, layer), p in zip(some, again, strict=True):
            found[token, layer] = p
        done += len(some)
        yield Restored(done, len(cells))
    return Trace(clean, low, found)


def draw_noise(shape: tuple[int, ...], sigma: float, seed: int) -> Tensor:
    """Gaussian noise from a generator of its own, float32 on the CPU: the same on every device."""
    return sigma * torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed))


class _Runs:
    """The clean, the corrupted and the restored passes of one fact; `clean` first, then `corrupted`."""

    def __init__(self, model: PreTrainedModel, text: TraceText, settings: TraceSettings, sigma: float) -> None:
        check_length([Row(text.ids, text.last, text.tokens[text.last])], model)
        self._model, self._text, self._settings, self._sigma = model, text, settings, sigma
        self._blocks = list(decoder_blocks(model))
        self._modules = traced_modules(model, settings.kind)
        self._embedding = input_embeddings(model)
        self._length = len(text.ids)
        self._enters = False
        self._beside: int | None = None
        self._noise = torch.empty(0)
        self._states: list[Tensor] = []
        """What each layer's module gives in the clean pass: (length, d)."""
        self._entering: list[Tensor] = []
        """What leaves each block in the corrupted pass: (samples, length, d)."""

    @property
    def layers(self) -> int:
        return len(self._blocks)

    def cells_at_once(self, batch_tokens: int) -> int:
        """How many (token, layer) pairs fit into a forward: by its tokens, and by its predictions."""
        vocabulary = int(self._model.config.get_text_config().vocab_size)
        rows = min(batch_tokens // self._length, LOGITS // (vocabulary * len(self._text.answer)))
        return max(1, rows // self._settings.samples)

    def batch(self, cells: Sequence[Cell]) -> Sequence[Cell]:
        """The first of `cells`, as far as they enter at one layer: of later ones less has to be run.

        Where these are few, all of them: a forward with few tokens costs as much as one with more.
        """
        lowest = [self._settings.layers(layer, self.layers).start for _, layer in cells]
        alike = next((i for i, start in enumerate(lowest) if start != lowest[0]), len(cells))
        full = alike * self._settings.samples * self._length >= FULL_TOKENS
        return cells[:alike] if full and self._enters else cells

    def clean(self) -> float:
        """p(answer) without noise; keeps what the modules give."""
        with ExitStack() as hooks:
            seen = hooks.enter_context(observed(self._modules))
            embedded = hooks.enter_context(observed([self._embedding]))
            p = self._run(1)
        self._states = [hidden(output).flatten(0, -2) for output in seen]
        shape = (self._settings.samples, self._text.last + 1 - self._text.first, embedded[0].shape[-1])
        self._noise = draw_noise(shape, self._sigma, self._settings.seed)
        return float(p[0])

    def corrupted(self) -> float:
        """p(answer) with noise; keeps what leaves the blocks."""
        with self._noisy(1), observed(self._blocks) as seen:
            p = self._run(self._settings.samples)
        self._entering = [hidden(output) for output in seen]
        self._beside = len(seen[0]) - 1 if isinstance(seen[0], tuple) else None
        self._enters = self.layers > 1 and self._can_enter(p)
        return float(p.mean())

    def restored(self, cells: Sequence[Cell]) -> list[float]:
        """p(answer) with noise and the modules' clean outputs put back, cell by cell."""
        samples, count = self._settings.samples, len(cells)
        lowest = min(self._settings.layers(layer, self.layers).start for _, layer in cells)
        # A state that leaves a block is put back on what left it under noise: the block itself is not run.
        start = lowest + (self._settings.kind == "state") if self._enters else 0
        with self._noisy(count), self._from(start, count), restored(self._modules, self._values(cells)):
            p = self._run(samples * count)
        return [float(mean) for mean in p.view(count, samples).mean(1)]

    def _values(self, cells: Sequence[Cell]) -> dict[int, tuple[Tensor, Tensor]]:
        """By layer: where in (cells, samples, length), laid flat, its module's output is put back, and what."""
        samples = torch.arange(self._settings.samples)
        places: dict[int, list[Tensor]] = {}
        tokens: dict[int, list[int]] = {}
        for number, (token, layer) in enumerate(cells):
            rows = number * self._settings.samples + samples
            for one in self._settings.layers(layer, self.layers):
                places.setdefault(one, []).append(rows * self._length + token)
                tokens.setdefault(one, []).extend([token] * len(rows))
        return {one: (torch.cat(places[one]), self._states[one][tokens[one]]) for one in places}

    def _noisy(self, times: int) -> AbstractContextManager[None]:
        return corrupted(self._embedding, self._noise.repeat(times, 1, 1), self._text.first)

    def _from(self, start: int, times: int) -> AbstractContextManager[None]:
        if start == 0:
            return nullcontext()
        states = self._entering[start - 1].repeat(times, 1, 1)
        return entered(self._blocks, start, states, beside=self._beside)

    def _can_enter(self, p: Tensor) -> bool:
        """Whether a pass that begins in the middle ends as the whole one does.

        It does not where a layer reads what another one has left behind; then every pass is run from the beginning.
        """
        middle = self.layers // 2
        with self._noisy(1), self._from(middle, 1):
            again = self._run(self._settings.samples)
        return bool(torch.allclose(again, p, rtol=1e-3, atol=0.0))

    @torch.no_grad()
    def _run(self, rows: int) -> Tensor:
        """p(answer) of so many rows, float64 on the CPU, with whatever hooks are in place."""
        text, model = self._text, self._model
        ids = torch.tensor([text.ids], device=model.device).expand(rows, -1)
        answer = torch.tensor(text.answer)
        with frozen(model):
            logits = model(
                input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False, logits_to_keep=len(answer)
            ).logits[:, -len(answer) :]
        logits = logits.float()  # (rows, answer tokens, vocabulary)
        said = logits.gather(2, answer.to(logits.device).expand(rows, -1)[..., None])[..., 0]
        p: Tensor = (said - logits.logsumexp(-1)).cpu().double().mean(1).exp()
        if not bool(p.isfinite().all()):
            raise EditError("The model's predictions are not numbers.", "Load the model in float32 or bfloat16.")
        return p
