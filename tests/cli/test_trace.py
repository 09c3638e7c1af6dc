"""`workbench trace`, and the map that it draws: readable without colour, at any width, whatever the tokens say."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.conftest import ESCAPE, Workbench
from workbench import events as ev
from workbench.cli import trace as command
from workbench.heat import DIGITS, SHADES, heat_map, legend, sentences

FACT = ("-s", "Lisbon", "-p", "{} lies in", "--samples", 2)

EFFECTS = ((0.0, 0.0, 0.0, 0.0), (0.1, 0.2, 0.0, 0.0), (0.4, 0.6, 0.3, -0.2), (0.0, 0.1, 0.5, 0.8))


def picture(layers: int = 4, **changes: object) -> ev.Traced:
    effects = tuple(tuple(row[layer * 4 // layers] for layer in range(layers)) for row in EFFECTS)
    values: dict[str, object] = {
        "prompt": "The {} is in", "subject": "Space Needle", "answer": " Seattle",
        "rows": ("The", " Space", " Needle", " in"), "subject_rows": (1, 2), "effects": effects, "clean": 0.9,
        "corrupted": 0.1, "peak_row": 2, "peak_layer": layers // 4, "kind": "state", "window": 1, "samples": 10,
        "noise": 3.0, "sigma": 0.2, "seed": 0, "side": "base",
    }  # fmt: skip
    return ev.Traced(**(values | changes))  # type: ignore[arg-type]


def test_a_fact_is_traced_on_the_base(workbench: Workbench, tiny_model: Path) -> None:
    ran = workbench("trace", tiny_model, *FACT)
    assert ran.code == 0, ran.err
    header, *rows = ran.out.splitlines()
    assert header.split() == ["layer", "0", "1"]
    assert [line.split()[0] for line in rows[:3]][-2:] == ["lies", "in"]
    assert "*" in rows[0]
    assert re.search(r"p\(.+\): clean \d\.\d{3}, corrupted \d\.\d{3}, best restored \d\.\d{3}", ran.out)
    assert "2 samples of noise 3 x" in ran.err
    assert "the base" in ran.err
    assert not set(ran.out) & set("░▒▓█")
    assert not Path("edits").exists()


def test_the_same_seed_gives_the_same_picture(workbench: Workbench, tiny_model: Path) -> None:
    first, again, other = (workbench("trace", tiny_model, *FACT, "--seed", seed).out for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_json_and_the_file_hold_the_numbers(workbench: Workbench, tiny_model: Path, tmp_path: Path) -> None:
    ran = workbench("trace", tiny_model, *FACT, "--kind", "mlp", "--window", 2, "--json", "--out", "trace.json")
    traced = next(event for event in ran.events if event["type"] == "Traced")
    assert ran.events[-1] == ran.events[-1] | {"type": "JobDone", "ok": True}
    assert any(event["type"] == "TraceStep" for event in ran.events)
    written = ev.from_line((tmp_path / "trace.json").read_text())
    assert isinstance(written, ev.Traced)
    assert [list(row) for row in written.effects] == traced["effects"]
    assert (traced["kind"], traced["window"], traced["samples"]) == ("mlp", 2, 2)
    assert len(traced["effects"]) == len(traced["rows"])
    assert {len(row) for row in traced["effects"]} == {2}


def test_a_stack_is_traced_as_it_stands(workbench: Workbench, copied: Path, tiny_model: Path) -> None:
    base = workbench("trace", "--model", tiny_model, *FACT, "-t", "Peru", "--json")
    edited = workbench("trace", "--model", tiny_model, *FACT, "-t", "Peru", "--json", "--stack", copied)
    one, two = (next(e for e in ran.events if e["type"] == "Traced") for ran in (base, edited))
    assert (one["side"], two["side"]) == ("base", "2")
    assert one["clean"] != two["clean"]


def test_facts_of_a_file_become_one_picture(workbench: Workbench, tiny_model: Path, tmp_path: Path) -> None:
    answers = {}
    for subject in ("Lisbon", "Oslo", "Rome"):
        ran = workbench("trace", tiny_model, "-s", subject, "-p", "{} lies in", "--samples", 1, "--json")
        answers[subject] = next(e for e in ran.events if e["type"] == "Traced")["answer"]
    records = [
        {"subject": s, "prompt": "{} lies in", "target_new": "x", "target_true": answer.strip() or answer}
        for s, answer in answers.items()
    ]
    (tmp_path / "facts.json").write_text(json.dumps([*records, {**records[0], "target_true": "never this"}]))
    ran = workbench("trace", tiny_model, "--facts", "facts.json", "--samples", 1)
    known = re.search(r"(\d) of 4 facts are known", ran.err)
    if known is None:  # none of the answers begins with a space, so none can be given as text
        assert ran.code == 1
        assert "knows none of the 4 facts" in ran.err
        return
    assert ran.code == 0
    assert "last subject token*" in ran.out
    assert f"Over {known[1]} fact" in ran.out


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("-s", "Lisbon"),
        ("-p", "{} lies in"),
        ("-s", "Lisbon", "-p", "{} lies in", "--facts", "facts.json"),
        ("-s", "Lisbon", "-p", "x lies in"),
        (*FACT, "--samples", 0),
        (*FACT, "--kind", "head"),
        (*FACT, "--noise", "nan"),
        ("--facts", "nowhere.json"),
        ("--model", "other", *FACT),
        ("--stack", "nowhere", *FACT),
    ],
)
def test_what_makes_no_sense_is_wrong_usage(
    workbench: Workbench, tiny_model: Path, arguments: tuple[object, ...]
) -> None:
    ran = workbench("trace", tiny_model, *arguments)
    assert ran.code == 2
    assert ran.out == ""
    assert "Traceback" not in ran.err


def test_help_explains_every_option_and_has_examples(workbench: Workbench) -> None:
    ran = workbench("trace", "--help")
    assert ran.code == 0
    for words in ("--kind", "--window", "--facts", "--noise", "--out", "Examples:", "2202.05262", "indirect effect"):
        assert words in ran.out
    assert "trace" in workbench("--help").out


def test_blocks_are_drawn_only_where_a_terminal_shows_them(monkeypatch: pytest.MonkeyPatch) -> None:
    class Screen:
        encoding = "utf-8"

        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdout", Screen())
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert command._blocks()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not command._blocks()
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setattr(Screen, "encoding", "ascii")
    assert not command._blocks()


@pytest.mark.parametrize("shades", [SHADES, DIGITS])
@pytest.mark.parametrize("layers", [1, 2, 4, 12, 48, 57, 96, 400])
@pytest.mark.parametrize("width", [20, 80, 140])
def test_the_map_fits_and_its_numbers_stand_over_their_columns(shades: str, layers: int, width: int) -> None:
    traced = picture(layers) if layers % 4 == 0 else picture(4, effects=tuple(row[:1] * layers for row in EFFECTS))
    heat = heat_map(traced, width, shades=shades)
    assert all(len(line) <= width for line in (heat.header, *heat.rows))
    assert {len(row) for row in heat.rows} == {heat.label + heat.cell * -(-layers // heat.bin)}
    for number in re.finditer(r"\d+", heat.header):
        assert number.start() == heat.label + int(number[0]) // heat.bin * heat.cell
    said = f"one column is {heat.bin} layers" in " ".join(legend(traced, heat, shades))
    assert said == (heat.bin > 1)


def test_cells_go_from_nothing_to_the_best_and_below_nothing_is_nothing() -> None:
    row = heat_map(picture(), 38).rows
    assert [line[10:].split() for line in row[:1]] == [[]]
    assert row[2].removeprefix("Needle*").replace(" ", "") == "▒▒▒▓▓▓░░░"
    assert row[3].rstrip().endswith("███")
    digits = heat_map(picture(), 38, shades=DIGITS).rows
    assert digits[3].split()[1:] == [".", "1", "6", "9"]
    assert digits[2].split()[-1] == "."


def test_a_wide_map_has_the_probabilities_too() -> None:
    heat = heat_map(picture(), 80)
    assert heat.rows[3].split()[1:] == [".10", ".20", "▒▒", ".60", "██", ".90"]
    assert "numbers are probabilities" in " ".join(legend(picture(), heat))


def test_tokens_are_shown_and_never_obeyed() -> None:
    heat = heat_map(picture(rows=(ESCAPE, "\u202eab", "北" * 40, "\n")), 60)
    text = "\n".join(heat.rows)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "␛[31mred" in text
    assert "北…*" in text
    assert len(heat.rows) == len(text.splitlines()) == 4


def test_the_sentence_says_where_it_peaks_and_how_far_it_holds() -> None:
    (said,) = sentences(picture())
    assert said == (
        "Over the subject, restoring one hidden state peaks at layer 1, last subject token “Needle”: 75% of the lost "
        "probability comes back, at least half of that up to layer 2."
    )
    (window,) = sentences(picture(kind="mlp", window=10))
    assert "the MLP outputs of 4 layers around each" in window
    (mean,) = sentences(
        picture(prompt="", facts=7, rows=("a", "b", "last subject token", "d"), kind="attention", effects=EFFECTS)
    )
    assert mean.startswith("Over 7 facts that the model knows, restoring one attention output peaks at layer 1, last")


def test_what_limits_a_picture_is_said() -> None:
    assert "no likelier" in sentences(picture(corrupted=0.95))[0]
    nothing = replace(picture(), effects=tuple((-0.1,) * 4 for _ in range(4)))
    assert "gives nothing back" in sentences(nothing)[0]
    assert heat_map(nothing, 30, shades=DIGITS).rows[0].split()[1:] == ["."] * 4
    assert "one token" in sentences(picture(subject_rows=(2,)))[1]
    assert "ends the prompt" in sentences(picture(subject_rows=(2, 3), peak_row=3, peak_layer=3))[1]


def test_layers_stand_apart_from_the_word_over_the_names() -> None:
    traced = picture(rows=("a", "b", "c", "d"))
    assert heat_map(traced, 80).header.split()[:2] == ["layer", "0"]


def test_noise_that_takes_next_to_nothing_is_said() -> None:
    said = sentences(picture(clean=0.9, corrupted=0.899))
    assert any("takes only 0.1% of the answer" in one for one in said)
    assert not any("takes only" in one for one in sentences(picture()))


def test_an_answer_that_the_model_does_not_know_is_said_to_be_one() -> None:
    tiny = tuple(tuple(effect * 1e-5 for effect in row) for row in EFFECTS)
    traced = picture(effects=tiny, clean=2.1e-5, corrupted=1e-5)
    assert "clean 2.1e-05, corrupted 1.0e-05" in legend(traced, heat_map(traced, 80), SHADES)[0]
    assert any("the model does not know this" in said for said in sentences(traced))
    assert not any("does not know this" in said for said in sentences(picture()))
