"""Requests as records of other tools: our own shape and those of CounterFact and EasyEdit. Free of torch.

The inverse of `requests_shapes`: what is written here reads back as the same requests. Where a shape has no word for
something (neighbours with different answers in CounterFact, several in EasyEdit) it is said in a field that `requests`
reads and that other readers of the shape pass over, or as a list in place of one text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Literal

from workbench.edits import SLOT, EditRequest
from workbench.errors import UsageError
from workbench.requests import MAX_BYTES, MAX_REQUESTS

Shape = Literal["workbench", "counterfact", "easyedit"]
Record = dict[str, Any]


def requests_file(requests: Sequence[EditRequest], shape: Shape) -> bytes:
    """A JSON list of `requests`, in UTF-8.

    Raises:
        UsageError: there is none, or more than a request file may hold.
    """
    if not requests:
        raise UsageError("There are no requests to write.", "No edit with a request is applied.")
    if len(requests) > MAX_REQUESTS:
        raise UsageError(f"There are more than {MAX_REQUESTS} requests.", "That is the most in one file.")
    write = SHAPES[shape]
    records = [write(number, request) | _asked(request) for number, request in enumerate(requests)]
    data = (json.dumps(records, ensure_ascii=False, indent=1) + "\n").encode("utf-8")
    if len(data) > MAX_BYTES:
        raise UsageError(f"The requests take more than {MAX_BYTES // 1024**2} MiB.", "That is the most in one file.")
    return data


def _asked(request: EditRequest) -> Record:
    """That the prompt is a user's turn; what stands around it is each model's own."""
    return {} if request.chat is None else {"chat": True}


def _workbench(_: int, request: EditRequest) -> Record:
    return request.to_json()


def _counterfact(number: int, request: EditRequest) -> Record:
    """A record as in CounterFact (arXiv 2202.05262), where every neighbour's answer is target_true."""
    rewrite: Record = {"prompt": request.prompt, "subject": request.subject, "target_new": {"str": request.target_new}}
    if request.target_true is not None:
        rewrite["target_true"] = {"str": request.target_true}
    answers = [neighbour.expected for neighbour in request.neighbours]
    own = {} if all(answer == request.target_true for answer in answers) else {"locality_ground_truth": answers}
    return {
        "case_id": number,
        "requested_rewrite": rewrite,
        "paraphrase_prompts": list(request.paraphrases),
        "neighborhood_prompts": [neighbour.prompt for neighbour in request.neighbours],
        **own,
    }


def _easyedit(number: int, request: EditRequest) -> Record:
    """A record as in EasyEdit's counterfact-edit.json: the subject written out, one text where there is one."""
    record: Record = {
        "case_id": number,
        "prompt": _written_out(request),
        "subject": request.subject,
        "target_new": request.target_new,
    }
    if request.target_true is not None:
        record["ground_truth"] = request.target_true
    if request.paraphrases:
        record["rephrase_prompt"] = _one_or_all([*request.paraphrases])
    if request.neighbours:
        record["locality_prompt"] = _one_or_all([neighbour.prompt for neighbour in request.neighbours])
        answers = [neighbour.expected for neighbour in request.neighbours]
        record |= {} if answers == [None] else {"locality_ground_truth": _one_or_all(answers)}
    return record


def _written_out(request: EditRequest) -> str:
    """The prompt with its subject, unless the place of the subject could not be found again."""
    text = request.text
    found_again = SLOT not in text and text.count(request.subject) == 1
    return text if found_again and text.replace(request.subject, SLOT) == request.prompt else request.prompt


def _one_or_all(texts: list[Any]) -> Any:
    return texts[0] if len(texts) == 1 else texts


SHAPES: dict[Shape, Callable[[int, EditRequest], Record]] = {
    "workbench": _workbench,
    "counterfact": _counterfact,
    "easyedit": _easyedit,
}
