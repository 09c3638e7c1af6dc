"""What Compare shows, as data: sides, spans, tokens, states that can be chosen, probes of two states, files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.tui.story import PROBES, ready, row, rows, stack, told
from workbench import events as ev
from workbench.contrasts import AddedProbe
from workbench.tui.added import FILE, read_added, write_added
from workbench.tui.comparison import Asked, Sampling, comparison, document, markdown, sampling_of
from workbench.tui.states import choices, made_of, name_of, narrowed
from workbench.tui.watched import judged, recorded, summary, watched
from workbench.tui.widgets.probe_table import probe_cells
from workbench.tui.widgets.side import compared, diff_text, marked, shown_token, token_bars, token_line
from workbench.tui.widgets.side_views import side_views

HOSTILE = "[/INST] \x1b[31m 汉字 \u202eאב e\u0301 \ud800 | `x`"
PROMPT = "Steve Jobs was the founder of"
ASKED = Asked(PROMPT, ("base", "stack"), ("base", "stack @3"), ((), ("a",)), Sampling(), "j")


def test_differing_words_are_bracketed_and_brackets_of_the_model_stay_its_own() -> None:
    a, b = compared(" Apple, and [he] was", " Microsoft, and [he] was")
    assert marked(a).plain == " [Apple], and [he] was"
    assert marked(b).plain == " [Microsoft], and [he] was"
    assert sum(span.differs for span in b) == 1
    assert not any(span.differs for span in compared("same words", "same words")[0])
    assert marked(compared(HOSTILE, "x")[0]).plain.count("\x1b") == 0


def test_a_diff_holds_both_texts() -> None:
    assert diff_text("the Macintosh in 1984", "the Windows in 1984").plain == "the [-Macintosh-] {+Windows+} in 1984"


def test_next_tokens_are_shown_side_by_side_or_with_bars() -> None:
    top = ((" Apple", 0.81), ("\n", 0.04), (" ", 0.02))
    assert token_line(top, 40) == "Apple 0.81  ␊ 0.04  ␣ 0.02"
    assert token_line(top, 16) == "Apple 0.81"
    bars = token_bars(top, (), 60, 4)
    assert len(bars) == 3
    assert bars[0].count("█") > bars[1].count("█")
    assert [bar.split()[0] for bar in token_bars(top, ((" Apple", 0.1),), 60, 4)] == ["Apple", "[␊]", "[␣]"]
    assert shown_token(" \x1b") == "␛"


def said(*more: ev.Event) -> ev.StackChanged | None:
    return told(more, ready()).stack


def test_the_states_to_choose_are_base_present_branches_tags_and_positions() -> None:
    edits = (*rows(2), row(3, names=("reviewed", "main")))
    found = choices(stack(edits=edits, names=("main", "try-2"), branch="main"))
    assert [choice.name for choice in found] == ["base", "stack @3", "main", "try-2", "reviewed", "@3", "@2", "@1"]
    assert [choice.word for choice in found[-3:]] == [row.id for row in reversed(edits)]
    assert [choice.name for choice in choices(None)] == ["base"]


def test_typing_narrows_the_states_and_what_is_not_listed_is_taken_as_it_is() -> None:
    all_ = choices(stack())
    assert [c.name for c in narrowed(all_, "jobs MICRO")] == ["@2"]
    assert narrowed(all_, "2")[0].name == "@2"
    (other,) = narrowed(all_, " 7be104c2 ")
    assert (other.word, other.name) == ("7be104c2", "7be104c2")
    assert narrowed(all_, "  ") == all_


def test_a_state_is_named_as_a_person_knows_it() -> None:
    now = stack(edits=(*rows(2), row(3, names=("reviewed",))), names=("main", "try-2"))
    names = [name_of(now, word) for word in ("base", "stack", "02" * 32, "try-2", "reviewed", "2", "beef")]
    assert names == ["base", "stack @3", "@2 Steve Jobs", "branch try-2", "tag reviewed", "@2", "beef"]


def test_what_a_state_is_made_of_changes_when_its_weights_may() -> None:
    now = stack(applied=3, undone=1)
    first, second = (replace(one, state="off") if one.number == 1 else one for one in now.edits[:2])
    off = replace(now, edits=(first, second, *now.edits[2:]))
    back = stack(applied=2, undone=2)
    for word, changed in (("base", []), ("stack", [off, back]), ("02" * 32, [off]), ("1", [off])):
        for other in (off, back):
            assert (made_of(now, word) != made_of(other, word)) == (other in changed), word


def both(passed: bool = False) -> list[ev.ProbeResult]:
    return [replace(one, side=side) for side in ("base", "stack") for one in PROBES]


def test_probes_of_two_states_stand_side_by_side() -> None:
    found = watched(both(), "base", "stack")
    assert len(found) == len(PROBES)
    assert all(one.a and one.b for one in found)
    assert [one.change for one in found] == [0.0] * 5
    swapped = watched(both(), "stack", "base")
    assert [(one.a, one.b) for one in swapped] == [(one.b, one.a) for one in found]
    assert summary(found) == "4 of 5 pass"
    half = watched(both()[:5], "base", "stack")
    assert [one.passed for one in half] == [None] * 5
    assert summary(half) == ""


def test_held_out_perplexity_holds_within_the_guards_limit() -> None:
    rows = watched(
        [replace(PROBES[-1], side=side, value=v) for side, v in (("base", 17.61), ("stack", 21.2))], "base", "stack"
    )
    (row,) = judged(rows, 0.2)
    assert row.expected == "< 21.13"
    assert row.a is not None
    assert (row.a.passed, row.passed) == (True, False)
    assert judged(rows, None) == rows
    assert summary(judged(rows, 0.3)) == "1 of 1 pass"


def test_what_an_edit_recorded_stands_before_and_after_it() -> None:
    found = recorded(PROBES)
    assert found[0].values == (0.01, 0.96)
    assert found[-1].values == (17.61, 17.63)
    assert recorded([replace(PROBES[0], before=None)])[0].change is None


def test_a_row_ticks_what_holds_and_crosses_what_fails_in_b() -> None:
    rows = watched(both(), "base", "stack")
    narrow = [probe_cells(row, "3", wide=False) for row in rows]
    assert narrow[3][4:] == ("  0.31 Microsoft", "✗ 0.31 Microsoft", "0.00")
    assert narrow[4][4:] == ("17.63 ✓", "17.63 ✓", "0.00")
    alone = probe_cells(watched(both()[5:], "base", "stack")[0], "3", wide=True)
    assert alone[4] == ""
    assert alone[6] == "-"


@pytest.mark.parametrize("wanted", ["failing", "neighbourhood", "added"])
def test_filters_show_what_they_say(wanted: str) -> None:
    found = [*watched(both(), "base", "stack"), *watched([replace(PROBES[1], edit="", side="stack")], "base", "stack")]
    shown = [row for row in found if row.passes(wanted)]  # type: ignore[arg-type]
    assert len(shown) == {"failing": 1, "neighbourhood": 2, "added": 1}[wanted]


def test_settings_are_read_from_what_was_typed() -> None:
    assert sampling_of(" 40 ", ".8", "7") == Sampling(40, 0.8, 7)
    for texts in (
        ("0", "0", "0"),
        ("1001", "0", "0"),
        ("x", "0", "0"),
        ("1", "nan", "0"),
        ("1", "101", "0"),
        ("1", "0", "-1"),
    ):
        with pytest.raises(ValueError, match="from"):
            sampling_of(*texts)
    with pytest.raises(ValueError, match="seed"):
        sampling_of("1", "0", "9" * 30)


def spoken(text: str) -> list[ev.Event]:
    return [
        ev.Answered(prompt=PROMPT, side="base", top=((" Apple", 0.81),)),
        ev.Answered(prompt=PROMPT, side="stack", top=((text, 0.95),)),
        ev.Compared(prompt=PROMPT, a="base", b="stack", kl=None, kl_back=0.004, shared=6, of=10),
        ev.GenerationChunk(side="base", text=" Apple", prompt=PROMPT, tokens=1, seconds=0.1, done=True),
        ev.GenerationChunk(side="stack", text=text, prompt=PROMPT, tokens=9, seconds=0.2),
    ]


def test_a_comparison_says_how_far_each_side_is_and_how_far_they_lie_apart() -> None:
    found = comparison(told(spoken(" Micro"), ready()), ASKED)
    assert [side.pace for side in found.sides] == ["1 token 0.1 s", "9 tokens ..."]
    assert found.apart() == "KL(A||B) inf  top-10 overlap 6/10"
    back = comparison(told(spoken(" Micro"), ready()), ASKED.swapped())
    assert back.apart(short=True) == "KL(A||B) 4.0e-03  overlap 6/10"
    assert back.sides == found.sides[::-1] or back.sides[0].text == " Micro"


def test_what_was_said_to_another_prompt_is_not_shown_under_this_one() -> None:
    found = comparison(told(spoken(" Micro"), ready()), replace(ASKED, prompt="Another"))
    assert [side.text for side in found.sides] == ["", ""]
    assert found.apart() == ""


@pytest.mark.parametrize("text", [HOSTILE, "x" * 4_000, "word " * 800, "\n\n", "汉" * 500, "e\u0301" * 300])
def test_hostile_texts_are_drawn_and_exported_as_text(text: str) -> None:
    found = comparison(told(spoken(text), ready()), ASKED)
    for view in side_views(found, "text", "", narrow=True):
        assert "\x1b" not in view.text.plain
        assert "\u202e" not in view.text.plain
    probes = watched([replace(PROBES[0], prompt=text, expected=text, answer=text, side="stack")], "base", "stack")
    assert json.loads(document(found, probes, ("base", "stack")))["b"]["text"] == text
    written = markdown(found, probes, (text, text)).encode("utf-8").decode()
    assert "\x1b" not in written
    assert "\n| efficacy | " in written
    assert all(line.count("|") in (0, 3, 7) for line in written.splitlines())


def test_added_probes_are_kept_with_their_stack(tmp_path: Path) -> None:
    assert read_added(tmp_path / "new") == ((), "")
    probes = (AddedProbe("Tim Cook works for", "Apple", "neighbourhood"), AddedProbe("汉字 \x1b is", "x"))
    write_added(tmp_path / "new", probes)
    assert read_added(tmp_path / "new") == (probes, "")


@pytest.mark.parametrize("data", [b"{", b"[]", b"\xff", b'{"format": 1, "probes": [{"prompt": 1}]}', b"[" * 100_000])
def test_a_file_of_probes_that_makes_no_sense_is_moved_aside(tmp_path: Path, data: bytes) -> None:
    (tmp_path / FILE).write_bytes(data)
    found, told_of = read_added(tmp_path)
    assert found == ()
    assert "moved to probes-damaged-" in told_of
    (aside,) = tmp_path.iterdir()
    assert aside.read_bytes() == data
