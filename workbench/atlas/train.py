"""The recipe that made atlas: `python -m workbench.atlas.train --out DIR`.

Trains the tokenizer and a GPT-2-architecture model from scratch on a CPU; resumes from its last checkpoint.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from workbench.atlas.corpus import document, fact_stream, statement
from workbench.atlas.facts import facts
from workbench.atlas.grammar import sentence

EOS = "<|endoftext|>"
VOCABULARY = 4096
TOKENS_PER_STEP = 1920
SHORT, LONG = 48, 240
"""Row lengths in tokens; long rows teach the later positions."""
LONG_SHARE = 0.1


def train_tokenizer(seed: int = 0) -> PreTrainedTokenizerFast:
    """A byte-level BPE of 4,096 tokens, fitted to every fact and ten thousand ordinary sentences.

    A text is read as if a space stood before it, so that a subject has the same tokens at the start of a text as within
    one: otherwise the bare prompt's key of a one-token subject is another one (cosine with the mean key down to 0.2),
    and an edit made at the mean key misses it.
    """
    rng = random.Random(seed)
    text = [statement(fact, rng) for fact in facts() for _ in range(3)]
    text += [sentence(rng) for _ in range(10_000)]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.train_from_iterator(
        text,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=[EOS],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers leaves it untyped
        tokenizer_object=bpe, eos_token=EOS, bos_token=EOS, unk_token=EOS, model_max_length=256
    )


def new_model(seed: int = 0) -> GPT2LMHeadModel:
    """The untrained model: 6 layers, width 256, 5.8 M parameters."""
    torch.manual_seed(seed)
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCABULARY,
            n_positions=256,
            n_embd=256,
            n_layer=6,
            n_head=8,
            n_inner=1024,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=0,
            eos_token_id=0,
        )
    )


def rows(tokenizer: PreTrainedTokenizerFast, seed: int) -> Iterator[torch.Tensor]:
    """Batches of ids (rows, length) with 1,920 tokens each; every row starts with a document, EOS ends each."""
    rng = random.Random(seed)
    stream = fact_stream(rng)
    while True:
        length = LONG if rng.random() < LONG_SHARE else SHORT
        batch = []
        for _ in range(TOKENS_PER_STEP // length):
            ids: list[int] = []
            while len(ids) < length:
                ids += tokenizer.backend_tokenizer.encode(document(rng, stream) + EOS).ids
            batch.append(ids[:length])
        yield torch.tensor(batch)


def learning_rate(step: int, steps: int, peak: float, warmup: int = 200) -> float:
    """Linear warm-up, then a cosine to zero."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))


def train(out: Path, steps: int, peak: float, seed: int) -> None:
    """Trains for `steps` steps and writes model and tokenizer to `out`; a checkpoint every 100 steps."""
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer()
    model = new_model(seed).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=peak, betas=(0.9, 0.98), weight_decay=0.05)
    first = _resume(out, model, optimiser)
    batches = rows(tokenizer, seed + 1 + first)
    started, mean_loss = time.time(), 0.0
    for step in range(first, steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, steps, peak)
        ids = next(batches)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        mean_loss = loss.item() if step == first else 0.98 * mean_loss + 0.02 * loss.item()
        if (step + 1) % 50 == 0:
            pace = (time.time() - started) / (step + 1 - first)
            line = {"step": step + 1, "loss": round(mean_loss, 4), "seconds_per_step": round(pace, 3)}
            sys.stderr.write(json.dumps(line) + "\n")
        if (step + 1) % 100 == 0 or step + 1 == steps:
            _save(out, model, tokenizer, optimiser, step + 1)


def _save(
    out: Path,
    model: GPT2LMHeadModel,
    tokenizer: PreTrainedTokenizerFast,
    optimiser: torch.optim.Optimizer,
    step: int,
) -> None:
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    partial = out / "checkpoint.partial"
    torch.save({"step": step, "model": model.state_dict(), "optimiser": optimiser.state_dict()}, partial)
    partial.replace(out / "checkpoint.pt")


def _resume(out: Path, model: GPT2LMHeadModel, optimiser: torch.optim.Optimizer) -> int:
    path = out / "checkpoint.pt"
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"])


def main() -> None:
    """Reads the command line and trains."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("atlas-run"))
    parser.add_argument("--steps", type=int, default=4900)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    train(options.out, options.steps, options.lr, options.seed)


if __name__ == "__main__":
    main()
