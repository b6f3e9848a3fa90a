"""Token counts are plausible and repeatable."""

from hypothesis import given
from hypothesis import strategies as st

from penstock_simulator.tokens import count, cut, pieces, portions


@given(st.text())
def test_pieces_joined_are_the_text(text: str) -> None:
    """Nothing is lost by splitting."""
    assert "".join(pieces(text)) == text


def test_english_is_near_three_quarters_of_a_word_a_token() -> None:
    """The rule of thumb that providers give for English."""
    text = "The committee met on Tuesday to discuss next year's budget, and nobody was surprised. " * 10
    assert 1.1 < count(text) / len(text.split()) < 1.6


def test_cjk_is_about_a_token_a_character() -> None:
    """A word of six letters is no measure for scripts without spaces."""
    assert count("日本語の文章です") == 8


def test_white_space_without_end_is_not_free() -> None:
    """A model that loops on blank lines pays for them."""
    assert count("\n \t" * 300) == 300


@given(st.text(), st.integers(1, 50))
def test_cut_keeps_a_prefix_within_the_limit(text: str, limit: int) -> None:
    """The cut text is a beginning of the text, and says whether it is all of it."""
    head, was_cut = cut(text, limit)
    assert text.startswith(head)
    assert count(head) <= limit
    assert was_cut == (head != text)


@given(st.text())
def test_portions_joined_are_the_text(text: str) -> None:
    """A stream says what the whole answer says."""
    assert "".join(portions(text)) == text


def test_megabytes_come_in_few_portions() -> None:
    """A quarter of a million events would take seconds."""
    assert len(portions("lorem ipsum " * 100_000)) < 2100
