"""From a fact on the command line to the same bytes in another process, and every way in which that can go wrong."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Ran, Workbench, digest
from workbench import events as ev

ONE = ("-s", "Lisbon", "-p", "{} lies in", "-t", "Peru")


def of_process(*arguments: object) -> Ran:
    """Runs a command line in a process of its own."""
    command = [sys.executable, "-m", "workbench", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return Ran(done.returncode, done.stdout, done.stderr)


def test_one_fact_becomes_one_line_one_file_and_one_step_back(
    workbench: Workbench, tiny_model: Path, tmp_path: Path
) -> None:
    stack = tmp_path / "mine"
    ran = workbench("apply", *ONE, "--model", tiny_model, "--stack", stack)
    assert ran.code in (0, 1)
    (line,) = ran.out.splitlines()
    (file,) = stack.glob("*.safetensors")
    assert "Lisbon lies in → Peru" in line
    assert line.split()[1] in file.name
    assert "1 of 1 edits made." in ran.err
    assert workbench("undo", stack).out == "1 → 0 of 1  the base\n"
    again = workbench(
        "apply", "-s", "Oslo", "-p", "Oslo lies in", "-t", "Lima", "--model", tiny_model, "--stack", stack
    )
    assert again.out.split()[0] == "1"


def test_a_missed_target_is_code_1_and_a_reached_one_0(workbench: Workbench, tiny_model: Path, tmp_path: Path) -> None:
    few = workbench("apply", *ONE, "--true", "Italy", "--model", tiny_model, "--stack", tmp_path / "a", "--json")
    held = [e["passed"] for e in few.events if e["type"] == "ProbeResult" and e["kind"] == "efficacy"]
    assert held
    assert few.code == (0 if all(held) else 1)


def test_the_events_of_an_edit_are_one_json_line_each(workbench: Workbench, tiny_model: Path, tmp_path: Path) -> None:
    ran = workbench("apply", *ONE, "--model", tiny_model, "--stack", tmp_path / "mine", "--json", "--set", "steps=4")
    events = [ev.from_line(line) for line in ran.out.splitlines()]
    kinds = [type(event).__name__ for event in events]
    for kind in ("ModelReady", "EditStarted", "KeyReady", "OptimStep", "NormReport", "ProbeResult", "EditCommitted"):
        assert kind in kinds
    assert kinds[-1] == "JobDone"
    assert kinds.count("OptimStep") <= 4
    assert [event.seq for event in events if event] == list(range(1, len(events) + 1))


def test_a_second_process_rebuilds_the_same_bytes(edited: Path, tiny_model: Path) -> None:
    recorded = json.loads(of_process("show", edited, 2, "--json").out.splitlines()[0])["weights"]
    (after,) = {hashes["after"] for hashes in recorded.values()}
    ran = of_process("replay", edited, "--verify")
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert [line.split()[:2] for line in lines[:-1]] == [["✓", "bit-identical"]] * 2
    assert lines[-1] == f"bit-identical: 2 edits, weight sha256 {after}"


def test_replay_verify_and_probe_only_read(workbench: Workbench, edited: Path) -> None:
    before = digest(edited)
    assert workbench("replay", edited).out.startswith("bit-identical: 2 edits")
    assert workbench("replay", edited, "--to", 1, "--verify").out.splitlines()[-1].startswith("bit-identical: 1 edit,")
    assert workbench("replay", edited, "--to", 0).out == "0 edits: the base as it is\n"
    assert workbench("replay", edited, "--to", 3).code == 2
    assert workbench("verify", edited).code == 0
    probed = workbench("probe", edited)
    assert probed.code == (1 if "✗ fail" in probed.out else 0)
    assert len(probed.out.splitlines()) >= 4
    assert digest(edited) == before


def test_the_merged_model_holds_the_replayed_weight(
    workbench: Workbench, edited: Path, tiny_model: Path, tmp_path: Path
) -> None:
    from safetensors.numpy import load_file

    assert workbench("replay", edited, "--out", tmp_path / "merged").code == 0
    merged, base = load_file(tmp_path / "merged" / "model.safetensors"), load_file(tiny_model / "model.safetensors")
    changed = [name for name in base if (base[name] != merged[name]).any()]
    assert changed == ["transformer.h.0.mlp.c_proj.weight"]
    assert (tmp_path / "merged" / "tokenizer.json").exists()
    assert workbench("replay", edited, "--out", tmp_path / "merged").code == 2


def test_another_dtype_is_said_not_to_be_comparable(workbench: Workbench, edited: Path) -> None:
    plain = workbench("replay", edited, "--dtype", "bfloat16")
    strict = workbench("replay", edited, "--dtype", "bfloat16", "--verify")
    assert (plain.code, strict.code) == (0, 4)
    assert "not comparable" in plain.out
    assert "bit-identical" not in plain.out + strict.out
    assert "--dtype" in strict.err


def test_another_base_is_refused_with_code_4(
    workbench: Workbench, copied: Path, tiny_model: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(tiny_model, other)
    weights = bytearray((other / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (other / "model.safetensors").write_bytes(weights)
    for command in (["replay", copied], ["apply", *ONE, "--stack", copied]):
        ran = workbench(*command, "--model", other)
        assert (ran.code, len(ran.err.splitlines())) == (4, 2)
    assert len(list(copied.glob("*.safetensors"))) == 2


def test_a_flipped_bit_in_an_edit_never_counts_as_the_edit(workbench: Workbench, copied: Path) -> None:
    victim = sorted(copied.glob("*.safetensors"))[1]
    content = bytearray(victim.read_bytes())
    content[-3] ^= 1
    victim.write_bytes(content)
    ran = workbench("replay", copied, "--verify")
    assert ran.code in (4, 5)
    assert "bit-identical: 2" not in ran.out
    assert victim.name in ran.err
    hint = ran.err.splitlines()[-1]
    assert hint.endswith(f"or leave the edit out: workbench toggle {copied} 2.")
    assert workbench("toggle", copied, 2).code == 0
    assert workbench("probe", copied).code in (0, 1)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--model", "./nowhere"), 3, "nowhere"),
        (("--layer", "7"), 3, "layer"),
        (("--set", "second_moment=true"), 1, "second moment"),
    ],
)
def test_what_the_model_cannot_do_is_said_with_its_code(
    workbench: Workbench, tiny_model: Path, tmp_path: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    ran = workbench("apply", *ONE, "--stack", tmp_path / "mine", "--model", tiny_model, *arguments)
    assert ran.code == code
    assert said in ran.err
    assert "Traceback" not in ran.err
    assert not list((tmp_path / "mine").glob("*.safetensors"))


def test_cuda_where_there_is_none_is_code_3(workbench: Workbench, edited: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    ran = workbench("replay", edited, "--device", "cuda")
    assert (ran.code, ran.out) == (3, "")


def test_an_edit_that_fails_leaves_those_beside_it(workbench: Workbench, tiny_model: Path, tmp_path: Path) -> None:
    facts = [{"subject": "Lisbon", "prompt": "{} lies in", "target_new": "Peru"}]
    facts.insert(0, {"subject": "Oslo", "prompt": "in " * 55 + "{} lies in", "target_new": "Chile"})
    (tmp_path / "facts.json").write_text(json.dumps(facts))
    long = ("--set", "template_lengths=[[20, 2]]")
    ran = workbench("apply", "facts.json", "--model", tiny_model, "--stack", tmp_path / "mine", *long)
    assert ran.code == 1
    assert len(ran.out.splitlines()) == 1
    assert "Oslo → Chile: not made. The prompt takes" in ran.err
    assert "1 of 2 edits made." in ran.err


def test_ctrl_c_drops_the_edit_in_flight_and_keeps_the_others(copied: Path) -> None:
    before = digest(copied)
    command = [sys.executable, "-m", "workbench", "apply", *ONE, "--stack", str(copied), "--json"]
    endless = ["--set", "steps=1000", "--set", "loss_stop=0", "--set", "lr=0.0001"]
    with subprocess.Popen([*command, *endless], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        kinds = []
        for line in process.stdout:
            kinds.append(json.loads(line)["type"])
            if kinds[-1] == "OptimStep" and kinds.count("OptimStep") == 3:
                process.send_signal(signal.SIGINT)
        said = process.stderr.read()
    assert process.returncode == 130
    assert kinds[-2:] == ["EditCancelled", "JobDone"]
    assert said.splitlines()[-1] == "workbench: Stopped; nothing is half done."
    assert digest(copied) == before
    log = of_process("log", copied)
    assert (log.code, len(log.out.splitlines())) == (0, 2)


PRESS_WHILE_TORCH_IS_IMPORTED = """
import signal, sys
from workbench.cli.main import run
class Press:
    def find_spec(self, name, path=None, target=None):
        if name == "torch.nn":
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Press())
sys.exit(run(sys.argv[1:]))
"""


def test_ctrl_c_while_the_model_loads_ends_at_once(copied: Path) -> None:
    before = digest(copied)
    command = [sys.executable, "-c", PRESS_WHILE_TORCH_IS_IMPORTED, "apply", *ONE, "--stack", str(copied), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert done.stderr == "workbench: Stopped.\n"
    assert [json.loads(line)["exit_code"] for line in done.stdout.splitlines()] == [130]
    assert digest(copied) == before
