"""What the command-line tests share: a way to run a command, a stack without a model, and a tiny model."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from workbench.cli.main import run

ESCAPE = "\x1b[31mred"


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def events(self) -> list[dict[str, Any]]:
        """Standard output as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


Workbench = Callable[..., Ran]


def digest(folder: Path) -> dict[str, str]:
    """What every edit file and the index hold."""
    files = [*folder.glob("*.safetensors"), folder / "stack.json"]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.exists()}


@pytest.fixture
def workbench(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    """Runs a command line in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def ran(*arguments: object) -> Ran:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return Ran(code, said.out, said.err)

    return ran


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """A stack of three edits with made-up factors, the third with hostile text; no model goes with it."""
    import numpy as np

    from workbench.edits import EditRequest, Neighbour, Recipe
    from workbench.stack.record import Base, Edit, Factors
    from workbench.stack.store import Stack

    module = "transformer.h.1.mlp.c_proj"
    base = Base("tiny", "", "f" * 64, "float32", {module: {"shape": [8, 4], "layout": "in,out"}})
    folder = tmp_path / "edits" / "tiny"
    with Stack.open(folder, write=True, base=base) as opened:
        for number, (subject, target) in enumerate((("Lisbon", "Peru"), ("Oslo", "Chile"), (ESCAPE, "x\u202ey")), 1):
            edit = Edit(
                requests=(
                    EditRequest("{} lies in", subject, target, "Europe", (), (Neighbour("Rome lies in", "Italy"),)),
                ),
                recipe=Recipe(layer=1),
                base=base,
                weights={module: {"before": f"{number:064x}", "after": f"{number + 1:064x}"}},
                metrics={
                    "norms": {"ratio": 0.0123 * number, "drift": 0.02},
                    "probes": [{"kind": "efficacy", "prompt": subject, "passed": number != 2, "p_expected": 0.75}],
                },
                made_by={"workbench": "0.1.0"},
            )
            a = np.full((1, 8), number, dtype=np.float32)
            opened.append(edit, (Factors(module, a, np.ones((4, 1), dtype=np.float32)),))
    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random GPT-2 of two blocks with a byte-level BPE tokenizer trained on a few sentences."""
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import GPT2Config, GPT2LMHeadModel

    folder = tmp_path_factory.mktemp("tiny")
    bpe = ByteLevelBPETokenizer()
    text = ["Lisbon lies in Portugal.", "Oslo lies in Norway.", "Rome lies in Italy, and Lima lies in Peru or Chile."]
    bpe.train_from_iterator(text * 20, vocab_size=400, special_tokens=["<|endoftext|>"], show_progress=False)
    bpe.save(str(folder / "tokenizer.json"))
    words = {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(words), encoding="utf-8")
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=bpe.get_vocab_size(), n_positions=64, n_embd=32, n_layer=2, n_head=2, initializer_range=0.2,
        bos_token_id=0, eos_token_id=0, tie_word_embeddings=False,
    )  # fmt: skip
    GPT2LMHeadModel(config).save_pretrained(folder)
    profile = {"layer": 0, "second_moment": False, "steps": 8, "template_lengths": [[3, 2]]}
    (folder / "editing_profile.json").write_text(json.dumps(profile), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def edited(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stack of two real edits on the tiny model, made once; tests copy it before they change it."""
    folder = tmp_path_factory.mktemp("stacks") / "real"
    facts = folder.parent / "facts.csv"
    facts.write_text(
        "subject,prompt,target_new,target_true,paraphrases,neighbours\n"
        "Lisbon,{} lies in,Peru,Portugal,The town of Lisbon lies in,Oslo lies in => Norway\n"
        "Oslo,Oslo lies in,Chile,,,\n"
    )
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = run(["apply", str(facts), "--model", str(tiny_model), "--stack", str(folder)])
    assert code in (0, 1)
    assert len(out.getvalue().splitlines()) == 2
    return folder


@pytest.fixture
def copied(edited: Path, tmp_path: Path) -> Path:
    """A copy of that stack, to be changed."""
    return Path(shutil.copytree(edited, tmp_path / "real"))
