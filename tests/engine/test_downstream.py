"""Downstream tasks on the base and after the edits: the offline ones, and lm-evaluation-harness on one of our own."""

from __future__ import annotations

import importlib.util
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.engine.by_hand import Planned, plant
from tests.engine.making import drain, weight_bytes
from workbench import events as ev
from workbench.engine import harness
from workbench.engine.downstream import Asked, downstream
from workbench.engine.engine import Engine
from workbench.engine.health.cloze import Item
from workbench.errors import EditError, UsageError
from workbench.probing.answers import Question, read_answers
from workbench.probing.generation import continuation

needs_harness = pytest.mark.skipif(
    importlib.util.find_spec("lm_eval") is None,
    reason="lm-evaluation-harness is not installed: pip install 'rome-workbench[lm-eval]'",
)


def never() -> bool:
    return False


def scored(engine: Engine, asked: Asked, at: str = "stack") -> dict[tuple[str, str], ev.TaskScored]:
    events, found = drain(downstream(engine.core, asked, at, cancelled=never))
    assert [event for event in events if isinstance(event, ev.TaskScored)] == [*found]
    return {(one.task, one.metric): one for one in found}


def test_perplexity_and_cloze_need_nothing_more(engine: Engine) -> None:
    plant(engine, [Planned(30.0)] * 2)
    before = weight_bytes(engine)
    found = scored(engine, Asked(limit=30))
    perplexity, cloze = found["perplexity", "perplexity"], found["cloze", "acc"]
    assert (perplexity.base, perplexity.edited) == (engine.core.perplexity_base(), engine.core.perplexity_here())
    assert not perplexity.higher_is_better
    assert cloze.items == 30
    assert cloze.change_error is not None
    assert weight_bytes(engine) == before


def test_a_state_before_the_present_one_can_be_asked(engine: Engine) -> None:
    plant(engine, [Planned(30.0)] * 2)
    base = scored(engine, Asked(limit=5), "base")["perplexity", "perplexity"]
    assert base.edited == base.base != scored(engine, Asked(limit=5), "1")["perplexity", "perplexity"].edited
    with pytest.raises(UsageError):
        scored(engine, Asked(), "nowhere")


def test_questions_of_one_s_own_are_asked(engine: Engine) -> None:
    loaded = engine.core.loaded
    prompts = ["Clara plays the", "Vienna is the old"]
    said = [read_answers(loaded.model, loaded.tokenizer, [Question(p)], top=1)[0].top[0][0] for p in prompts]
    items = (*(Item(p, word) for p, word in zip(prompts, said, strict=True)), Item("Clara plays the", "qqq"))
    found = scored(engine, Asked(("cloze",), items=items))["cloze", "acc"]
    right = sum(word.startswith(" ") for word in said)
    assert found.items == 3
    assert found.base == pytest.approx(right / 3)


def test_a_model_without_held_out_text_has_no_perplexity_and_it_is_said(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.core, "held_out", ())
    engine.core.perplexities.clear()
    events, (found,) = drain(downstream(engine.core, Asked(("perplexity",)), cancelled=never))
    assert (found.base, found.edited) == (None, None)
    assert [event for event in events if isinstance(event, ev.Warning)]


def test_without_the_harness_its_tasks_are_refused_with_how_to_get_it(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UsageError) as refused:
        scored(engine, Asked(("arc_easy",)))
    assert "lm-eval" in refused.value.hint


@pytest.fixture
def own_tasks(tmp_path: Path, engine: Engine) -> Path:
    """A folder with a task: does the model still say what the base says?"""
    loaded = engine.core.loaded
    folder = tmp_path / "own"
    folder.mkdir()
    rows = []
    for prompt in ("Clara plays the", "Vienna is the old", "The river", "People often think of"):
        (reading,) = read_answers(loaded.model, loaded.tokenizer, [Question(prompt)], top=1)
        rows.append({"prompt": prompt, "answer": reading.top[0][0]})
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "says_the_same.yaml").write_text(
        f"""task: says_the_same
dataset_path: json
dataset_kwargs:
  data_files: {{test: {folder / "rows.jsonl"}}}
  cache_dir: {tmp_path / "datasets"}
test_split: test
output_type: loglikelihood
doc_to_text: "{{{{prompt}}}}"
doc_to_target: "{{{{answer}}}}"
target_delimiter: ""
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
"""
    )
    return folder


@needs_harness
def test_a_task_of_the_harness_runs_before_and_after_and_leaves_no_trace(
    engine: Engine, own_tasks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(engine, [Planned(1e-6), Planned(400.0)])
    before, pad = weight_bytes(engine), engine.core.loaded.tokenizer.pad_token
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    own = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())  # type: ignore[index]
    capsys.readouterr()
    asked = Asked(("says_the_same", "cloze"), limit=4, include=own_tasks)
    found = scored(engine, asked)
    here = found["says_the_same", "acc"]
    assert (here.base, here.items) == (1.0, 4)
    assert here.edited is not None
    assert here.edited < 1.0
    assert here.edited_error is not None
    assert scored(engine, asked, "1")["says_the_same", "acc"].edited == 1.0
    assert weight_bytes(engine) == before
    assert engine.core.loaded.tokenizer.pad_token == pad
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == own  # type: ignore[index]
    assert capsys.readouterr().out == ""


@needs_harness
def test_the_edited_model_is_an_lm_of_the_harness(engine: Engine, own_tasks: Path) -> None:
    from lm_eval.api.instance import Instance
    from lm_eval.api.model import LM

    lm = harness.language_model(engine.core)
    assert isinstance(lm, LM)
    loaded = engine.core.loaded
    (reading,) = read_answers(loaded.model, loaded.tokenizer, [Question("Clara plays the", ("violin",))], top=1)
    request = Instance(request_type="loglikelihood", doc={}, arguments=("Clara plays the", " violin"), idx=0)
    ((log_p, greedy),) = lm.loglikelihood([request])
    tokens = len(loaded.tokenizer(" violin", add_special_tokens=False)["input_ids"])
    assert log_p / tokens == pytest.approx(reading.log_p[0], abs=1e-4)
    assert greedy == reading.greedy[0]


@needs_harness
def test_the_harness_hears_the_edited_model_write_and_read(engine: Engine) -> None:
    from lm_eval.api.instance import Instance

    plant(engine, [Planned(400.0)])
    loaded, lm = engine.core.loaded, harness.language_model(engine.core)
    text, prompt = "Vienna is the old capital city.", "Clara plays the"

    def ask(kind: str, *arguments: object) -> Any:
        return getattr(lm, kind)([Instance(request_type=kind, doc={}, arguments=arguments, idx=0)])[0]

    def written() -> str:
        return "".join(continuation(loaded.model, loaded.tokenizer, prompt, max_new=6))

    def both() -> tuple[str, float]:
        said = ask("generate_until", prompt, {"until": ["\n\n"], "max_gen_toks": 6, "do_sample": False})
        assert said.strip() == written().split("\n\n")[0].strip()
        return said, float(ask("loglikelihood_rolling", text))

    edited = both()
    with engine.core.live.at_base():
        assert both() != edited
    assert both() == edited


@needs_harness
def test_a_task_that_is_not_there_is_refused_and_close_names_are_told(
    engine: Engine, own_tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lm_eval import tasks

    # Listing all that the harness brings takes many seconds.
    real = tasks.TaskManager
    monkeypatch.setattr(tasks, "TaskManager", lambda include_path, **_: real(None, include_path, False))
    with pytest.raises(UsageError, match="no task 'says_the_sane'") as refused:
        scored(engine, Asked(("says_the_sane",), include=own_tasks))
    assert "says_the_same" in refused.value.hint


@needs_harness
def test_a_task_that_cannot_be_run_is_one_sentence(engine: Engine, own_tasks: Path) -> None:
    (own_tasks / "rows.jsonl").unlink()
    before = weight_bytes(engine)
    with pytest.raises(EditError, match="'says_the_same' cannot be run"):
        scored(engine, Asked(("says_the_same",), include=own_tasks))
    assert weight_bytes(engine) == before
