"""Finding the one JSON value in what a model wrote."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock_schemas.strict_json import StrictJsonError, loads_strict
from penstock_worker.attempt.reading.extract_json import Found, Missing, find_json

ANSWER = {"items": [{"name": 'a "quoted" {word}', "price": 1.5, "tags": ["x", None, True]}], "note": "é\n[1, 2]"}


def find(text: str, *, prose: bool = False) -> Found | Missing:
    return find_json(text, max_bytes=2**20, prose=prose)


@pytest.mark.parametrize("text", ['{"a": 1}', "[1]", ' \n{"a": 1}\t ', '"x"', "1", "null"])
def test_plain_json_needs_no_step(text: str) -> None:
    """A whole text that is JSON is taken as it is, white space aside."""
    assert find(text) == Found(json.loads(text), ())


@pytest.mark.parametrize("text", ["```json\n{}\n```", "```\n{}\n```", "```JSON {}```", " ```json\r\n{}\r\n```\n"])
def test_one_code_fence_is_taken_off(text: str) -> None:
    """A fence around the whole answer is a step, and nothing else is needed."""
    assert find(text) == Found({}, ("code_fence",))


def test_a_fence_inside_a_string_is_text() -> None:
    """The value may hold a code fence, in a fence or out of one."""
    value = {"code": "```py\nprint()\n```"}
    assert find(json.dumps(value)) == Found(value, ())
    assert find(f"```json\n{json.dumps(value)}\n```") == Found(value, ("code_fence",))


AROUND = [
    'Here it is: {"a": 1}',
    '{"a": 1} I hope this helps.',
    'Sure!\n```json\n{"a": 1}\n```',
    '```json\n{"a": 1}\n```\nAnything else?',
    'He said "no": {"a": 1}',
    "It's {\"a\": 1}, isn't it?",
]


@pytest.mark.parametrize("text", AROUND)
def test_text_around_json_is_refused_unless_allowed(text: str) -> None:
    """Text before or after is bad output; where prose is allowed the value is found and the step named."""
    refused = find(text)
    assert isinstance(refused, Missing)
    assert (refused.reason, refused.broken) == ("text_around", None)
    found = find(text, prose=True)
    assert isinstance(found, Found)
    assert found.value == {"a": 1}
    assert "prose_around" in found.steps


@pytest.mark.parametrize("prose", [True, False])
@pytest.mark.parametrize(
    "text", ['{"a": 1}{"a": 2}', '{"a": 1}\n{"a": 1}', "[1] [2]", 'see [1]: {"a": 1}', "```\n{}\n```\n```\n{}\n```"]
)
def test_two_values_are_never_chosen_from(text: str, prose: bool) -> None:
    """Which of two values was meant cannot be known, even if they are equal."""
    found = find(text, prose=prose)
    assert isinstance(found, Missing)
    assert (found.reason, found.broken) == ("several_values", None)


@pytest.mark.parametrize("prose", [True, False])
@pytest.mark.parametrize("layout", ["{}", "```json\n{}\n```", "Here:\n```json\n{}\n```", "Here: {}"])
@pytest.mark.parametrize("indent", [None, 2])
def test_json_cut_anywhere_is_cut_off(layout: str, prose: bool, indent: int | None) -> None:
    """Cut at every position inside the value, and inside its fence, no part of it is ever an answer."""
    value = json.dumps(ANSWER, indent=indent, ensure_ascii=False)
    begins = layout.index("{}")
    whole = layout.replace("{}", value)
    assert isinstance(find(whole, prose=True), Found)
    for end in range(begins + 1, begins + len(value)):
        found = find(whole[:end], prose=prose)
        assert isinstance(found, Missing)
        assert (found.reason, found.broken) == ("cut_off", None), whole[:end]
    if layout.startswith("```"):
        for end in (2, 3, 7, 8, *range(begins + len(value), len(whole))):
            found = find(whole[:end], prose=prose)
            assert isinstance(found, Missing)
            assert found.broken is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (" \n\t", "empty"),
        ("I cannot help with that.", "no_json"),
        ("```json\n```", "no_json"),
        ('{"a": NaN}', "not_strict"),
        ('{"a": 1e999}', "not_strict"),
        ('```json\n{"a": -Infinity}\n```', "not_strict"),
        ('{"a": 1, "a": 2}', "not_strict"),
        ('{"a": "\\ud800"}', "not_strict"),
        ('{"a": "\ud800"}', "not_strict"),
        ('{"a": "\\u0000"}', "not_strict"),
        ('{"a": ' + "1" * 400 + "}", "not_strict"),
        ("[" * 1_000 + "]" * 1_000, "not_strict"),
        ("text " + "[" * 1_000 + "]" * 1_000, "not_strict"),
        ('"unclosed', "cut_off"),
        ("<html><body>Log in</body></html>", "no_json"),
    ],
)
def test_what_is_missing_is_told_apart(text: str, reason: str) -> None:
    """Each kind of useless answer has its reason, and none of these is offered for repair."""
    found = find(text)
    assert isinstance(found, Missing)
    assert (found.reason, found.broken) == (reason, None)


@pytest.mark.parametrize("text", ['{"a": 1,}', "{'a': 1}", "{a: 1}", "[1 2]", '```json\n{"a": 1,}\n```'])
def test_only_complete_broken_json_is_offered_for_repair(text: str) -> None:
    """One balanced value that is the whole answer, fence aside, may be repaired."""
    found = find(text)
    assert isinstance(found, Missing)
    assert found.reason == "not_json"
    assert found.broken == text.removeprefix("```json\n").removesuffix("\n```")
    assert found.steps == (("code_fence",) if "```" in text else ())


def test_size_is_bounded_before_anything_else() -> None:
    """A byte over the limit is too large, whatever it is."""
    assert isinstance(find_json('"' + "é" * 10 + '"', max_bytes=22), Found)
    found = find_json('"' + "é" * 10 + '"', max_bytes=21)
    assert isinstance(found, Missing)
    assert found.reason == "too_large"


@given(st.text(alphabet='{}[]",:`\\ajson1 \n', max_size=60), st.booleans())
@settings(max_examples=1_000)
def test_any_text_is_found_or_missing(text: str, prose: bool) -> None:
    """Nothing raises; what is found without a step is what strict parsing gives."""
    found = find(text, prose=prose)
    try:
        strict: Any = loads_strict(text.strip(), max_bytes=2**20)
    except StrictJsonError:
        assert isinstance(found, Missing) or found.steps
    else:
        assert found == Found(strict, ())


@pytest.mark.parametrize(
    "text", ["[" * 500_000, "[]" * 250_000, '{"' * 250_000, '["' + '\\"' * 250_000, "`" * 500_000, "[}" * 250_000]
)
def test_hostile_texts_are_read_in_linear_time(text: str) -> None:
    """Half a megabyte made to make the search start over is missing, not endless."""
    assert isinstance(find(text, prose=True), Missing)
