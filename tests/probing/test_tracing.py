"""Causal tracing agrees with a slow loop that restores one state of one sample at a time, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tests import zoo
from workbench.editing.chat import framed
from workbench.edits import Chat, EditRequest
from workbench.errors import EditError, ModelError, UsageError
from workbench.models.families import decoder_blocks
from workbench.probing import tracing_hooks
from workbench.probing.tracing import Trace, trace
from workbench.probing.tracing_hooks import observed, restored
from workbench.probing.tracing_text import TraceText, embedding_spread, input_embeddings, trace_text
from workbench.traces import KINDS, Kind, TraceSettings

FAMILIES = ("gpt2", "llama", "gemma2", "gpt_neox", "opt")
MODULES: dict[str, tuple[str, str]] = {
    "gpt2": ("mlp.c_proj", "attn.c_proj"),
    "llama": ("mlp.down_proj", "self_attn.o_proj"),
    "gemma2": ("mlp.down_proj", "self_attn.o_proj"),
    "gpt_neox": ("mlp.dense_4h_to_h", "attention.dense"),
    "opt": ("fc2", "self_attn.out_proj"),
}
"""Where the outputs of MLP and attention come from, below a block."""
REQUEST = EditRequest("The mother tongue of {} is said to be", "Naguib Mahfouz", " Arabic")
SIGMA = 0.7


@cache
def model_of(family: str) -> PreTrainedModel:
    return zoo.tiny(family)


@cache
def text_of(family: str, answer: str = " Arabic") -> TraceText:
    return trace_text(zoo.tokenizer(family), REQUEST, answer)


def traced(
    model: PreTrainedModel, text: TraceText, settings: TraceSettings, sigma: float = SIGMA, **more: Any
) -> Trace:
    steps = trace(model, text, settings, sigma, lambda: False, **more)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: Trace = end.value
            return found


def replaced(output: Any, hidden: Tensor) -> Any:
    return (hidden, *output[1:]) if isinstance(output, tuple) else hidden


@contextmanager
def hooked(module: nn.Module, change: Any) -> Iterator[None]:
    def hook(_: nn.Module, __: Any, output: Any) -> Any:
        hidden = output[0] if isinstance(output, tuple) else output
        return replaced(output, change(hidden.clone()))

    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


class SlowTrace:
    """One sample, one (token, layers), one forward after the other."""

    def __init__(self, family: str, text: TraceText, kind: Kind, samples: int, seed: int) -> None:
        self.model, self.text = model_of(family), text
        blocks = list(decoder_blocks(self.model))
        paths = {"mlp": MODULES[family][0], "attention": MODULES[family][1]}
        self.modules = [b if kind == "state" else b.get_submodule(paths[kind]) for b in blocks]
        self.clean: list[Tensor] = []
        self.p_clean = self.run(None, [], keep=True)
        size = (samples, text.last - text.first + 1, self.embedded.shape[-1])
        self.noises = torch.randn(size, generator=torch.Generator().manual_seed(seed)) * SIGMA

    def run(self, noise: Tensor | None, cell: list[tuple[int, int]], *, keep: bool = False) -> float:
        """p(answer) of one row, with the (token, layer) pairs of `cell` restored."""

        def corrupt(hidden: Tensor) -> Tensor:
            self.embedded = hidden
            if noise is not None:
                hidden[0, self.text.first : self.text.last + 1] += noise
            return hidden

        def put(token: int, layer: int) -> Any:
            def change(hidden: Tensor) -> Tensor:
                hidden.view(-1, hidden.shape[-1])[token] = self.clean[layer][token]
                return hidden

            return change

        def look(hidden: Tensor) -> Tensor:
            self.clean.append(hidden.view(-1, hidden.shape[-1]).clone())
            return hidden

        with ExitStack() as hooks, torch.no_grad():
            hooks.enter_context(hooked(input_embeddings(self.model), corrupt))
            for module in self.modules if keep else []:
                hooks.enter_context(hooked(module, look))
            for token, layer in cell:
                hooks.enter_context(hooked(self.modules[layer], put(token, layer)))
            ids = torch.tensor([self.text.ids])
            log_p = self.model(input_ids=ids, use_cache=False).logits[0].log_softmax(-1)
        answer = torch.tensor(self.text.answer)
        said = log_p[len(self.text.prompt) - 1 :].gather(1, answer[:, None])
        return float(said.double().mean().exp())

    def mean(self, cell: list[tuple[int, int]]) -> float:
        return sum(self.run(noise, cell) for noise in self.noises) / len(self.noises)


@pytest.mark.parametrize("family", FAMILIES)
def test_states_are_restored_as_a_slow_loop_does(family: str) -> None:
    text = text_of(family)
    slow = SlowTrace(family, text, "state", samples=2, seed=5)
    found = traced(model_of(family), text, TraceSettings(samples=2, seed=5))
    expected = [[slow.mean([(token, layer)]) for layer in range(4)] for token in range(len(text.prompt))]
    assert found.clean == pytest.approx(slow.p_clean, rel=1e-5)
    assert found.corrupted == pytest.approx(slow.mean([]), rel=1e-5)
    torch.testing.assert_close(found.restored, torch.tensor(expected, dtype=torch.float64), rtol=2e-5, atol=1e-7)
    assert float((found.restored - found.corrupted).abs().max()) > 1e-5  # it is not a picture of nothing


@pytest.mark.parametrize("kind", ["mlp", "attention"])
@pytest.mark.parametrize("family", FAMILIES)
def test_windows_of_outputs_are_restored_as_a_slow_loop_does(family: str, kind: Kind) -> None:
    text = text_of(family)
    slow = SlowTrace(family, text, kind, samples=2, seed=1)
    settings = TraceSettings(kind=kind, samples=2, seed=1, window=3)
    found = traced(model_of(family), text, settings)
    tokens = (text.first, text.last, len(text.prompt) - 1)
    for token in tokens:
        for layer in range(4):
            around = [one for one in (layer - 1, layer, layer + 1) if 0 <= one < 4]
            expected = slow.mean([(token, one) for one in around])
            assert float(found.restored[token, layer]) == pytest.approx(expected, rel=2e-5)


@pytest.mark.parametrize("family", zoo.FAMILIES)
def test_every_family_can_be_traced(family: str) -> None:
    text = text_of(family)
    for kind in KINDS:
        found = traced(model_of(family), text, TraceSettings(kind=kind, samples=1))
        assert bool(found.restored.isfinite().all())
        assert float((found.restored - found.corrupted).abs().max()) > 0


@pytest.mark.parametrize("family", zoo.HYBRIDS)
def test_what_carries_a_fact_is_shown_where_layers_are_no_attention_too(family: str) -> None:
    found = traced(model_of(family), text_of(family), TraceSettings(samples=1))
    assert bool(found.restored.isfinite().all())
    assert float((found.restored - found.corrupted).abs().max()) > 0


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_of_any_size_says_the_same(family: str) -> None:
    text, settings = text_of(family), TraceSettings(samples=2, kind="mlp", window=2)
    one_by_one = traced(model_of(family), text, settings, batch_tokens=1)
    together = traced(model_of(family), text, settings, batch_tokens=100_000)
    torch.testing.assert_close(one_by_one.restored, together.restored, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_state_of_the_last_token_after_the_last_layer_is_the_answer(family: str) -> None:
    text = trace_text(zoo.tokenizer(family), REQUEST, (7,))
    found = traced(model_of(family), text, TraceSettings(samples=3))
    assert float(found.restored[-1, -1]) == pytest.approx(found.clean, abs=1e-6)
    assert found.corrupted != pytest.approx(found.clean, rel=1e-2)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_state_of_a_layer_together_gives_the_clean_answer(family: str) -> None:
    model, text = model_of(family), text_of(family)
    blocks = list(decoder_blocks(model))
    ids = torch.tensor([text.ids])
    generator = torch.Generator().manual_seed(0)

    def noise(hidden: Tensor) -> Tensor:
        return hidden + torch.randn(hidden.shape, generator=generator)

    with torch.no_grad():
        with observed(blocks) as seen:
            clean = model(input_ids=ids, use_cache=False).logits
        states = [(o[0] if isinstance(o, tuple) else o).flatten(0, 1) for o in seen]
        everywhere = {layer: (torch.arange(len(text.ids)), states[layer]) for layer in range(4)}
        with hooked(input_embeddings(model), noise):
            broken = model(input_ids=ids, use_cache=False).logits
            with restored(blocks, everywhere):
                mended = model(input_ids=ids, use_cache=False).logits
    torch.testing.assert_close(mended, clean, rtol=1e-6, atol=1e-6)
    assert not torch.allclose(broken, clean, atol=1e-2)


@pytest.mark.parametrize("family", FAMILIES)
def test_without_noise_everything_is_clean(family: str) -> None:
    found = traced(model_of(family), text_of(family), TraceSettings(samples=2), sigma=0.0)
    assert found.corrupted == pytest.approx(found.clean, rel=1e-5)
    torch.testing.assert_close(found.restored, torch.full_like(found.restored, found.clean), rtol=1e-5, atol=1e-8)


def test_the_same_seed_gives_the_same_trace_and_another_seed_another() -> None:
    model, text = model_of("gpt2"), text_of("gpt2")
    first, again, other = (traced(model, text, TraceSettings(samples=2, seed=seed)) for seed in (3, 3, 4))
    assert torch.equal(first.restored, again.restored)
    assert not torch.equal(first.restored, other.restored)


def test_more_samples_begin_with_the_same_noise() -> None:
    slow = SlowTrace("gpt2", text_of("gpt2"), "state", samples=4, seed=9)
    found = traced(model_of("gpt2"), text_of("gpt2"), TraceSettings(samples=4, seed=9))
    assert found.corrupted == pytest.approx(slow.mean([]), rel=1e-5)


def test_the_model_is_left_as_it_was() -> None:
    model, text = zoo.tiny("llama"), text_of("llama")
    model.train()
    model.requires_grad_(True)
    model.lm_head.requires_grad_(False)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.random.get_rng_state()
    for kind in KINDS:
        traced(model, text, TraceSettings(kind=kind, samples=2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert {name for name, p in model.named_parameters() if not p.requires_grad} == {"lm_head.weight"}
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert not any("forward" in vars(module) for module in model.modules())


def test_a_trace_ends_when_it_is_cancelled_and_between_batches_nothing_is_hooked() -> None:
    model, text = model_of("gpt2"), text_of("gpt2")
    asked = iter([False, False, True])
    steps = trace(model, text, TraceSettings(samples=2), SIGMA, lambda: next(asked), batch_tokens=1)
    assert [(step.done) for step in (next(steps), next(steps))] == [1, 2]
    assert not any(module._forward_hooks or "forward" in vars(module) for module in model.modules())
    with pytest.raises(StopIteration) as end:
        next(steps)
    assert end.value.value is None


def test_a_model_that_cannot_be_entered_half_way_is_run_from_the_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    model, text = zoo.tiny("gpt2"), text_of("gpt2")
    expected = traced(model, text, TraceSettings(samples=2))
    first, *_, last = decoder_blocks(model)
    left: list[Tensor] = []
    handles = [
        first.register_forward_pre_hook(lambda _, args: left.append(args[0])),
        last.register_forward_pre_hook(lambda _, args: (args[0] + left[-1], *args[1:])),
    ]
    other = traced(model, text, TraceSettings(samples=2))
    for handle in handles:
        handle.remove()
    assert not torch.allclose(other.restored, expected.restored, rtol=1e-3)
    assert float(other.restored[0, 0]) == other.corrupted


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2"])
def test_half_precision_traces_without_nan(family: str, dtype: torch.dtype) -> None:
    text = text_of(family)
    found = traced(zoo.tiny(family, dtype=dtype), text, TraceSettings(samples=2))
    wide = traced(model_of(family), text, TraceSettings(samples=2))
    assert bool(found.restored.isfinite().all())
    assert found.clean == pytest.approx(wide.clean, rel=0.3)


@pytest.mark.parametrize("shortage", [MemoryError(), RuntimeError("[enforce fail] can't allocate memory: 8 bytes")])
def test_short_memory_makes_batches_smaller(monkeypatch: pytest.MonkeyPatch, shortage: Exception) -> None:
    model, text, settings = model_of("gpt2"), text_of("gpt2"), TraceSettings(samples=2)
    expected = traced(model, text, settings)
    forward, sizes = type(model).forward, []

    def scarce(self: PreTrainedModel, *args: Any, **inputs: Any) -> Any:
        sizes.append(len(inputs["input_ids"]))
        if sizes[-1] > 20:
            raise shortage
        return forward(self, *args, **inputs)

    monkeypatch.setattr(type(model), "forward", scarce)
    found = traced(model, text, settings)
    assert max(sizes) > 20
    torch.testing.assert_close(found.restored, expected.restored, rtol=1e-5, atol=1e-8)


def test_an_error_that_is_no_shortage_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(type(model_of("gpt2")), "forward", broken)
    with pytest.raises(RuntimeError, match="shapes differ"):
        traced(model_of("gpt2"), text_of("gpt2"), TraceSettings(samples=1))


def test_a_chat_is_traced_in_its_frame() -> None:
    tokenizer = zoo.tokenizer("llama")
    tokenizer.chat_template = "{% for m in messages %}<u>{{ m['content'] }}</u>{% endfor %}<a>"
    request = framed(tokenizer, EditRequest("Where is {}?", "Clara", "Rome", chat=Chat()))
    text = trace_text(tokenizer, request, "Rome")
    assert str(tokenizer.decode([*text.prompt])).replace(" ", "") == "<u>WhereisClara?</u><a>"
    assert "Clara" in tokenizer.decode([*text.prompt[text.first : text.last + 1]])
    assert bool(traced(model_of("llama"), text, TraceSettings(samples=1)).restored.isfinite().all())


def test_predictions_that_are_no_numbers_are_an_error() -> None:
    model = zoo.tiny("gpt2")
    torch.nn.init.constant_(model.lm_head.weight, float("nan"))
    with pytest.raises(EditError, match="not numbers"):
        traced(model, text_of("gpt2"), TraceSettings(samples=1))


def test_a_prompt_that_is_too_long_is_an_error() -> None:
    request = EditRequest("{} " + "and so on " * 60, "Mahfouz", "x")
    with pytest.raises(EditError, match="the model reads 96"):
        traced(model_of("gpt2"), trace_text(zoo.tokenizer(), request, " x"), TraceSettings(samples=1))


def test_an_attention_of_an_unknown_kind_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing_hooks, "decoder_blocks", lambda _: [nn.Linear(1, 1)])
    with pytest.raises(ModelError, match="Layer 0 has no attention of a known kind"):
        tracing_hooks.traced_modules(model_of("gpt2"), "attention")


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@pytest.mark.parametrize("subject", ["Naguib Mahfouz", "北京 é", " Clara "])
def test_the_subject_is_found_from_its_first_to_its_last_token(family: str, subject: str) -> None:
    tokenizer: PreTrainedTokenizerBase = zoo.tokenizer(family)
    text = trace_text(tokenizer, EditRequest("x {} lives in", subject, "y"), " Rome")
    inside = [*text.prompt[text.first : text.last + 1]]
    assert subject.strip() in tokenizer.decode(inside)
    assert subject.strip() not in tokenizer.decode(inside[1:])
    assert subject.strip() not in tokenizer.decode(inside[:-1])
    assert len(text.tokens) == len(text.prompt)


def test_the_spread_is_that_of_all_numbers_of_all_subject_tokens() -> None:
    model, tokenizer = model_of("gpt2"), zoo.tokenizer()
    subjects = ["Naguib Mahfouz", "Clara", "Clara Schumann"]
    ids = [token for subject in subjects for token in tokenizer(subject)["input_ids"]]
    expected = model.get_input_embeddings()(torch.tensor(ids)).detach().std(correction=0)
    assert embedding_spread(model, tokenizer, subjects) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize(
    ("layer", "window", "count", "expected"),
    [(5, 10, 48, range(10)), (20, 10, 48, range(15, 25)), (47, 10, 48, range(42, 48)), (0, 1, 4, range(1)),
     (2, 3, 4, range(1, 4)), (3, None, 48, range(8)), (3, None, 12, range(2, 5)), (1, None, 2, range(1, 2))],
)  # fmt: skip
def test_a_window_lies_around_its_layer_as_in_the_paper(
    layer: int, window: int | None, count: int, expected: range
) -> None:
    assert TraceSettings(kind="mlp", window=window).layers(layer, count) == expected


@pytest.mark.parametrize(
    "wrong", [{"kind": "head"}, {"samples": 0}, {"window": 0}, {"noise": float("nan")}, {"seed": -1}]
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        TraceSettings(**wrong)


@pytest.mark.parametrize("wrong", [[], {"samples": "3"}, {"samples": True}, {"layer": 1}, {"noise": 10**400}])
def test_settings_from_outside_are_read_by_type(wrong: object) -> None:
    with pytest.raises(UsageError):
        TraceSettings.from_json(wrong)
