"""Bars: to scale, never wider than their place, and nothing that is not nothing disappears."""

from hypothesis import given
from hypothesis import strategies as st

from penstock.cli.chart import bar


def test_bars_are_to_scale() -> None:
    """Eighths of a column for what is known, shaded behind it what may come to it."""
    assert bar(80, 0, 80, 10) == "█" * 10
    assert bar(40, 0, 80, 10) == "█" * 5
    assert bar(1, 0, 80, 10) == "▏"
    assert bar(40, 40, 80, 10) == "█" * 5 + "░" * 5
    assert bar(0, 0, 80, 10) == ""
    assert bar(0, 0, 0, 10) == ""


def test_plain_bars_are_ascii() -> None:
    """For a locale without block characters."""
    assert bar(40, 40, 80, 10, plain=True) == "#####....."
    assert bar(1, 0, 10**9, 10, plain=True) == "#"


amounts = st.integers(0, 10**15)


@given(amounts, amounts, amounts, st.integers(8, 60), st.booleans())
def test_a_bar_fits_and_shows(sure: int, unsure: int, more: int, width: int, plain: bool) -> None:
    """Whatever the amounts."""
    text = bar(sure, unsure, sure + unsure + more, width, plain=plain)
    assert len(text) <= width
    assert bool(text) == (sure + unsure > 0)
    assert not plain or text.isascii()
