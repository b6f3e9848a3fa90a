"""Answers that say nothing any more are told from those that do."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_worker.llm.degenerate import MAX_BLANK_CHARS, MAX_BLANK_PIECES, MIN_REPEATED_CHARS, LoopFinder


def found(text: str, size: int = 7) -> tuple[str | None, int]:
    """What was found, and after how many characters."""
    finder = LoopFinder()
    for at in range(0, len(text), size):
        shape = finder.feed(text[at : at + size])
        if shape:
            return shape, at + size
    return None, len(text)


@pytest.mark.parametrize("piece", ["0", "no ", "and so on, ", "line of a table | x |\n", "abcdefghij" * 25 + "k"])
def test_a_piece_repeated(piece: str) -> None:
    """One piece over and over is found soon after it is clear, behind any beginning."""
    start = "".join(f"Sentence {n} of a good beginning. " for n in range(40))
    shape, after = found(start + piece * (20_000 // len(piece)))
    assert shape == ("digits" if piece == "0" else "repetition")
    assert after < len(start) + max(MIN_REPEATED_CHARS, 8 * len(piece)) + 600


@pytest.mark.parametrize("size", [1, 7, 5000])
def test_white_space_without_end(size: int) -> None:
    """White space is found in pieces of any size."""
    shape, after = found('{"a": 1' + "\n  " * 3000, size)
    assert shape == "white_space"
    assert after <= MAX_BLANK_CHARS + 7 + 2 * size


def test_white_space_token_by_token() -> None:
    """A model that says one blank at a time is stopped within 200 of them."""
    finder = LoopFinder()
    assert finder.feed('{"a": 1') is None
    blanks = next(n for n in range(1, 1_000) if finder.feed("\n"))
    assert blanks == MAX_BLANK_PIECES + 1 < 200


def test_digits_without_end() -> None:
    """Digits that never repeat and never end are no number."""
    digits = str(3**4_000)
    shape, after = found('{"a": 0.' + digits)
    assert shape == "digits"
    assert after <= 1024 + 256 + 8 + 7


def good() -> list[str]:
    rows = [{"name": f"item {n}", "price": n * 1.37, "note": None} for n in range(400)]
    nested: object = "deep"
    for _ in range(15):
        nested = {"a": [nested]}
    return [
        json.dumps(rows),
        json.dumps(rows, indent=8),
        json.dumps(nested, indent=16),
        json.dumps([0] * 600),
        json.dumps(["yes"] * 250),
        json.dumps({"serial": str(3**2_000)}),
        "".join(f"{n}. A list of numbered lines.\n" for n in range(500)),
        "ha" * 900,
    ]


@pytest.mark.parametrize("text", good(), ids=range(len(good())))
def test_what_is_regular_passes(text: str) -> None:
    """Tables, pretty-printed JSON, lists of equal values and numbered lines are answers."""
    assert found(text)[0] is None


@given(st.lists(st.text(max_size=300), max_size=20))
def test_short_text_always_passes(pieces: list[str]) -> None:
    """Below the least lengths nothing is found, whatever it is."""
    finder = LoopFinder()
    text = ""
    for piece in pieces:
        text += piece
        if len(text) > 512:
            return
        assert finder.feed(piece) is None
