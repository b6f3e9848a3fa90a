"""Token counts are plausible and repeatable; long prefixes are remembered."""

from hypothesis import given
from hypothesis import strategies as st

from penstock_simulator.tokens import PrefixCache, count, cut, pieces

WORDS = [f"word{number}" for number in range(3000)]


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


def test_a_prefix_below_the_floor_is_never_cached() -> None:
    """1,024 tokens are the least."""
    cache = PrefixCache()
    assert [cache.look_up("m", WORDS[:1000]) for _ in range(3)] == [0, 0, 0]


def test_a_repeated_prefix_is_cached_in_steps_of_128() -> None:
    """The same 1,300 tokens with another ending share 1,280 of them."""
    cache = PrefixCache()
    assert cache.look_up("m", [*WORDS[:1300], "a"]) == 0
    assert cache.look_up("m", [*WORDS[:1300], *"bcdefgh" * 30]) == 1280
    assert cache.look_up("other", [*WORDS[:1300], "a"]) == 0


def test_the_whole_prompt_is_never_cached() -> None:
    """At least the last token is read anew."""
    cache = PrefixCache()
    cache.look_up("m", WORDS[:1024])
    cache.look_up("m", WORDS[:1025])
    assert cache.look_up("m", WORDS[:1024]) == 0
    assert cache.look_up("m", WORDS[:1025]) == 1024


def test_the_oldest_prefix_is_forgotten_first() -> None:
    """Memory is bounded."""
    cache = PrefixCache(capacity=2)
    for scope in "abc":
        cache.look_up(scope, WORDS[:1100])
    assert cache.look_up("c", WORDS[:1100]) == 1024
    assert cache.look_up("a", WORDS[:1100]) == 0
