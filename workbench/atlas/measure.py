"""What atlas knows and how well it takes edits: `python -m workbench.atlas.measure`. Writes JSON lines to stdout."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TypeVar

import torch

from workbench.atlas.benchmark import benchmark_requests
from workbench.atlas.facts import facts, relations
from workbench.editing.edit import make_update
from workbench.editing.second_moment import SecondMoment
from workbench.editing.templates import sample_templates
from workbench.editing.update import Update
from workbench.edits import EditRequest, Recipe
from workbench.engine.returning import returned
from workbench.engine.weights import LiveWeights
from workbench.errors import ModelError
from workbench.events import ProbeResult
from workbench.models.families import EditSite, edit_site, layer_count
from workbench.models.held_out import held_out_lines
from workbench.models.load import LoadedModel, load_model
from workbench.models.profiles import profile_of
from workbench.models.second_moment import read_second_moment
from workbench.probing.answers import Question, read_answers
from workbench.probing.metrics import scores
from workbench.probing.perplexity import perplexity
from workbench.probing.probes import ask, probes_of, settle
from workbench.stack.record import Factors

T = TypeVar("T")


@dataclass(frozen=True)
class Scores:
    """ES, PS, NS and their harmonic mean S, as CounterFact defines them, and what became of the model."""

    edits: int
    es: float
    ps: float
    ns: float
    s: float
    drift: float
    """|W − W0| / |W0| at the end, or the mean over single edits."""
    perplexity: float | None = None
    """On held-out text at the end of a sequence."""
    perplexity_base: float | None = None


def recall(loaded: LoadedModel, held_out: bool) -> float:
    """Share of (fact, template) whose greedy answer is the fact's object."""
    asked, objects = [], []
    for fact in facts():
        relation = relations()[fact.relation]
        for template in relation.held_out if held_out else relation.trained:
            asked.append(Question(template.replace("{}", fact.subject), (fact.object,)))
            objects.append(fact.object)
    known = 0
    for reading in read_answers(loaded.model, loaded.tokenizer, asked, top=1):
        known += reading.greedy[0]
    return known / len(asked)


class Bench:
    """Edits atlas in memory, one edit after the other, and scores them."""

    def __init__(self, loaded: LoadedModel, recipe: Recipe) -> None:
        self.loaded, self.recipe = loaded, recipe
        self.site: EditSite = edit_site(loaded.model, recipe.layer)
        self.live = LiveWeights(loaded.model)
        self.live.adopt_site(self.site)
        read = read_second_moment(loaded.folder, self.site, loaded.fingerprint)
        if read is None:
            raise ModelError("atlas has no second moment for this layer.", "Pack it again.")
        self.moment = SecondMoment(*read)
        self.templates = sample_templates(loaded.model, loaded.tokenizer, recipe.template_lengths, recipe.seed)
        self.lines = held_out_lines(loaded.folder)
        self.perplexity_base = self._perplexity()

    def _perplexity(self) -> float:
        return perplexity(self.loaded.model, self.loaded.tokenizer, self.lines)

    def factors(self, request: EditRequest) -> tuple[Factors, ...]:
        """The update for `request` on the model as it is now."""
        loaded = self.loaded
        update: Update = returned(
            make_update(
                loaded.model,
                loaded.tokenizer,
                self.site,
                request,
                self.recipe,
                self.templates,
                self.moment,
                lambda: False,
            )
        )
        return (Factors(self.site.module, update.u[None, :].numpy(), update.v[:, None].numpy()),)

    def single(self, requests: Sequence[EditRequest]) -> Scores:
        """Every request alone, on the base."""
        results, drifts = [], []
        for request in requests:
            probes = settle(self.loaded.model, self.loaded.tokenizer, probes_of(request))
            self.live.show([self.factors(request)])
            results.append(ask(self.loaded.model, self.loaded.tokenizer, probes))
            drifts.append(self.live.drift())
            self.live.show([])
        return _scores(results, _mean(drifts))

    def sequential(self, requests: Sequence[EditRequest]) -> Scores:
        """All requests one after the other, scored together at the end."""
        model, tokenizer = self.loaded.model, self.loaded.tokenizer
        probes = [settle(model, tokenizer, probes_of(request)) for request in requests]
        for request in requests:
            self.live.show((*self.live.shown, self.factors(request)))
        results = [ask(model, tokenizer, asked) for asked in probes]
        measured = replace(
            _scores(results, self.live.drift()),
            perplexity=self._perplexity(),
            perplexity_base=self.perplexity_base,
        )
        self.live.show([])
        return measured


def _scores(results: Sequence[Sequence[ProbeResult]], drift: float) -> Scores:
    found = scores(results)
    es, ps, ns = (math.nan if score is None else score for score in (found.es, found.ps, found.ns))
    return Scores(len(results), es, ps, ns, found.s, drift)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _say(what: str, value: object) -> None:
    sys.stdout.write(json.dumps({"measure": what, "value": value}) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Reads the command line and measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="atlas")
    parser.add_argument("--set", dest="changes", default="{}", help="changes to the profile, as JSON")
    parser.add_argument("--single", type=int, default=100)
    parser.add_argument("--sequential", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-recall", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    loaded = returned(load_model(options.model, "cpu"))
    profile = profile_of(loaded, layer_count(loaded.model)).recipe
    recipe = Recipe.from_json({**profile.to_json(), **json.loads(options.changes)})
    if not options.no_recall:
        _say("recall, trained templates", recall(loaded, held_out=False))
        _say("recall, held-out templates", recall(loaded, held_out=True))
    bench = Bench(loaded, recipe)
    if options.single:
        _say("single", asdict(bench.single(benchmark_requests(options.single, options.seed))))
    if options.sequential:
        _say("sequential", asdict(bench.sequential(benchmark_requests(options.sequential, options.seed + 1))))


if __name__ == "__main__":
    main()
