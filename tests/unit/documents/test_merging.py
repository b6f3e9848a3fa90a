"""What the parts of a text say, brought together: nothing lost, nothing counted twice, and contradictions told."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_schemas.evidence import leaves
from penstock_worker.attempt.reading.validator import compiled
from penstock_worker.documents.merging import Origin, merge
from penstock_worker.documents.partial import filled, partial_schema

OPEN: dict[str, Any] = {"type": "object"}
SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab ", max_size=4)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab/~", max_size=2), inner, max_size=3),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.text("ab/~", max_size=2), VALUES, max_size=4)


@given(OBJECTS)
def test_one_part_is_the_whole(part: dict[str, Any]) -> None:
    """And so is the same part twice."""
    once, twice = merge([part], OPEN), merge([part, part], OPEN)
    assert once.value == twice.value == part
    assert once.conflicts == twice.conflicts == []
    assert once.origins == {path: Origin(0, path) for path, leaf in leaves(part) if leaf is not None}


@given(st.lists(OBJECTS, min_size=1, max_size=4))
def test_every_value_has_the_origin_that_it_came_from(parts: list[dict[str, Any]]) -> None:
    """Each leaf of the whole is a leaf of the part that is named."""
    merged = merge(parts, OPEN)
    for path, leaf in leaves(merged.value):
        if leaf is not None:
            origin = merged.origins[path]
            assert dict(leaves(parts[origin.part]))[origin.path] == leaf


def test_lists_are_joined_and_overlaps_counted_once() -> None:
    """Two equal entries of one part are two; white space and the writing of numbers make no difference."""
    coffee = {"item": "Coffee", "price": 3}
    parts = [
        {"lines": [coffee, coffee, {"item": "Tea", "price": 2.0}]},
        {"lines": [{"item": "Tea ", "price": 2}, {"item": "Cake", "price": None}]},
    ]
    merged = merge(parts, OPEN)
    assert [line["item"] for line in merged.value["lines"]] == ["Coffee", "Coffee", "Tea", "Cake"]
    assert merged.origins["/lines/3/item"] == Origin(1, "/lines/1/item")
    assert merged.conflicts == []


def test_the_majority_of_the_parts_counts_and_the_rest_is_told() -> None:
    """Null is no vote; of equally many the first counts; the place is a JSON pointer."""
    parts: list[Any] = [
        {"total": None, "due": {"a/b": "May"}},
        {"total": 10, "due": {"a/b": "June"}},
        {"total": 12, "due": {"a/b": "July "}},
        {"total": 12, "due": {"a/b": None}},
    ]
    merged = merge(parts, OPEN)
    assert merged.value == {"total": 12, "due": {"a/b": "May"}}
    assert merged.conflicts == ["/total", "/due/a~1b"]


def test_parts_of_different_shape_are_a_conflict() -> None:
    """The shape that most have counts."""
    merged = merge([{"who": "Ann"}, {"who": ["Ann"]}, {"who": ["Bob"]}], OPEN)
    assert (merged.value, merged.conflicts) == ({"who": ["Ann", "Bob"]}, ["/who"])


@pytest.mark.parametrize("fixed", [{"prefixItems": [{}, {}]}, {"minItems": 2, "maxItems": 2}])
def test_a_list_of_fixed_length_is_a_value(fixed: dict[str, Any]) -> None:
    """A pair of coordinates is not four of them; the schema may stand behind a reference."""
    place = {"type": "array", **fixed}
    schema = {"properties": {"at": {"anyOf": [{"$ref": "#/$defs/at"}, {"type": "null"}]}}, "$defs": {"at": place}}
    merged = merge([{"at": [1, 2]}, {"at": [3, 4]}, {"at": [3, 4]}], schema)
    assert (merged.value, merged.conflicts) == ({"at": [3, 4]}, ["/at"])


# The schema of a part

INVOICE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "number": {"type": "string"},
        "kind": {"enum": ["a", "b"]},
        "buyer": {"$ref": "#/$defs/party"},
        "paid": {"type": ["boolean", "null"]},
        "lines": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/line"}},
        "notes": {"type": "array", "items": {"type": "string"}},
        "pay": {"oneOf": [{"$ref": "#/$defs/party"}, {"type": "string"}]},
    },
    "required": ["number", "buyer", "lines", "paid", "notes"],
    "additionalProperties": False,
    "$defs": {
        "party": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
        "line": {"type": "object", "properties": {"item": {"type": "string"}}, "required": ["item"]},
    },
}


@pytest.mark.parametrize(
    "part",
    [
        *[{}, {"number": None, "kind": None, "buyer": None, "pay": None}, {"buyer": {}}, {"buyer": {"name": None}}],
        *[{"lines": []}, {"lines": [{"item": "x"}]}, {"lines": None}, {"pay": {"name": "x"}}, {"pay": "x"}],
    ],
)
def test_a_part_may_lack_anything(part: dict[str, Any]) -> None:
    """Members may be left out or null."""
    assert compiled(partial_schema(INVOICE)).is_valid(part)


@pytest.mark.parametrize("part", [{"number": 3}, {"kind": "c"}, {"lines": [{}]}, {"lines": [None]}, {"more": 1}])
def test_what_a_part_has_is_of_its_type(part: dict[str, Any]) -> None:
    """An entry of a list is whole or not there."""
    before = repr(INVOICE)
    assert not compiled(partial_schema(INVOICE)).is_valid(part)
    assert repr(INVOICE) == before


def test_nothing_found_is_said_as_the_schema_wants_it() -> None:
    """Null or an empty list where it must be there; not there where null is not allowed."""
    whole = filled({"number": "7", "buyer": {"name": "x"}, "kind": None, "lines": [{"item": "x"}]}, INVOICE)
    assert whole == {"number": "7", "buyer": {"name": "x"}, "lines": [{"item": "x"}], "paid": None, "notes": []}
    assert compiled(INVOICE).is_valid(whole)
    assert not compiled(INVOICE).is_valid(filled({"buyer": {"name": None}}, INVOICE))
