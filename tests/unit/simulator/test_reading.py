"""The text, the limits and the labels are found whatever words a prompt uses."""

import pytest

from penstock_simulator.ask import Ask, Message
from penstock_simulator.reading import (
    label_descriptions,
    max_words,
    prompt_schema,
    source_text,
    split_prompt,
    wants_bullets,
)

BODY = "First line 12345.\n\nA <b>tag</b> and ```code``` inside.\nOrder a1b2c3d4\nOrder a1b2c3d4\nLast line."


def _ask(*users: str, system: str = "Be brief.") -> Ask:
    turns = [Message("system", system), Message("user", users[0])]
    for user in users[1:]:
        turns += [Message("assistant", "a bad answer"), Message("user", user)]
    return Ask("w", "m", tuple(turns))


@pytest.mark.parametrize(
    "prompt",
    [
        "The text stands between the lines TEXT-0f3a9c17bd5e2244.\nTEXT-0f3a9c17bd5e2244\n{}\nTEXT-0f3a9c17bd5e2244",
        "Summarize this.\n<<<BEGIN 9f8e7d6c>>>\n{}\n<<<END 9f8e7d6c>>>\nAnswer in JSON.",
        "----- DOCUMENT a1b2c3 -----\n{}\n----- END DOCUMENT a1b2c3 -----",
        "<document-77aa3f>\n{}\n</document-77aa3f>",
        "Here it is:\n<document>\n{}\n</document>\nThanks.",
        'Text:\n"""\n{}\n"""\nAnswer in JSON.',
        "{}",
    ],
)
def test_the_text_is_what_stands_in_the_fence(prompt: str) -> None:
    """Marker lines, tags, quotes, or nothing at all; what is inside does not confuse it."""
    assert source_text(_ask(prompt.format(BODY))) == BODY


def test_a_later_turn_does_not_become_the_text() -> None:
    """A client that asks again talks about the text; it stays the text."""
    ask = _ask(f"<<<9f8e7d6c>>>\n{BODY}\n<<<9f8e7d6c>>>", "Your answer was no JSON. Answer again in at most 9 words.")
    text, instructions = split_prompt(ask)
    assert text == BODY
    assert "Answer again" in instructions
    assert "a bad answer" not in instructions


def test_fault_markers_are_no_part_of_the_text() -> None:
    """Nobody summarizes them."""
    assert source_text(_ask("Hello [[simulate: 503 times=1]] world")) == "Hello  world"


@pytest.mark.parametrize(
    ("words", "limit"),
    [
        ("Write a summary of at most 80 words.", 80),
        ("No more than 25 words, please", 25),
        ("in 40 words or fewer", 40),
        ("fewer than 50 words", 49),
        ("maximum of 30 words", 30),
        ("Summarize the text with 3 examples.", None),
    ],
)
def test_the_word_limit_is_read(words: str, limit: int | None) -> None:
    """In the usual ways of saying it."""
    assert max_words(words) == limit


def test_bullets_are_noticed() -> None:
    """As a style, not in the text."""
    assert wants_bullets("as bullet points")
    assert not wants_bullets("as one paragraph")


def test_labels_are_read_with_their_descriptions() -> None:
    """Colons and dashes; labels without a description have none."""
    said = "The labels:\n- billing: invoices and refunds\n* `bug` \u2014 it does not work\n- praise\n"
    assert label_descriptions(["billing", "bug", "praise"], said) == {
        "billing": "invoices and refunds",
        "bug": "it does not work",
        "praise": None,
    }


def test_a_label_that_begins_like_another_keeps_its_own_description() -> None:
    """`bug report` is not a description of `bug`."""
    said = "- bug: it fails\n- bug report: about a bug"
    assert label_descriptions(["bug", "bug report"], said) == {"bug": "it fails", "bug report": "about a bug"}


def test_a_schema_in_the_prompt_is_found() -> None:
    """Among other braces."""
    said = 'Use {braces}. Like {"a": 1}. Schema:\n{"type":"object","properties":{"a":{"type":"string"}}}\nEnd.'
    assert prompt_schema(said) == {"type": "object", "properties": {"a": {"type": "string"}}}
    assert prompt_schema("no {schema} here") is None
