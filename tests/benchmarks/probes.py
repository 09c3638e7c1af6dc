"""What an edit's probes and its held-out text take on atlas, against asking one row at a time; and its templates."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tests.benchmarks.measuring import Row, against, in_turn, threads
from workbench.atlas.benchmark import benchmark_requests
from workbench.editing import sample_templates
from workbench.editing.lookup import prompt_ids
from workbench.engine.core import HELD_OUT_LINES
from workbench.models.families import layer_count
from workbench.models.held_out import held_out_lines
from workbench.models.load import LoadedModel, load_model
from workbench.models.profiles import profile_of
from workbench.probing.answers import answer_ids
from workbench.probing.perplexity import perplexity
from workbench.probing.probes import Probe, ask, probes_of, settle


def rows(quick: bool) -> Iterator[Row]:
    """On one thread; fewer repeats if `quick`."""
    loaded = _atlas()
    model, tokenizer, repeats = loaded.model, loaded.tokenizer, 2 if quick else 9
    with threads(1):
        probes = settle(model, tokenizer, probes_of(benchmark_requests(1)[0]))
        asked = {
            "probes of an edit, row by row": lambda: _row_by_row(model, tokenizer, probes),
            "probes of an edit": lambda: ask(model, tokenizer, probes),
        }
        yield from against("probes of an edit, row by row", in_turn(asked, repeats))
        lines = held_out_lines(loaded.folder)[:HELD_OUT_LINES]
        read = {
            "perplexity, line by line": lambda: _line_by_line(model, tokenizer, lines),
            "perplexity": lambda: perplexity(model, tokenizer, lines),
        }
        found = in_turn(read, repeats)
        apart = abs(found["perplexity"].result / found["perplexity, line by line"].result - 1)
        yield from against("perplexity, line by line", found, notes={"perplexity": f"{apart:.1e} apart"})
        recipe = profile_of(loaded, layer_count(model)).recipe
        drawn = {"templates": lambda: sample_templates(model, tokenizer, recipe.template_lengths, recipe.seed)}
        yield in_turn(drawn, repeats)["templates"].row("context templates, sampled")


def _atlas() -> LoadedModel:
    loading = load_model("atlas", "cpu")
    while True:
        try:
            next(loading)
        except StopIteration as end:
            loaded: LoadedModel = end.value
            return loaded


@torch.no_grad()
def _row_by_row(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, probes: Sequence[Probe]) -> list[float]:
    """p of every answer of every probe, each from a pass of its own over prompt and answer."""
    found = []
    for probe in probes:
        prompt = prompt_ids(tokenizer, probe.prompt)
        for answer in (answer_ids(tokenizer, one) for one in probe.answers):
            log_p = model(torch.tensor([prompt + answer]), use_cache=False).logits[0].log_softmax(-1)
            said = [float(log_p[len(prompt) - 1 + i, token]) for i, token in enumerate(answer)]
            found.append(math.exp(sum(said) / len(said)))
    return found


@torch.no_grad()
def _line_by_line(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, lines: Sequence[str]) -> float:
    total, tokens = 0.0, 0
    for line in lines:
        ids = torch.tensor([tokenizer(line)["input_ids"]])
        if ids.shape[1] > 1:
            total += float(model(ids, labels=ids, use_cache=False).loss) * (ids.shape[1] - 1)
            tokens += ids.shape[1] - 1
    return math.exp(total / tokens)
