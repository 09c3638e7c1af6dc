"""Text from models is drawn, never obeyed, and always fits."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from workbench.tui.widgets.text import bar, compact, fit, number, pair, safe, size, sparkline, tick, wrapped

HOSTILE = "\x1b[31mred\x1b]0;title\x07 [bold]b[/bold] \u202eevil\x00\r\n\x9b2J"


def test_control_characters_are_shown_and_markup_is_text() -> None:
    text = safe(HOSTILE)
    assert text.plain.startswith("␛[31mred␛]0;title␇ [bold]b[/bold] ⟨U+202E⟩evil␀␍␊")
    assert not text.spans
    assert safe("a\nb", lines=True).plain == "a\nb"


@given(st.text(max_size=200), st.integers(0, 60), st.booleans())
def test_a_fitted_text_has_exactly_its_width(text: str, width: int, right: bool) -> None:
    shown = fit(text, width, right=right)
    assert cell_len(shown) == width
    assert not any(unicodedata.category(c) == "Cc" for c in shown)


def test_a_long_text_ends_in_an_ellipsis_wherever_it_is_cut() -> None:
    assert fit("Danielle Darrieux", 8) == "Daniell…"
    assert fit("北京北京", 5) == "北京…"
    assert fit("ab", 4) == "ab  "
    assert fit("ab", 4, right=True) == "  ab"


@given(st.text(max_size=300), st.integers(2, 40))
def test_wrapped_lines_fit_and_lose_no_letter(text: str, width: int) -> None:
    lines = wrapped(text, width)
    assert all(cell_len(line) <= width for line in lines)
    kept = "".join(wrapped(text, 10_000)).replace(" ", "")
    assert "".join(lines).replace(" ", "") == kept


def test_words_stay_whole_where_they_can() -> None:
    assert wrapped("the Eiffel Tower stands", 10) == ["the Eiffel", "Tower", "stands"]
    assert wrapped("Donaudampfschiff", 6) == ["Donaud", "ampfsc", "hiff"]
    assert wrapped("anything", 0) == []


def test_an_unknown_number_is_a_dash_never_a_zero() -> None:
    assert [number(None), number(float("nan")), compact(None), compact(float("nan"))] == ["-"] * 4
    assert [tick(True), tick(False), tick(None), pair((2, 3)), pair(None), pair((0, 0))] == [
        "✓",
        "✗",
        "-",
        "2/3",
        "-",
        "-",
    ]


@pytest.mark.parametrize(
    ("value", "shown"), [(0.0206, "0.0206"), (112.4, "112.40"), (0.0, "0"), (1.2e-5, "1.2e-05"), (-0.5, "-0.5000")]
)
def test_numbers_are_short(value: float, shown: str) -> None:
    assert compact(value) == shown


def test_bars_and_sparklines_stay_in_their_width() -> None:
    assert bar(0.5, 10) == "█████░░░░░"
    assert [bar(v, 4) for v in (-1.0, 9.0, float("nan"))] == ["░░░░", "████", "░░░░"]
    assert sparkline([0.0, 0.5, 1.0], 8) == "▁▅█"
    assert sparkline([0.0, 0.0], 8) == "▁▁"
    assert sparkline([1.0] * 50, 5) == "█████"
    assert sparkline([], 5) == ""


def test_sizes_have_the_unit_a_person_would_choose() -> None:
    assert [size(n) for n in (0, 999, 33_000, 1_500_000, 2 * 10**9)] == ["0 B", "999 B", "33 kB", "1.5 MB", "2 GB"]
