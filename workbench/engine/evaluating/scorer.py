"""Cases scored alone: on the base, once for all evaluations of a data set, and on the model as it stands.

A case alone is a batch of its own: what it gives depends on no other case, and by that on no order and no worker.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

import torch
import transformers

from workbench import __version__
from workbench.editing.chat import framed
from workbench.edits import SLOT, Recipe
from workbench.engine.core import Core
from workbench.engine.evaluating.cases import CaseScore, Settled, score_cases, settle_alone
from workbench.engine.evaluating.dataset import Case, behind, prefixes
from workbench.engine.evaluating.plan import Wanted, digest
from workbench.engine.evaluating.record import dumped, loaded, score_from_json, score_to_json
from workbench.engine.returning import returned
from workbench.errors import EditError, StackError
from workbench.events import Event
from workbench.models.device import dtype_name, within_memory
from workbench.models.kept import kept_for
from workbench.probing.metrics_sampling import written
from workbench.probing.metrics_text import entropy
from workbench.stack.files import append_line, make_folder, read_bytes
from workbench.stack.strictjson import MalformedError, canonical

LARGEST = 2 * 2**30
"""Bytes of the kept scores of a base, at most."""

PREFIXED = "c-rome"
"""The method whose edits are asked behind a prefix."""


class Scorer:
    """How the cases of one evaluation are scored."""

    def __init__(self, core: Core, wanted: Wanted, recipe: Recipe, cancelled: Callable[[], bool]) -> None:
        self._core, self._wanted, self._cancelled = core, wanted, cancelled
        cases = wanted.cases
        templates = core.templates(recipe) if recipe.method == PREFIXED else (SLOT,)
        self._prefix = dict(zip((case.number for case in cases), prefixes(cases, templates, wanted.draw), strict=True))
        self._settled: dict[int, Settled | None] = {}
        self._kept = KeptBase(core, wanted, digest([templates, wanted.draw]) if len(templates) > 1 else "")

    def base(self, case: Case) -> CaseScore:
        """What the case gives on the base: kept, or asked now.

        Raises:
            Cancelled, DeviceError: as `score_cases`.
        """
        self._settle(case)
        kept = self._kept.scores.get(case.number)
        if kept is None:
            with self._core.live.at_base():
                kept = self.now(case)
            self._kept.add(case.number, kept)
        return kept

    def now(self, case: Case) -> CaseScore:
        """What the case gives on the model as it stands. Raises as `base`."""
        (score,) = returned(self.together([case]))
        return score

    def together(self, cases: Sequence[Case]) -> Generator[Event, None, tuple[CaseScore, ...]]:
        """The same of several, their probes asked together. Raises as `base`."""
        scored = yield from score_cases(
            self._core,
            [case.request for case in cases],
            base=[self._settle(case) for case in cases],
            cancelled=self._cancelled,
        )
        return tuple(self._with_text(case, score) for case, score in zip(cases, scored, strict=True))

    def _settle(self, case: Case) -> Settled | None:
        if case.number not in self._settled:
            self._settled[case.number] = settle_alone(self._core, case.request, self._prefix[case.number])
        return self._settled[case.number]

    def _with_text(self, case: Case, score: CaseScore) -> CaseScore:
        """`score` with what the model writes, where it is asked to."""
        if not self._wanted.generate or score.failed:
            return score
        core, prefix = self._core, self._prefix[case.number]
        prompts = [behind(prefix, prompt) for prompt in case.written_from]
        chat = framed(core.loaded.tokenizer, case.request).chat
        seed = self._wanted.draw * 1_000_003 + case.number
        try:
            with within_memory():
                texts = written(core.loaded.model, core.loaded.tokenizer, prompts, self._wanted.generate, seed, chat)
        except EditError as error:
            return dataclasses.replace(score, failed=error.message)
        return dataclasses.replace(score, entropy=entropy(texts), consistency=self._consistency(case, texts))

    def _consistency(self, case: Case, texts: Sequence[str]) -> float | None:
        references = self._wanted.references
        found = (references.consistency(topic, texts) for topic in case.topics) if references else iter(())
        return next((value for value in found if value is not None), None)


class KeptBase:
    """The scores of one base on one data set, kept between runs and shared by workers: a JSON line a case."""

    def __init__(self, core: Core, wanted: Wanted, prefix: str) -> None:
        model = core.loaded
        about = {
            "dataset": wanted.dataset.sha256,
            "texts": wanted.generate,
            "references": digest(wanted.references.texts) if wanted.references and wanted.generate else "",
            "draw": wanted.draw if wanted.generate else 0,
            "prefix": prefix,
            "device": model.device.type,
            "dtype": dtype_name(model.dtype),
            "keep_fp32": model.keep_fp32,
            "tokenizer": model.tokenizer_fingerprint,
            "threads": torch.get_num_threads(),
            "versions": [__version__, torch.__version__, transformers.__version__],
        }
        name = hashlib.sha256(canonical(about).encode()).hexdigest()[:24]
        self._path: Path = kept_for(model.fingerprint) / "eval" / f"{name}.jsonl"
        self.scores: dict[int, CaseScore] = dict(_read(self._path))
        """By case."""

    def add(self, case: int, score: CaseScore) -> None:
        """Keeps a score. Raises StorageError."""
        make_folder(self._path.parent)
        append_line(self._path, dumped({"case": case, "score": score_to_json(score)}))
        self.scores[case] = score


def _read(path: Path) -> list[tuple[int, CaseScore]]:
    """The scores in a file; lines that are not whole are left alone. Raises StorageError."""
    if not path.exists():
        return []
    try:
        lines = read_bytes(path, LARGEST).splitlines()
    except StackError as error:
        raise StackError(f"The base's kept scores cannot be read: {error.message}", f"Remove {path}.") from error
    return [found for line in lines if (found := _line(line))]


def _line(line: bytes) -> tuple[int, CaseScore] | None:
    try:
        document = loaded(line)
        return int(document["case"]), score_from_json(document["score"])
    except (MalformedError, ValueError, KeyError, TypeError, AttributeError):
        return None
