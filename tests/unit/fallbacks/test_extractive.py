"""The degraded summary."""

from pathlib import Path

import pytest

from penstock_worker.fallbacks import count_words, summarize

EXAMPLES = Path(__file__).parents[3] / "simulator" / "penstock_simulator" / "demo" / "inputs"
ARTICLE = (EXAMPLES / "article.txt").read_text("utf-8")
BILLING = (EXAMPLES / "mail-billing.txt").read_text("utf-8")


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.txt")), ids=lambda path: path.stem)
@pytest.mark.parametrize("style", ["paragraph", "bullets"])
@pytest.mark.parametrize("max_words", [1, 7, 40, 5_000])
def test_never_more_words_than_asked_and_never_empty(path: Path, style: str, max_words: int) -> None:
    made = summarize(
        path.read_text("utf-8"), max_words=max_words, style="bullets" if style == "bullets" else "paragraph"
    )
    assert 1 <= len(made.split()) <= max_words
    assert count_words(made) <= max_words


def test_sentences_come_in_source_order() -> None:
    lines = [line.removeprefix("- ") for line in summarize(ARTICLE, max_words=200, style="bullets").splitlines()]
    places = [ARTICLE.index(line) for line in lines]
    assert len(places) > 3
    assert places == sorted(places)


def test_a_sentence_too_long_is_cut_with_an_ellipsis() -> None:
    made = summarize("word " * 200, max_words=10)
    assert made == "word word word word word word word word word word…"


def test_greeting_headers_and_signature_are_left_out() -> None:
    made = summarize(BILLING, max_words=500)
    assert "refund the second payment" in made
    for noise in ("Hello Tidewater", "From:", "Kind regards", "North Bay Books"):
        assert noise not in made


def test_a_sentence_said_twice_is_shown_once() -> None:
    text = "The bridge is closed until Friday. " * 3 + "Buses leave from the market instead."
    assert summarize(text, max_words=100).count("bridge") == 1


def test_focus_brings_what_is_asked_for() -> None:
    assert "flood" not in summarize(ARTICLE, max_words=60)
    assert "flood" in summarize(ARTICLE, max_words=60, focus="motor failed flood")


def test_only_noise_still_gives_something() -> None:
    assert summarize("Kind regards,\nAnn Lee", max_words=20)
    assert summarize("???", max_words=5) == "???"


def test_blank_text_gives_nothing() -> None:
    assert summarize(" \n\t ", max_words=5) == ""


def test_fewer_than_one_word_is_refused() -> None:
    with pytest.raises(ValueError, match="max_words"):
        summarize("Hello.", max_words=0)


def test_scripts_without_spaces_are_counted_by_characters() -> None:
    text = "東京は日本の首都です。" * 40
    made = summarize(text + "大阪も大きいです。", max_words=12)
    assert 0 < len(made) <= 24
    assert count_words("東京タワー") == 3
    assert count_words("ภาษาไทยง่าย") == 3
    assert count_words("two words") == 2


def test_items_without_a_stop_are_separated() -> None:
    text = "- buy the red boat\n- sell the green house\n- paint the old fence\n"
    assert summarize(text, max_words=50) == "buy the red boat. sell the green house. paint the old fence"


def test_same_input_same_output() -> None:
    assert len({summarize(ARTICLE, max_words=80) for _ in range(3)}) == 1
