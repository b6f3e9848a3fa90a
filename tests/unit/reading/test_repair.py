"""Repair changes punctuation, and never what was said."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock_worker.attempt.reading.repair import MAX_BYTES, repair


@pytest.mark.parametrize(
    ("text", "value", "steps"),
    [
        ('{"a": 1,}', {"a": 1}, ("trailing_comma",)),
        ("[1, 2, ]", [1, 2], ("trailing_comma",)),
        ("{'a': 'b'}", {"a": "b"}, ("quotes",)),
        ("{\u201ca\u201d: \u201cb\u201d}", {"a": "b"}, ("quotes",)),
        ("{a: 1}", {"a": 1}, ("bare_key",)),
        ('{"a": True, "b": None}', {"a": True, "b": None}, ("literal",)),
        ('{"a": "x\ny"}', {"a": "x\ny"}, ("control_character",)),
        ('{"a": 1 "b": 2}', {"a": 1, "b": 2}, ("punctuation",)),
        ('{"a": 1, // one\n "b": 2}', {"a": 1, "b": 2}, ("comment",)),
        ('{"a": "", "b": [], "c": {},}', {"a": "", "b": [], "c": {}}, ("trailing_comma",)),
        ('{"a": 1.50, "b": -2e3,}', {"a": 1.5, "b": -2000.0}, ("trailing_comma",)),
    ],
)
def test_the_closed_list_of_repairs(text: str, value: Any, steps: tuple[str, ...]) -> None:
    """Commas, quotes, bare keys, literals, comments and raw line ends are put right, and named."""
    assert repair(text, max_depth=32) == (value, steps)


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "b": 2',
        '{"a": [1, 2}',
        '{"a": "b',
        '{"a": 1}]',
        '{"a": 1, "a": 2,}',
        '{"a": {"b": 1, "b": 1},}',
        '{"a": NaN,}',
        '{"a": Infinity,}',
        '{"a": -Infinity,}',
        '{"a": undefined}',
        '{"a": yes}',
        '{"a": hello world}',
        '{"a": 1,000}',
        '{"a": 01}',
        '{"a": .5}',
        '{"a": +1}',
        '{"a": 0x10}',
        '{"a": 1_000,}',
        '{"a": 12345678901234567890123,}',
        '{"a": 1e999,}',
        '{"a":"x, "b": "y"}',
        '{"a": "he said "hi" to me"}',
        '{"a": "x" + "y"}',
        '{"a": """x"""}',
        '{"a" 1}',
        '{"a":: 1}',
        '["he said "" to me"]',
        '[1"a"]',
        '{"a": "b": 1}',
        '{"a": 1}{"b": 2}',
        '{"a": 1} trailing words',
        '{"a": "\\ud800",}',
        '{"a": "\\u0000",}',
        '{1: "a"}',
        '{"a": 5%}',
        '{"a": <b>x</b>}',
        "",
        "hello",
        '{"a": ...}',
        '{"a": "x",, "b": [..., 1]}',
    ],
)
def test_what_would_be_a_guess_is_not_repaired(text: str) -> None:
    """Cut-off text, equal keys, numbers that are none, split strings: a re-ask costs less than a wrong answer."""
    assert repair(text, max_depth=32) is None


def test_deep_and_large_texts_are_not_repaired() -> None:
    """The depth limit holds, and there is a size beyond which nothing is tried."""
    assert repair("[" * 33 + "1," + "]" * 33, max_depth=32) is None
    assert repair("[" * 100_000, max_depth=32) is None
    assert repair('["' + "x" * MAX_BYTES + '",]', max_depth=32) is None


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.text("ab c,:{}[]é'\"\\/\n", max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(plain, st.data())
@settings(max_examples=500, deadline=None)
def test_json_with_harmless_damage_is_repaired_to_itself_or_not_at_all(value: Any, data: st.DataObject) -> None:
    """With commas lost, doubled or added before brackets: the value that was meant, or nothing."""
    text = spoiled([value], data)
    repaired = repair(text, max_depth=32)
    assert repaired is None or json.dumps(repaired[0]) == json.dumps([value])


def spoiled(value: Any, data: st.DataObject) -> str:
    """The value as text whose commas are sometimes missing, and sometimes too many."""
    if isinstance(value, dict):
        members = [f"{json.dumps(key)}: {spoiled(item, data)}" for key, item in value.items()]
        return "{" + joined(members, data) + "}"
    if isinstance(value, list):
        return "[" + joined([spoiled(item, data) for item in value], data) + "]"
    return json.dumps(value, ensure_ascii=False)


def joined(members: list[str], data: st.DataObject) -> str:
    commas = [data.draw(st.sampled_from([", ", ",", " ", ",,", "\n"])) for _ in members]
    return "".join(f"{member}{comma}" for member, comma in zip(members, commas, strict=True))


@given(plain, st.data())
@settings(max_examples=300, deadline=None)
def test_cut_off_json_is_never_repaired(value: Any, data: st.DataObject) -> None:
    """No proper beginning of an array or an object becomes a value."""
    text = json.dumps([value], ensure_ascii=False)
    assert repair(text[: data.draw(st.integers(0, len(text) - 1))], max_depth=32) is None


@given(st.text("{}[]'\",:ab1 \n/*\\tn", max_size=40))
@settings(max_examples=500, deadline=None)
def test_any_text_is_repaired_or_refused(text: str) -> None:
    """Nothing raises."""
    repaired = repair(text, max_depth=8)
    assert repaired is None or repaired[1]
