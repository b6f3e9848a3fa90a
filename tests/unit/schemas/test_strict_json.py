"""Strict JSON: what is refused, by kind and place, and that nothing else is."""

from __future__ import annotations

import datetime
import json
import math
from enum import IntEnum
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock_schemas.strict_json import (
    MAX_INT,
    MIN_INT,
    StrictJsonError,
    canonical,
    check_depth,
    check_value,
    digest,
    loads_strict,
)

MIB = 1024 * 1024

scalars = (
    st.none()
    | st.booleans()
    | st.integers(MIN_INT, MAX_INT)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=8)
)
keys = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=4)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=20,
)


def loads(data: str | bytes, max_bytes: int = MIB, max_depth: int = 32) -> Any:
    return loads_strict(data, max_bytes=max_bytes, max_depth=max_depth)


@pytest.mark.parametrize(
    ("text", "kind", "path"),
    [
        ("NaN", "not_finite", ""),
        ('{"a": [1, NaN]}', "not_finite", "a[1]"),
        ("[Infinity]", "not_finite", "[0]"),
        ("[-Infinity]", "not_finite", "[0]"),
        ('{"price": 1e999}', "not_finite", "price"),
        ("[-1e999]", "not_finite", "[0]"),
        ("[" + "9" * 400 + ".0]", "not_finite", "[0]"),
        ('{"n": ' + "9" * 5_000 + "}", "bad_number", "n"),
        ("18446744073709551616", "bad_number", ""),
        ("-9223372036854775809", "bad_number", ""),
        ('{"a": 1, "a": 1}', "duplicate_key", "a"),
        ('{"x": [{"a": 1, "b": 2, "\\u0061": 3}]}', "duplicate_key", "x[0].a"),
        ('{"x": "\\ud800"}', "bad_text", "x"),
        ('{"x": "\\uDC00\\uD800"}', "bad_text", "x"),
        ('{"\\udfff": 1}', "bad_text", ""),
        ('["a\\u0000b"]', "bad_text", "[0]"),
        ('["\ud800"]', "bad_text", ""),
        (b'["\xff"]', "bad_text", ""),
        ('["a\tb"]', "syntax", ""),
        ("\ufeff1", "syntax", ""),
        ('{"a": 1}'.encode("utf-16"), "bad_text", ""),
        ("", "syntax", ""),
        ("{'a': 1}", "syntax", ""),
        ("[1,]", "syntax", ""),
        ("[1] // one", "syntax", ""),
        ("1 2", "syntax", ""),
        ("01", "syntax", ""),
        ("[1, 2", "syntax", ""),
        ('"\\', "syntax", ""),
    ],
)
def test_refused_texts_name_their_kind_and_place(text: str | bytes, kind: str, path: str) -> None:
    """What is not strict JSON is refused by kind, with the path where there is one."""
    with pytest.raises(StrictJsonError) as caught:
        loads(text)
    assert (caught.value.kind, caught.value.path) == (kind, path)


def test_escapes_that_only_look_bad_are_accepted() -> None:
    """A surrogate pair, an escaped backslash before u0000, and DEL are ordinary text."""
    assert loads('["\\ud83d\\ude00", "\\\\u0000", "\\\\ud800", "\x7f"]') == [
        "😀",
        "\\u0000",
        "\\ud800",
        "\x7f",
    ]


def test_all_64_bit_integers_are_kept_exactly() -> None:
    """The largest and the smallest integers come back digit for digit."""
    assert loads(f"[{MAX_INT}, {MIN_INT}]") == [MAX_INT, MIN_INT]


def test_size_counts_bytes_not_characters() -> None:
    """A text of fewer characters than the limit is refused for its bytes; the limit itself is fine."""
    assert loads('"é"', max_bytes=4) == "é"
    for text in ('"éé"', '"éé"'.encode()):
        with pytest.raises(StrictJsonError) as caught:
            loads(text, max_bytes=5)
        assert caught.value.kind == "too_large"


def test_size_is_looked_at_before_the_syntax() -> None:
    """A text that is too large and broken is told to be too large."""
    with pytest.raises(StrictJsonError) as caught:
        loads("]" * 11, max_bytes=10)
    assert caught.value.kind == "too_large"


def test_depth_of_the_limit_is_accepted_and_one_more_is_not() -> None:
    """32 levels pass, 33 do not, in arrays, objects and both."""
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        assert loads(opening * 31 + "[]" + closing * 31) is not None
        with pytest.raises(StrictJsonError) as caught:
            loads(opening * 32 + "[]" + closing * 32)
        assert caught.value.kind == "too_deep"


@pytest.mark.parametrize("text", ["[" * 100_000, "[" * 100_000 + "]" * 100_000, '{"a":' * 100_000])
def test_a_hundred_thousand_brackets_are_too_deep(text: str) -> None:
    """Deep nesting is refused by kind and never as RecursionError."""
    with pytest.raises(StrictJsonError) as caught:
        loads(text)
    assert caught.value.kind == "too_deep"


def test_brackets_inside_strings_do_not_count() -> None:
    """Brackets in strings, after escaped quotes and escaped backslashes, are text."""
    text = json.dumps(["[" * 1_000, '"' + "{" * 1_000, "\\", "[" * 1_000, '\\"[' * 100])
    assert loads(text) == json.loads(text)


@pytest.mark.parametrize("text", ['"' + '\\"' * 200_000, '"\\' * 200_000, '["' + "[" * 500_000, '"' * 300_001])
def test_unterminated_strings_do_not_blow_up(text: str) -> None:
    """The scan for strings stays linear on text made to make it start again and again."""
    with pytest.raises(StrictJsonError) as caught:
        loads(text)
    assert caught.value.kind == "syntax"


def test_errors_hold_no_content_beyond_keys() -> None:
    """Neither text nor numbers of the input are repeated in an error."""
    with pytest.raises(StrictJsonError) as caught:
        loads('{"password": "hunter2\\u0000"}')
    assert "hunter2" not in str(caught.value)
    assert str(caught.value) == "password: holds a NUL character"


def test_keys_in_paths_are_escaped_and_cut() -> None:
    """A key with control characters or of great length cannot forge or flood a log line."""
    with pytest.raises(StrictJsonError) as caught:
        loads('{"a\\nb' + "x" * 500 + '": [1e999]}')
    assert "\n" not in caught.value.path
    assert len(caught.value.path) < 100


@given(values)
def test_whatever_is_json_comes_back_unchanged(value: Any) -> None:
    """Any JSON value survives the round trip, spelled by either library."""
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False), orjson.dumps(value)):
        assert loads(text) == value
    check_value(value, max_depth=32)


@given(st.text(alphabet='[]{}",:\\u0e1 \nad-.', max_size=40) | st.binary(max_size=30))
@settings(max_examples=500)
def test_arbitrary_text_is_parsed_or_refused(data: str | bytes) -> None:
    """No input raises anything but StrictJsonError, and what is accepted the other parser accepts too."""
    try:
        value = loads(data, max_depth=4)
    except StrictJsonError:
        return
    assert orjson.loads(data) == value


@given(st.text(alphabet='[]{}"\\a', max_size=60))
@settings(max_examples=500)
def test_depth_from_brackets_is_the_depth_of_the_value(text: str) -> None:
    """Where a text is JSON, the scan of brackets and the parsed value agree on its depth."""
    try:
        value = json.loads(text)
    except ValueError:
        return

    def depth(item: Any) -> int:
        inner = item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
        return 1 + max(map(depth, inner), default=0) if isinstance(item, (dict, list)) else 0

    check_depth(text.encode(), max_depth=depth(value))
    if depth(value):
        with pytest.raises(StrictJsonError):
            check_depth(text.encode(), max_depth=depth(value) - 1)


class Number(IntEnum):
    ONE = 1


@pytest.mark.parametrize(
    ("value", "kind", "path"),
    [
        ({"a": [math.nan]}, "not_finite", "meta.a[0]"),
        ({"a": -math.inf}, "not_finite", "meta.a"),
        ({"a": {1: 2}}, "bad_type", "meta.a"),
        ({"a": "\ud800"}, "bad_text", "meta.a"),
        ({"\ud800": 1}, "bad_text", "meta"),
        ({"a": "\0"}, "bad_text", "meta.a"),
        ({"a": 2**64}, "bad_number", "meta.a"),
        ({"a b": (1, 2)}, "bad_type", 'meta["a b"]'),
        ({"a": datetime.datetime.now(datetime.UTC)}, "bad_type", "meta.a"),
        ({"a": Number.ONE}, "bad_type", "meta.a"),
        ({"a": b"x"}, "bad_type", "meta.a"),
        ([[[[1]]]], "too_deep", "meta[0][0][0]"),
    ],
)
def test_values_of_a_caller_are_checked_with_their_path(value: Any, kind: str, path: str) -> None:
    """A Python value that is not JSON is refused with the path of the part at fault."""
    with pytest.raises(StrictJsonError) as caught:
        check_value(value, max_depth=3, field="meta")
    assert (caught.value.kind, caught.value.path) == (kind, path)


def test_a_value_that_contains_itself_is_too_deep() -> None:
    """A cycle ends at the depth limit."""
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(StrictJsonError) as caught:
        check_value(loop, max_depth=32)
    assert caught.value.kind == "too_deep"


def test_a_value_shared_many_times_is_too_large() -> None:
    """A small graph that is huge as a tree is refused before it is spelled out."""
    value: list[Any] = []
    for _ in range(20):
        value = [value] * 10
    with pytest.raises(StrictJsonError) as caught:
        check_value(value, max_depth=32)
    assert caught.value.kind == "too_large"


def test_canonical_ignores_order_spacing_and_the_spelling_of_numbers() -> None:
    """Equal JSON values have one spelling."""
    one = loads('{"b": 1.0, "a": [10, -0.0, 1e2, 0.5], "é": "\\u00e9"}')
    other = loads(' { "\\u00e9":"é","a":[1e1,0,100,5e-1], "b":1}')
    assert canonical(one) == canonical(other) == '{"a":[10,0,100,0.5],"b":1,"é":"é"}'.encode()
    assert digest(one) == digest(other)


def test_canonical_keeps_apart_what_differs() -> None:
    """True is not 1, "1" is not 1, null is not absent, large integers keep their last digit."""
    different = [
        {"a": 1},
        {"a": True},
        {"a": "1"},
        {"a": None},
        {},
        {"a": 2**63},
        {"a": 2**63 + 1},
        {"a": 1.5},
    ]
    assert len({digest(value) for value in different}) == len(different)


@pytest.mark.parametrize("value", [math.nan, {"a": {1, 2}}, {1: 2}, "\ud800", 2**70])
def test_canonical_refuses_what_is_not_json(value: Any) -> None:
    """Nothing is spelled as null or left out to make it fit."""
    with pytest.raises(StrictJsonError):
        canonical(value)


@given(values)
def test_canonical_is_json_and_stable(value: Any) -> None:
    """The canonical spelling parses to an equal value whose spelling is the same."""
    spelled = canonical(value)
    assert loads(spelled, max_depth=200) == value
    assert canonical(loads(spelled, max_depth=200)) == spelled
