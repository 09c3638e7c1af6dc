"""What a terminal would obey is shown, what people write is left alone."""

from __future__ import annotations

import json
import sys
import unicodedata

import pytest

from workbench.text import escaped, shortened, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", "␛[2J"),
        ("a\nb\tc\rd\x00", "a␊b␉c␍d␀"),
        ("\x7f\x9b31m", "␡⟨U+009B⟩31m"),
        ("abc\u202edef", "abc⟨U+202E⟩def"),
        ("\ud800", "⟨U+D800⟩"),
        ("\ufeff\u2028", "⟨U+FEFF⟩⟨U+2028⟩"),
        ("\U000e0041", "⟨U+E0041⟩"),
    ],
)
def test_what_a_terminal_would_obey_or_hide_is_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.parametrize("text", ["Rome", " 北京", "café", "Ελλάδα", "👩‍👩‍👧", "می‌خواهم", "[bold]x[/]", ""])
def test_what_people_write_is_left_alone(text: str) -> None:
    assert visible(text) == text


def test_no_control_character_and_no_lone_surrogate_passes() -> None:
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    assert not [c for c in visible(everything) if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")]


def test_a_newline_may_be_kept_where_a_text_has_lines() -> None:
    assert visible("a\nb\x1b", keep="\n") == "a\nb␛"


def test_shortened_text_never_exceeds_its_width() -> None:
    assert [shortened("Marseille", n) for n in (0, 1, 5, 9)] == ["", "…", "Mars…", "Marseille"]


def test_json_with_what_a_terminal_would_obey_escaped_says_the_same() -> None:
    everything = "".join(chr(c) for c in range(sys.maxunicode + 1) if not 0xD800 <= c <= 0xDFFF)
    line = json.dumps([everything], ensure_ascii=False)
    assert json.loads(escaped(line)) == [everything]
    assert visible(escaped(line)) == escaped(line)
