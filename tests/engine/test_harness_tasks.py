"""Tasks of lm-evaluation-harness as it ships them, on data of our own: all kinds, and equal to what it says itself."""

from __future__ import annotations

import importlib.util
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine.by_hand import Planned, plant
from tests.engine.making import drain
from workbench import events as ev
from workbench.engine import harness
from workbench.engine.downstream import Asked, downstream
from workbench.engine.engine import Engine
from workbench.engine.exporting import export_merged
from workbench.errors import EditError

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("lm_eval") is None,
    reason="lm-evaluation-harness is not installed: pip install 'rome-workbench[lm-eval]'",
)

FOUR = {"text": ["violin", "piano", "river", "city"], "label": ["A", "B", "C", "D"]}
SENTENCES = ("Clara plays the violin", "Vienna is the old capital city", "People often think of the river")
ROWS: dict[str, list[dict[str, Any]]] = {
    "piqa/piqa": [{"goal": one, "sol1": "river", "sol2": "city", "label": 0} for one in SENTENCES],
    "arc/arc_easy": [{"id": one, "question": one, "choices": FOUR, "answerKey": "B"} for one in SENTENCES],
    "hellaswag/hellaswag": [
        {"activity_label": "Music", "ctx_a": one, "ctx_b": "she", "endings": FOUR["text"], "label": "0"}
        for one in SENTENCES
    ],
    "wikitext/wikitext": [{"page": f"{one}.\n" * 9} for one in SENTENCES],
    "lambada/lambada_openai": [{"text": one} for one in SENTENCES],
    "triviaqa/default": [{"question": one, "answer": {"aliases": ["river", "city"]}} for one in SENTENCES],
    "gsm8k/gsm8k": [{"question": one, "answer": f"#### {number}"} for number, one in enumerate(SENTENCES * 3)],
}
"""What each of the harness's own definitions is asked here."""


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the harness's definitions, and local files for their data sets."""
    folder = tmp_path_factory.mktemp("shipped")
    spec = importlib.util.find_spec("lm_eval")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    tasks = Path(spec.submodule_search_locations[0]) / "tasks"
    for path, rows in ROWS.items():
        name = f"my_{path.split('/')[0]}"
        data = folder / f"{name}.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        split, few = ("test", "test") if "gsm8k" in path or "lambada" in path else ("validation", "null")
        (folder / f"{name}.yaml").write_text(
            f"include: {tasks / path}.yaml\ntask: {name}\ndataset_path: json\ndataset_name: null\n"
            f"dataset_kwargs:\n  data_files: {{{split}: {data}}}\n  cache_dir: {folder / 'cache'}\n"
            f"training_split: null\nfewshot_split: {few}\ntest_split: {'test' if split == 'test' else 'null'}\n",
            encoding="utf-8",
        )
    (folder / "both.yaml").write_text("group: both\ntask: [my_piqa, my_lambada]\n", encoding="utf-8")
    return folder


def ran(engine: Engine, shipped: Path, *names: str) -> tuple[list[ev.Event], dict[tuple[str, str], ev.TaskScored]]:
    events, found = drain(downstream(engine.core, Asked(names, include=shipped), cancelled=lambda: False))
    return events, {(one.task, one.metric): one for one in found}


def all_names() -> list[str]:
    return [f"my_{path.split('/')[0]}" for path in ROWS]


def own_measures(path: Path, shipped: Path, names: list[str], longest: int) -> dict[tuple[str, str], float]:
    """What the harness says by itself of the model in a folder."""
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    found = simple_evaluate(
        model=HFLM(pretrained=str(path), device="cpu", dtype="float32", batch_size=4),
        tasks=names,
        task_manager=TaskManager(include_path=str(shipped), include_defaults=False),
        gen_kwargs={"max_gen_toks": longest},
        bootstrap_iters=0,
    )
    return {
        (task, key.partition(",")[0] if key.endswith(",none") else "{} ({})".format(*key.split(","))): value
        for task, row in found["results"].items()
        for key, value in row.items()
        if isinstance(value, float | int) and "stderr" not in key and "," in key
    }


@pytest.fixture
def quiet() -> Iterator[None]:
    logger = logging.getLogger("lm_eval")
    level = logger.level
    logger.setLevel(logging.ERROR)
    yield
    logger.setLevel(level)


@pytest.mark.usefixtures("quiet")
def test_all_kinds_of_its_tasks_say_what_it_says_itself_of_the_merged_model(
    engine: Engine, shipped: Path, tmp_path: Path, small: Path
) -> None:
    plant(engine, [Planned(200.0)])
    events, found = ran(engine, shipped, *all_names())
    assert {task for task, _ in found} == {*all_names()}
    export_merged(engine, tmp_path / "merged")
    window = harness.language_model(engine.core).max_length
    for folder, side in ((tmp_path / "merged", "edited"), (small, "base")):
        own = own_measures(folder, shipped, all_names(), window // 2)
        assert {key: getattr(one, side) for key, one in found.items()} == pytest.approx(own, rel=1e-5, abs=1e-5)
    assert any(one.base != one.edited for one in found.values())
    warned = [event.message for event in events if isinstance(event, ev.Warning)]
    assert ("window" in " ".join(warned)) == (window <= harness.ANSWER)


def test_a_group_is_measured_with_all_its_tasks(engine: Engine, shipped: Path) -> None:
    plant(engine, [Planned(200.0)])
    _, group = ran(engine, shipped, "both")
    _, alone = ran(engine, shipped, "my_piqa", "my_lambada")
    assert {key: one.edited for key, one in group.items()} == pytest.approx(
        {key: one.edited for key, one in alone.items()}, rel=1e-4
    )


def test_the_same_examples_stand_before_the_questions_of_both_sides(
    engine: Engine, shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    model = harness.language_model(engine.core)
    monkeypatch.setattr(harness, "language_model", lambda _: model)

    def note(requests: list[Any]) -> list[str]:
        asked.append([request.args[0] for request in requests])
        return ["" for _ in requests]

    monkeypatch.setattr(model, "generate_until", note)
    ran(engine, shipped, "my_gsm8k")
    base, edited = asked
    assert base == edited
    assert all(prompt.count("Question:") == 6 for prompt in base)


def test_the_answers_of_a_short_window_are_cut_and_it_is_said(
    engine: Engine, shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = harness.language_model(engine.core)
    monkeypatch.setattr(type(model), "max_length", 64)
    events, found = ran(engine, shipped, "my_triviaqa", "my_piqa")
    assert ("my_triviaqa", "exact_match (remove_whitespace)") in found
    (said,) = (event.message for event in events if isinstance(event, ev.Warning))
    assert said == "Answers of 'my_triviaqa' end after 32 tokens: the model's window has 64."


@pytest.mark.parametrize("longest", ["many", "[1]"])
def test_a_length_that_is_no_number_is_said_as_a_wrong_definition(
    engine: Engine, shipped: Path, tmp_path: Path, longest: str
) -> None:
    (tmp_path / "endless.yaml").write_text(
        f"include: {shipped / 'my_triviaqa.yaml'}\ntask: endless\n"
        f"generation_kwargs: {{until: [x], max_gen_toks: {longest}}}\n",
        encoding="utf-8",
    )
    with pytest.raises(EditError, match="'endless' cannot be run") as refused:
        ran(engine, tmp_path, "endless")
    assert "definition is wrong" in refused.value.hint


def test_data_that_is_not_there_is_found_before_a_task_is_run(engine: Engine, shipped: Path, tmp_path: Path) -> None:
    here = (shipped / "my_piqa.yaml").read_text(encoding="utf-8").replace("my_piqa.jsonl", "gone.jsonl")
    (tmp_path / "elsewhere.yaml").write_text(here.replace("task: my_piqa", "task: elsewhere"), encoding="utf-8")
    events: list[ev.Event] = []
    steps = downstream(engine.core, Asked(("perplexity", "elsewhere"), include=tmp_path), cancelled=lambda: False)
    with pytest.raises(EditError, match="'elsewhere' cannot be run") as refused:
        events.extend(steps)
    assert not [event for event in events if isinstance(event, ev.TaskScored)]
    assert "downloaded once" in refused.value.hint


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (ConnectionError("Couldn't reach 'x/y' on the Hub"), "downloaded once"),
        (ModuleNotFoundError("No module named 'langdetect'"), "package"),
        (SyntaxError("unexpected '}'"), "do not go together"),
        (ValueError("Attempted to run task: x which is marked as unsafe."), "do not go together"),
    ],
)
def test_what_the_harness_raises_is_one_sentence_with_its_own_hint(
    engine: Engine, shipped: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, hint: str
) -> None:
    def load(_: object) -> None:
        raise error

    used = harness.Harness(engine.core, ["my_piqa"], shipped, None)
    monkeypatch.setattr(used._manager, "load", load)
    with pytest.raises(EditError, match="'my_piqa' cannot be run") as refused:
        used.load("my_piqa")
    assert hint in refused.value.hint


def test_no_memory_is_no_fault_of_the_task(engine: Engine, shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: object) -> None:
        raise MemoryError

    used = harness.Harness(engine.core, ["my_piqa"], shipped, None)
    monkeypatch.setattr(used._manager, "load", full)
    with pytest.raises(MemoryError):
        used.load("my_piqa")
