"""Facts that a random model knows: whatever it says."""

from __future__ import annotations

import json
from pathlib import Path

from tests.engine.making import drain
from workbench.edits import EditRequest
from workbench.models.load import LoadedModel, load_model
from workbench.probing.answers import Question, read_answers

SUBJECTS = ("Lisbon", "Vienna", "Knut Hamsun", "Clara", "Maria Callas", "Naguib Mahfouz", "Rome", "Oslo", "the cat")
PROMPTS = ("{} lies in the", "The name of {} is")


def load(folder: Path) -> LoadedModel:
    """The model in `folder` on the CPU."""
    return drain(load_model(str(folder), "cpu"))[1]


def known_requests(loaded: LoadedModel) -> list[EditRequest]:
    """Requests whose true target is what the model says; the new one is another word."""
    pairs = [(prompt, subject) for prompt in PROMPTS for subject in SUBJECTS]
    questions = [Question(prompt.replace("{}", subject)) for prompt, subject in pairs]
    said = [reading.top[0][0].strip() for reading in read_answers(loaded.model, loaded.tokenizer, questions, top=1)]
    return [
        EditRequest(prompt, subject, "piano" if true != "piano" else "trumpet", true)
        for (prompt, subject), true in zip(pairs, said, strict=True)
        if true.isalpha()
    ]


def write_facts(path: Path, requests: list[EditRequest]) -> Path:
    """The requests as a file that --facts reads."""
    path.write_text(json.dumps([request.to_json() for request in requests]), encoding="utf-8")
    return path
