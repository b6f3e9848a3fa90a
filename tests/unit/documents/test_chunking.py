"""Cutting: nothing lost, nothing too large, and at the places where the text itself is cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_worker.documents.boundaries import last_heading
from penstock_worker.documents.chunking import MIN_BYTES, chunks, size

PIECES = st.sampled_from(
    [
        *["# One\n", "## Two\n\n", "### Three\n", "3.1 Wheels\n\n", "Title\n=====\n", "Chapter 7\n", "第三章 川\n"],
        *["\n\n", "\n", "\r\n", " ", "  ", "\t", "\u3000", "\u2028", "\f"],
        *[
            "word ",
            "The mill stands. ",
            "Does it turn? ",
            "水車は回る。",
            "風車\uff01",
            "यह चक्की है। ",
            "ก" * 40,
            "x" * 90,
            "\u0301" * 50,
        ],
        *["e\u0301", "👩\u200d👩\u200d👧", "👍🏽", "\ud83d\ude00", "\udc00", "\ud83d", "☁\ufe0f", "ä", "\U0001d54f"],
    ]
)
TEXTS = st.lists(PIECES | st.text(max_size=20), max_size=120).map("".join)
BOUNDS = st.integers(MIN_BYTES, 400)


@given(TEXTS, BOUNDS, st.integers(0, 200), st.integers(0, 200))
def test_nothing_is_lost_and_nothing_too_large(text: str, most: int, overlap: int, heading: int) -> None:
    """What is new in the chunks, joined, is the text; each chunk is in its bound, overlap, headings and all."""
    found = chunks(text, most, overlap, heading)
    assert "".join(text[each.start : each.end] for each in found) == text
    assert [each.number for each in found] == list(range(1, len(found) + 1))
    for each in found:
        assert size(each.under_headings) <= most
        assert each.bytes == size(text[each.start : each.end])
        assert 0 < each.bytes <= most
        assert text[: each.end].endswith(each.text)
        assert each.text.endswith(text[each.start : each.end])
        assert all(line in text[: each.end] for line in each.headings.splitlines())
    assert chunks(text, most, overlap, heading) == found


@given(TEXTS, BOUNDS)
def test_no_character_is_broken(text: str, most: int) -> None:
    """Neither a pair of surrogates nor a letter and its marks, unless there are more marks than anybody writes."""
    for each in chunks(text, most)[1:]:
        before, after = text[each.start - 1], text[each.start]
        assert not ("\ud800" <= before <= "\udbff" and "\udc00" <= after <= "\udfff")
        assert (before, after) != ("\r", "\n")


@given(TEXTS, BOUNDS)
def test_chunks_are_few(text: str, most: int) -> None:
    """Never more than three times as many as the size alone would need."""
    assert len(chunks(text, most)) <= 1 + 3 * size(text) / most


def test_a_text_that_fits_is_one_chunk() -> None:
    """As it is."""
    (only,) = chunks("The mill. " * 5, MIN_BYTES, 10)
    assert (only.text, only.start, only.end) == ("The mill. " * 5, 0, 50)
    assert chunks("", MIN_BYTES) == []


def test_a_bound_too_small_is_refused() -> None:
    """A character might not fit."""
    with pytest.raises(ValueError, match="64"):
        chunks("x", 63)


SECTION = "The sluice holds the water back. " * 12


@pytest.mark.parametrize(
    "heading",
    ["# Wheel", "## Wheel", "Wheel\n-----", "4.2 Wheel", "Chapter 4: Wheel", "Kapitel IV", "§ 4 Wheel", "第四章 水車"],
)
def test_a_chunk_begins_with_a_section(heading: str) -> None:
    """Though a few sentences more would have fitted."""
    text = f"{SECTION}\n\n{heading}\n\n{SECTION * 3}"
    first, second, *_ = chunks(text, 600)
    assert first.text == f"{SECTION}\n\n"
    assert second.text.startswith(heading)


def test_the_higher_heading_wins() -> None:
    """A chapter before the section that begins later in the same room."""
    text = f"{SECTION}\n# Two\n{SECTION[:99]}\n## Two one\n{SECTION * 2}"
    assert chunks(text, 700)[1].text.startswith("# Two\n")


def test_a_number_in_a_list_or_a_sentence_is_no_heading() -> None:
    """Only one that stands alone is."""
    assert last_heading("We saw\n1. flour\n2. bread\nof 1998.\n\n1998 was a year that had\nno winter\n", 0, 60) is None


def test_without_headings_paragraphs_decide_then_sentences_then_words() -> None:
    """Each only where the better place is missing."""
    sentence = "The sluice holds the water back."
    paragraphs = "\n\n".join([f"{sentence} {sentence}"] * 8)
    assert all(each.text.startswith("The") and each.text.endswith("\n\n") for each in chunks(paragraphs, 170)[:-1])
    sentences = " ".join([sentence] * 20)
    assert all(each.text.endswith("back. ") for each in chunks(sentences, 170)[:-1])
    words = "sluice " * 90
    assert all(each.text.endswith(" ") and each.text.startswith("sluice") for each in chunks(words, 170)[:-1])


def test_scripts_without_spaces_are_cut_behind_sentences() -> None:
    """And in the middle where there are none."""
    text = "水車は昼も夜も回っている。" * 40
    assert all(each.text.endswith("。") for each in chunks(text, 200))
    assert {len(each.text) for each in chunks("水" * 400, 150)[:-2]} == {50}


def test_an_overlap_repeats_whole_sentences() -> None:
    """Those that fit in it, from the chunk before."""
    text = " ".join(f"Sentence {n} is here." for n in range(100))
    one, *others = chunks(text, 300, 60)
    assert one.text == text[: one.end]
    for each in others:
        repeated = each.text[: len(each.text) - (each.end - each.start)]
        assert repeated.startswith("Sentence")
        assert 20 <= len(repeated) <= 60


def test_a_chunk_is_told_with_the_headings_above_it() -> None:
    """Those that it is below, as they stand in the text; one that it begins with is its own."""
    text = f"# Mill\n{SECTION}\n## Wheel\n{SECTION * 2}\n# River\n{SECTION * 3}"
    told = [(each.headings, each.text[:8]) for each in chunks(text, 500, 0, 100)]
    assert told[:3] == [("", "# Mill\nT"), ("# Mill\n", "## Wheel"), ("# Mill\n## Wheel\n", "The slui")]
    assert told[-1] == ("# River\n", "The slui")
    assert all(each.headings == "" for each in chunks(text, 500))
    repeated = chunks(text, 500, 60, 100)[1]
    assert (repeated.headings, repeated.text[:8]) == ("# Mill\n", "The slui")


def test_the_last_two_share_what_is_left() -> None:
    """No scrap of a sentence is left for a chunk of its own."""
    text = "The sluice holds the water back. " * 32
    assert min(each.bytes for each in chunks(text, 1000)) > 300


@pytest.mark.parametrize(
    "kind", ["The sluice holds.\n\n## Section\n", "水車は昼も夜も。", "x", "\n", "1. a\n", "e\u0301"]
)
def test_five_megabytes_are_cut(kind: str) -> None:
    """Text of any kind, the most that is accepted for one job by default settings of a large installation."""
    text = kind * (5 * 2**20 // size(kind))
    found = chunks(text, 24_000, 600)
    assert sum(each.bytes for each in found) == size(text)


def test_a_character_of_endless_marks_is_cut_all_the_same() -> None:
    """Between two of them."""
    text = "e" + "\u0301" * 500
    assert "".join(text[each.start : each.end] for each in chunks(text, 64, 16)) == text
