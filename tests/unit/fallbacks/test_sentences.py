# ruff: noqa: RUF001 - the punctuation of other scripts is meant
"""How a text is taken apart into sentences."""

import pytest

from penstock_worker.fallbacks.sentences import Role, sentences


def split(text: str, language: str = "en") -> list[str]:
    return [each.text for each in sentences(text, language)]


def roles(text: str) -> list[Role]:
    return [each.role for each in sentences(text)]


@pytest.mark.parametrize(
    "text",
    [
        "He met Dr. Smith at the pier.",
        "It cost 3.50 euros, i.e. too much.",
        "J. R. Hartley wrote a book.",
        "We arrived at 9 a.m. on Monday.",
        "The U.S. and the E.U. agreed.",
        "See fig. 3 and no. 7 of the list.",
        'She asked "Why?" and left.',
        "Version 4.2.1 is out.",
    ],
)
def test_no_split_inside_one_sentence(text: str) -> None:
    assert split(text) == [text]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("One. Two! Three?", 3),
        ("Wait... Then it came.", 2),
        ("He said no. She said yes.", 1),  # "no." before a capital is taken for "number"
        ("It was built in 1998. Then it fell.", 2),
        ("We paid Smith Inc. They left.", 2),
        ("(It was late.) We went home.", 2),
        ("東京は大きい。人が多い！そうですか？はい", 4),
        ("यह अच्छा है। वह नहीं।", 2),
        ("هل هذا جيد؟ نعم.", 2),
    ],
)
def test_splits_where_a_sentence_ends(text: str, count: int) -> None:
    assert len(split(text)) == count


def test_a_german_date_is_no_end() -> None:
    assert split("Am 3. März kam er. Dann ging er.", "de") == ["Am 3. März kam er.", "Dann ging er."]


def test_lines_wrapped_by_hand_are_joined() -> None:
    wrapped = "This sentence was wrapped by hand at a width of\nsome fifty characters and goes on here."
    assert split(wrapped) == [wrapped.replace("\n", " ")]


def test_items_and_headings_stay_apart() -> None:
    text = "# Plan\n\n- first thing\n- second thing\n\nThen we rest."
    assert split(text) == ["Plan", "first thing", "second thing", "Then we rest."]
    assert roles(text) == [Role.TITLE, Role.ITEM, Role.ITEM, Role.BODY]


def test_a_mail_is_told_apart() -> None:
    mail = (
        "From: a@b.example\nTo: c@d.example\nSubject: Broken lamp\n\nDear all,\n\nThe lamp broke.\n\n"
        "Kind regards,\nAnn Lee\n\n> it worked yesterday\n"
    )
    assert roles(mail) == [
        Role.HEADER,
        Role.HEADER,
        Role.TITLE,
        Role.GREETING,
        Role.BODY,
        Role.SIGNATURE,
        Role.SIGNATURE,
        Role.QUOTE,
    ]


def test_what_stands_below_two_dashes_is_signature() -> None:
    assert roles("It works.\n-- \nAnn Lee\nTel. 12345 in the office") == [Role.BODY] + [Role.SIGNATURE] * 2


def test_lines_of_a_chat_stay_apart() -> None:
    chat = "anna: did anyone see the staging numbers of today\nben: yes, they look odd"
    assert split(chat) == chat.splitlines()
