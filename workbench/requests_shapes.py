"""One record of a request file as an EditRequest: our own shape and those of CounterFact, EasyEdit and zsRE.

| | prompt | new | true | paraphrases | neighbours, answers |
|---|---|---|---|---|---|
| ours | prompt | target_new | target_true | paraphrases | neighbours |
| CounterFact (arXiv 2202.05262) | requested_rewrite: prompt | target_new.str | target_true.str | paraphrase_prompts | \
neighborhood_prompts, target_true |
| EasyEdit | prompt | target_new | ground_truth | rephrase_prompt | locality_prompt, locality_ground_truth |
| zsRE, as MEND has it | src | alt | answers | rephrase | loc, loc_ans |

A prompt may have the subject written out in place of `{}`. In each shape `"chat": true` makes the prompt a user's
turn of a chat. Fields of other names are left alone.
"""

from __future__ import annotations

from typing import Any

from workbench.edits import EditRequest, Neighbour, chat_from_json
from workbench.errors import RequestError

FIELDS: dict[str, tuple[str, ...]] = {
    "prompt": ("prompt", "src", "template"),
    "subject": ("subject",),
    "target_new": ("target_new", "alt", "target"),
    "target_true": ("target_true", "ground_truth", "answers"),
    "paraphrases": (
        "paraphrases",
        "paraphrase",
        "paraphrase_prompts",
        "rephrase_prompts",
        "rephrase_prompt",
        "rephrase",
    ),
    "neighbours": (
        "neighbours",
        "neighbors",
        "neighborhood_prompts",
        "neighbourhood_prompts",
        "locality_prompts",
        "locality_prompt",
        "loc",
    ),
    "answers": ("locality_ground_truth", "loc_ans"),
}
"""The names that a field goes by, the preferred one first; `answers` are the neighbours' right answers."""

HINT = "It needs prompt, subject and target_new; see workbench apply --help."


def request_from(record: object) -> EditRequest:
    """The request that a record describes, whichever of the known shapes it has.

    Raises:
        RequestError: a field is missing or has the wrong type, or what is asked for makes no sense.
    """
    if not isinstance(record, dict):
        raise RequestError("The record is not a JSON object.", HINT)
    fields = _flat(record)
    return EditRequest.from_text(
        _needed(fields, "prompt"),
        _needed(fields, "subject"),
        _needed(fields, "target_new"),
        target_true=_optional(fields, "target_true"),
        paraphrases=_paraphrases(fields),
        neighbours=_neighbours(fields),
        chat=chat_from_json(fields.get("chat")),
    )


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    """The record with CounterFact's `requested_rewrite` lifted out; its neighbours all answer its target_true."""
    rewrite = record.get("requested_rewrite")
    if rewrite is None:
        return record
    if not isinstance(rewrite, dict):
        raise RequestError("The field 'requested_rewrite' is not an object.", HINT)
    return {"locality_ground_truth": rewrite.get("target_true"), **record, **rewrite}


def _found(fields: dict[str, Any], field: str) -> tuple[str, Any]:
    """The name under which `field` is there, and its value; its first name and None if it is not."""
    for name in FIELDS[field]:
        if fields.get(name) is not None:
            return name, fields[name]
    return FIELDS[field][0], None


def _needed(fields: dict[str, Any], field: str) -> str:
    name, value = _found(fields, field)
    if value is None:
        raise RequestError(f"There is no '{name}'.", HINT)
    return _text(name, value)


def _optional(fields: dict[str, Any], field: str) -> str | None:
    name, value = _found(fields, field)
    return None if value in (None, "", []) else _text(name, value)


def _text(name: str, value: Any) -> str:
    """A text, the text in {"str": ...}, or the first of a list of texts."""
    if isinstance(value, dict):
        value = value.get("str")
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, str):
        raise RequestError(f"The field '{name}' is not text.", HINT)
    return value


def _paraphrases(fields: dict[str, Any]) -> tuple[str, ...]:
    name, value = _found(fields, "paraphrases")
    listed = _list(value)
    if not all(isinstance(item, str) for item in listed):
        raise RequestError(f"The field '{name}' is not a list of texts.", HINT)
    return tuple(listed)


def _neighbours(fields: dict[str, Any]) -> tuple[Neighbour, ...]:
    name, value = _found(fields, "neighbours")
    listed = _list(value)
    answers = _answers(fields, len(listed))
    found = []
    for item, answer in zip(listed, answers, strict=True):
        pair = {"prompt": item} if isinstance(item, str) else item
        if not isinstance(pair, dict) or not isinstance(pair.get("prompt"), str):
            raise RequestError(f"The field '{name}' is not a list of prompts.", HINT)
        expected = pair.get("expected", pair.get("ground_truth", pair.get("target", answer)))
        found.append(Neighbour(pair["prompt"], None if expected is None else _text(name, expected)))
    return tuple(found)


def _answers(fields: dict[str, Any], count: int) -> list[Any]:
    """An answer for each neighbour: one for all, or as many as there are."""
    name, value = _found(fields, "answers")
    if isinstance(value, list) and len(value) == count:
        return value
    if isinstance(value, list) and len(value) > 1:
        raise RequestError(f"The field '{name}' has {len(value)} answers for {count} prompts.", HINT)
    return [value or None] * count


def _list(value: Any) -> list[Any]:
    """A list as it is, nothing as an empty list, one thing as a list of it."""
    if value in (None, ""):
        return []
    return value if isinstance(value, list) else [value]
