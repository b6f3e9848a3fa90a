"""The degraded classification."""

from pathlib import Path

import pytest

from penstock_worker.fallbacks import classify, classify_scores

EXAMPLES = Path(__file__).parents[3] / "simulator" / "penstock_simulator" / "demo" / "inputs"


def labels(*names: str) -> dict[str, str | None]:
    return dict.fromkeys(names)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("mail-billing", "billing"),
        ("mail-bug", "bug"),
        ("mail-praise", "praise"),
        ("mail-cancel", "cancellation"),
        ("invoice", "billing"),
    ],
)
def test_example_goes_to_its_label(name: str, label: str) -> None:
    text = (EXAMPLES / f"{name}.txt").read_text("utf-8")
    assert classify(text, labels("bug", "billing", "praise", "cancellation", "spam")) == [label]


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("I am not happy with this at all", "negative"),
        ("Thank you so much, I love it!", "positive"),
        ("Die Ware ist kaputt und ich bin enttäuscht", "negative"),
        ("The parcel has arrived", "neutral"),
    ],
)
def test_sentiment(text: str, label: str) -> None:
    assert classify(text, labels("positive", "negative", "neutral")) == [label]


def test_a_description_is_evidence() -> None:
    named = {"A": "problems with trains and stations", "B": "gardens, flowers and vegetables"}
    assert classify("My tomatoes and other vegetables look pale.", named) == ["B"]


def test_words_are_compared_by_stem_and_spelling_of_names_does_not_matter() -> None:
    assert classify("He keeps cancelling orders", labels("other", "orderCancelled")) == ["orderCancelled"]
    assert classify("He keeps cancelling orders", labels("other", "ORDER_CANCELLED")) == ["ORDER_CANCELLED"]


def test_scripts_without_spaces_match_by_pairs() -> None:
    assert classify("サーバーの故障です", labels("請求", "故障")) == ["故障"]


def test_several_labels_come_strongest_first() -> None:
    text = "Invoice and payment: I was charged twice, please refund. Also the app crashes with an error."
    assert classify(text, labels("bug", "billing", "praise"), multi_label=True) == ["billing", "bug"]


def test_without_evidence_none_if_allowed() -> None:
    assert classify("xyzzy", labels("billing", "bug"), allow_none=True) == []
    assert classify("xyzzy", labels("billing", "bug"), allow_none=True, multi_label=True) == []


def test_without_evidence_the_catch_all_then_the_first() -> None:
    assert classify("xyzzy", labels("billing", "bug", "Other topics")) == ["Other topics"]
    assert classify("xyzzy", labels("billing", "bug"), multi_label=True) == ["billing"]


def test_a_tie_goes_to_the_first_label() -> None:
    assert classify("red blue", labels("red", "blue")) == ["red"]
    assert classify("red blue", labels("blue", "red")) == ["blue"]


def test_quoted_text_is_no_evidence() -> None:
    assert classify("Fine.\n\n> the invoice was wrong", labels("billing"), allow_none=True) == []


def test_scores_stand_in_label_order_and_zero_is_no_evidence() -> None:
    scores = classify_scores("a crash and an error", labels("praise", "bug"))
    assert list(scores) == ["praise", "bug"]
    assert scores["praise"] == 0.0 < scores["bug"]


def test_no_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="labels"):
        classify("text", {})
