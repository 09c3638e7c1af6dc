"""Steps that are recorded once and played again, with a recorder that refuses what a CUDA capture refuses."""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from tests import zoo
from tests.editing.helpers import TEMPLATES, drain, error, start, steps
from tests.editing.tape import Scribe, recording
from tests.editing.test_fast import LINEAR_ATTENTION, REQUEST, edit, model_of
from workbench.editing import fast, graphs, late, optimise
from workbench.editing.hooks import forward_hook
from workbench.editing.together import make_updates
from workbench.editing.update import Update
from workbench.edits import EditRequest, Recipe
from workbench.events import Log, Warning  # noqa: A004  the wire's word
from workbench.models.families import edit_site

STEPS = Recipe(layer=1, steps=9, lr=0.3, loss_stop=0.0, second_moment=False)
BY_LISTS = {"falcon", "falcon_grouped"}
"""Families whose own code takes parts of a tensor by a list of numbers, from the host at every pass."""
RECORDED = sorted(set(zoo.FAMILIES) - LINEAR_ATTENTION - BY_LISTS)
OTHER = EditRequest("Today {} plays the", "Clara Schumann", "wooden flute")
AS_LONG = EditRequest("Today {} the plays", "Knut Hamsun", "trumpet silver")


@pytest.fixture
def scribe(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scribe]:
    """Steps are recorded, with no column more than the rows need: so the numbers are those without a recorder."""
    monkeypatch.setattr(fast, "MULTIPLES", (1, 1))
    with recording() as scribe:
        yield scribe


def unrecorded(family: str, recipe: Recipe = STEPS, request: EditRequest = REQUEST) -> Update:
    """The update as it is without a recorder, in the midst of a test that has one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("workbench.editing.graphs.shelf_of", lambda _: None)
        return edit(family, recipe, request)[1]


@pytest.mark.parametrize("family", RECORDED)
def test_played_steps_are_those_that_were_recorded_bit_for_bit(family: str, scribe: Scribe) -> None:
    events, played = edit(family, STEPS)
    assert not graphs.refused(model_of(family))
    assert (scribe.made, scribe.played) == (1, 1 + STEPS.steps - 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("workbench.editing.graphs.shelf_of", lambda _: None)
        told, plainly = edit(family, STEPS)
    assert torch.equal(played.v, plainly.v)
    for got, want in zip(steps(events), steps(told), strict=True):
        assert (got.loss, got.delta_norm, got.stopped) == (want.loss, want.delta_norm, want.stopped)


@pytest.mark.parametrize(
    ("looks", "why"),
    [
        (lambda hidden: float(hidden.detach().sum()), "operation not permitted when stream is capturing"),
        (lambda hidden: hidden[hidden > 0], "operation not permitted when stream is capturing"),
        (lambda hidden: hidden * torch.tensor([1.0] * hidden.shape[-1]), "Cannot copy between CPU and CUDA"),
    ],
)
def test_what_cannot_be_recorded_runs_as_it_is_and_is_tried_once(
    looks: Callable[[Tensor], object], why: str, scribe: Scribe
) -> None:
    model = copy.deepcopy(model_of("llama"))
    told = []

    def look(_: nn.Module, __: object, output: Tensor) -> None:
        looks(output)

    with forward_hook(model.model.norm, look):
        for _ in range(2):
            events, update = drain(start(model, zoo.tokenizer("llama"), REQUEST, STEPS, TEMPLATES))
            told += [event.message for event in events if isinstance(event, Log)]
            assert torch.equal(update.v, unrecorded("llama").v)
    assert (scribe.made, scribe.played) == (1, 0)
    assert why in graphs.refused(model)
    (note,) = told
    assert f"not as a CUDA graph: {why}" in note


@pytest.mark.parametrize("family", sorted(BY_LISTS))
def test_a_family_that_cannot_be_recorded_is_edited_all_the_same(family: str, scribe: Scribe) -> None:
    assert torch.equal(edit(family, STEPS)[1].v, unrecorded(family).v)
    assert (scribe.made, scribe.played) == (1, 0)


def test_a_second_edit_of_the_same_shape_plays_the_recording_with_its_own_numbers(scribe: Scribe) -> None:
    edit("llama", STEPS)
    second = edit("llama", STEPS, AS_LONG)[1]
    assert scribe.made == 1
    assert torch.equal(second.v, unrecorded("llama", request=AS_LONG).v)


def test_columns_are_rounded_up_so_that_edits_of_like_length_share_a_recording() -> None:
    with recording() as scribe:
        edit("llama", STEPS)
        second = edit("llama", STEPS, EditRequest("So {} plays the", "Knut Hamsun", "silver trumpet"))[1]
    assert scribe.made == 1
    assert (
        error(second.v, edit("llama", STEPS, EditRequest("So {} plays the", "Knut Hamsun", "silver trumpet"))[1].v)
        < 1e-5
    )


def test_another_shape_is_recorded_for_itself_and_no_more_than_so_many_are_kept(
    scribe: Scribe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphs, "MOST", 2)
    for words in ("", "old ", "old and gray ", "old and gray and wise "):
        edit("llama", STEPS, EditRequest("Today {} plays the " + words, "Knut Hamsun", "silver trumpet"))
    shelf = graphs.shelf_of(model_of("llama"))
    assert scribe.made == 4
    assert shelf is not None
    assert len(shelf) == 2


def test_a_recording_reads_the_weights_as_they_are_now(scribe: Scribe) -> None:
    model, tokenizer = copy.deepcopy(model_of("llama")), zoo.tokenizer("llama")
    drain(start(model, tokenizer, REQUEST, STEPS, TEMPLATES))
    with torch.no_grad():
        edit_site(model, 3).weight(model).mul_(1.5)
    changed = drain(start(model, tokenizer, REQUEST, STEPS, TEMPLATES))[1]
    assert scribe.made == 1
    graphs.let_go(model)
    assert torch.equal(changed.v, drain(start(model, tokenizer, REQUEST, STEPS, TEMPLATES))[1].v)


def test_a_weight_that_has_moved_is_not_read_where_it_was(scribe: Scribe) -> None:
    model, tokenizer = copy.deepcopy(model_of("llama")), zoo.tokenizer("llama")
    drain(start(model, tokenizer, REQUEST, STEPS, TEMPLATES))
    weight = edit_site(model, 3).weight(model)
    weight.data = weight.data * 1.5
    drain(start(model, tokenizer, REQUEST, STEPS, TEMPLATES))
    assert scribe.made == 2


def test_a_recording_that_gives_other_numbers_is_not_believed(scribe: Scribe, monkeypatch: pytest.MonkeyPatch) -> None:
    record = Scribe.record

    def lying(self: Scribe, step: graphs.Play) -> graphs.Play:
        play = record(self, step)
        return lambda: play() + 0.1

    monkeypatch.setattr(Scribe, "record", lying)
    assert torch.equal(edit("llama", STEPS)[1].v, unrecorded("llama").v)
    assert graphs.refused(model_of("llama")) == "what was recorded gives other numbers"


def test_two_edits_in_turn_do_not_share_a_recording(scribe: Scribe) -> None:
    model, tokenizer = model_of("llama"), zoo.tokenizer("llama")
    edit("llama", STEPS)
    one = start(model, tokenizer, REQUEST, STEPS, TEMPLATES)
    for _ in range(8):
        next(one)
    other = edit("llama", STEPS, AS_LONG)[1]
    first = drain(one)[1]
    assert scribe.made == 2
    assert torch.equal(other.v, unrecorded("llama", request=AS_LONG).v)
    assert torch.equal(first.v, unrecorded("llama").v)


def test_a_recording_holds_no_model(scribe: Scribe) -> None:
    model = copy.deepcopy(model_of("llama"))
    drain(start(model, zoo.tokenizer("llama"), REQUEST, STEPS, TEMPLATES))
    assert scribe.made == 1
    assert len(graphs._SHELVES) == 1
    del model
    gc.collect()
    assert len(graphs._SHELVES) == 0


def together(family: str, requests: list[EditRequest], recipe: Recipe) -> list[Tensor]:
    model = model_of(family)
    site = edit_site(model, recipe.layer)
    making = make_updates(model, zoo.tokenizer(family), site, requests, recipe, TEMPLATES, None, lambda: False)
    made = drain(making)[1]
    return [one.outcome.v for one in made if isinstance(one.outcome, Update)]


def test_requests_that_end_early_leave_the_recording_behind(scribe: Scribe) -> None:
    """The first ends on the way, so that passes are narrowed while a recording is played."""
    requests = [REQUEST, OTHER, EditRequest("Today {} plays the", "Knut Hamsun", "flute")]
    recipe = _until(7.25)
    twice = [together("llama", requests, recipe) for _ in range(2)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("workbench.editing.graphs.shelf_of", lambda _: None)
        plainly = together("llama", requests, recipe)
    assert scribe.made == 2  # for three requests, and for two
    assert scribe.played > 30
    for made in twice:
        assert all(torch.equal(got, want) for got, want in zip(made, plainly, strict=True))


def test_a_recording_for_those_that_are_left_is_played_with_others_left_out(scribe: Scribe) -> None:
    """The first ends on the way: which place among the three it has is a number that a played step must be given."""
    early, second, third = REQUEST, OTHER, EditRequest("Today {} plays the", "Knut Hamsun", "flute")
    for requests in ([early, second, third], [third, second, early]):
        made = together("llama", requests, _until(7.25))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("workbench.editing.graphs.shelf_of", lambda _: None)
            plainly = together("llama", requests, _until(7.25))
        assert all(torch.equal(got, want) for got, want in zip(made, plainly, strict=True))
    assert scribe.made < 4


def test_all_that_a_recorded_step_reads_is_held_for_as_long_as_it_can_be_played(
    scribe: Scribe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph holds none of the tensors that were there before it: their memory would be another's."""
    kept: list[graphs.Recording] = []
    monkeypatch.setattr(graphs.Shelf, "put", lambda _, __, recording: kept.append(recording))
    together("llama", [REQUEST, OTHER, EditRequest("Today {} plays the", "Knut Hamsun", "flute")], _until(7.25))
    model = model_of("llama")
    held = [*model.parameters(), *model.buffers()]
    held += [tensor for recording in kept for tensor in (*recording.fixed, *recording.state)]
    places = {tensor.untyped_storage().data_ptr() for tensor in held}
    assert len(scribe.tapes) > 1
    assert not [read for tape in scribe.tapes for read in tape.reads() if read not in places]


def test_requests_can_be_left_out_for_a_caller_in_inference_mode(scribe: Scribe) -> None:
    requests = [REQUEST, OTHER, EditRequest("Today {} plays the", "Knut Hamsun", "flute")]
    wanted = together("llama", requests, _until(7.25))
    with torch.inference_mode():
        made = together("llama", requests, _until(7.25))
    assert scribe.made == 2
    assert all(torch.equal(got, want) for got, want in zip(made, wanted, strict=True))


def test_numbers_that_are_made_tensors_by_name_are_left_to_the_recorder(scribe: Scribe) -> None:
    model = copy.deepcopy(model_of("llama"))

    def scaled(_: nn.Module, __: object, output: Tensor) -> Tensor:
        return output * torch.tensor(data=1.0, device=output.device)

    with forward_hook(model.model.norm, scaled):
        update = drain(start(model, zoo.tokenizer("llama"), REQUEST, STEPS, TEMPLATES))[1]
    assert scribe.made == 1
    assert torch.equal(update.v, unrecorded("llama").v)


def test_want_of_memory_while_a_step_is_recorded_makes_no_pass_smaller(
    scribe: Scribe, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = fast.FastObjective.values

    def short(self: fast.FastObjective, rows: range, offsets: Tensor) -> Tensor:
        if graphs.is_recording(model):
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return values(self, rows, offsets)

    model = copy.deepcopy(model_of("llama"))
    monkeypatch.setattr(fast.FastObjective, "values", short)
    events, update = drain(start(model, zoo.tokenizer("llama"), REQUEST, STEPS, TEMPLATES))
    assert (scribe.made, scribe.played) == (1, 0)
    assert graphs.refused(model) == "CUDA out of memory."
    assert not [event for event in events if isinstance(event, Warning) and "Memory" in event.message]
    assert torch.equal(update.v, unrecorded("llama").v)


def _until(loss: float) -> Recipe:
    return Recipe(layer=1, steps=24, lr=0.3, loss_stop=loss, second_moment=False)


class OneLate(late.Late):
    """As on CUDA, on a CPU: a report is given when the next one is there."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self.waits = True
        self._sent: list[Tensor] = []

    def _send(self, report: Tensor) -> None:
        self._sent.append(report.detach().clone())
        self._under_way.append(None)  # type: ignore[arg-type]

    def _oldest(self) -> late.Rows:
        self._under_way.pop(0)
        rows: late.Rows = self._sent.pop(0).tolist()
        return rows


@pytest.mark.parametrize("recipe", [STEPS, _until(7.25)], ids=["every step", "an early end"])
def test_reports_that_come_late_change_nothing(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    told, plainly = edit("llama", recipe)
    monkeypatch.setattr(optimise, "Late", OneLate)
    events, made = edit("llama", recipe)
    assert torch.equal(made.v, plainly.v)
    assert steps(events)[-1].stopped == ("loss" if recipe.loss_stop else "steps")
    assert [(s.step, s.loss, s.stopped) for s in steps(events)] == [(s.step, s.loss, s.stopped) for s in steps(told)]
