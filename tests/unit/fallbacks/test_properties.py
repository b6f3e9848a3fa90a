"""What holds for any text, in any script, and for any schema of a kind."""

import json
from typing import Any

import jsonschema
import referencing
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock_worker.fallbacks import classify, classify_scores, count_words, extract, summarize
from penstock_worker.fallbacks.sentences import sentences
from penstock_worker.fallbacks.text import cut_words

PIECES = st.sampled_from(
    """Dear Ann,|Total: 5.00 EUR\n|- item\n|> quoted\n|東京は。|3.5|e.g. |\n\n|…|ไทย|-- \n|From: A
    <a@b.co>\n|name|: |2025-01-02|not paid|"x": 1,\n|\t| |?!|Mr.
    |\ud800|a\tb\tc\n|3,5,7\n|(|\u0301|12:30|#
    """.split("|")  # noqa: SIM905
)
TEXTS = st.one_of(st.text(max_size=400), st.lists(st.one_of(PIECES, st.text(max_size=12)), max_size=40).map("".join))

LEAVES: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {"type": "string"},
        {"type": "string", "format": "date"},
        {"type": "string", "format": "email"},
        {"type": "string", "format": "time"},
        {"type": "string", "pattern": "^[A-Z].*$"},
        {"type": "number"},
        {"type": "integer", "minimum": 3},
        {"type": "boolean"},
        {"type": ["string", "null"], "maxLength": 5},
        {"enum": ["item", "quoted", 5, None]},
        {"const": "x"},
        {"anyOf": [{"type": "number"}, {"type": "null"}]},
        {"$ref": "#/$defs/leaf"},
        {},
    ]
)
NODES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(lambda items: {"type": "array", "items": items}, inner),
        st.builds(
            lambda properties, most: {
                "type": "object",
                "properties": properties,
                "required": list(properties)[:most],
                "additionalProperties": False,
            },
            st.dictionaries(st.sampled_from(["name", "total", "date", "a", "item", "paid", "x"]), inner, max_size=4),
            st.integers(0, 2),
        ),
    ),
    max_leaves=8,
)


@given(TEXTS, st.integers(1, 60), st.sampled_from(["paragraph", "bullets"]), st.none() | st.text(max_size=10))
@settings(max_examples=150, deadline=None)
def test_summary_is_within_its_words_and_not_empty(text: str, most: int, style: Any, focus: str | None) -> None:
    made = summarize(text, max_words=most, style=style, focus=focus)
    assert count_words(made) <= most
    assert len(made.split()) <= most
    assert bool(made.strip()) == bool(text.strip())


def bare(text: str) -> str:
    """*text* without white space and without the marks of quoted lines, which joining takes away."""
    return "".join(text.split()).replace(">", "")


@given(TEXTS)
@settings(max_examples=150, deadline=None)
def test_summary_says_what_the_text_says(text: str) -> None:
    """Each bullet is a sentence of the source; only white space and the marks of quotes may differ."""
    source = bare(text)
    for line in summarize(text, max_words=1_000, style="bullets").split("\n"):
        assert bare(line.removeprefix("- ")) in source


@given(TEXTS)
@settings(max_examples=150, deadline=None)
def test_sentences_come_in_the_order_of_the_text(text: str) -> None:
    source, at = bare(text), 0
    for each in sentences(text):
        piece = bare(each.text)
        at = source.index(piece, at) + len(piece)


@given(TEXTS, st.integers(1, 20))
@settings(max_examples=150, deadline=None)
def test_a_cut_is_within_its_words(text: str, most: int) -> None:
    if text.strip():
        made = cut_words(text, most)
        assert made.endswith("…")
        assert count_words(made) <= most


@given(TEXTS, st.dictionaries(st.text(max_size=12), st.none() | st.text(max_size=12), min_size=1, max_size=5))
@settings(max_examples=150, deadline=None)
def test_classification_answers_from_its_labels(text: str, labels: dict[str, str | None]) -> None:
    assert len(classify(text, labels)) == 1
    assert len(classify(text, labels, allow_none=True)) <= 1
    several = classify(text, labels, multi_label=True)
    assert several
    assert len(set(several)) == len(several)
    assert set(several) <= labels.keys()
    assert all(score >= 0 for score in classify_scores(text, labels).values())


@given(TEXTS, st.dictionaries(st.sampled_from(["name", "total", "item", "paid", "x", "date"]), NODES, max_size=4))
@settings(max_examples=250, deadline=None)
def test_extraction_satisfies_its_schema_or_is_none(text: str, properties: dict[str, Any]) -> None:
    schema = {"type": "object", "properties": properties, "$defs": {"leaf": {"type": "string"}}}
    answer = extract(text, schema)
    if answer is not None:
        checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
        jsonschema.Draft202012Validator(schema, registry=referencing.Registry(), format_checker=checker).validate(
            answer
        )
        json.dumps(answer)


@given(TEXTS)
@settings(max_examples=150, deadline=None)
def test_extracted_strings_stand_in_the_text(text: str) -> None:
    schema = {"type": "object", "properties": {name: {"type": "string"} for name in ("name", "total", "x")}}
    flat = "".join(text.encode("utf-8", "replace").decode().split())
    for value in (extract(text, schema) or {}).values():
        assert isinstance(value, str)
        assert "".join(value.split()) in flat
