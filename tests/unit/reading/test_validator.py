"""The two validators: one meaning, and nothing of the answer in an explanation."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from penstock_schemas.errors import SchemaRejectedError
from penstock_schemas.json_schema import FORMATS, check_schema
from penstock_worker.attempt.reading.cost import LIMIT, units_per_byte
from penstock_worker.attempt.reading.explain import Explainer
from penstock_worker.attempt.reading.validator import Validator, Validators

NAMES = ["a", "b", "ab", "$ref", ""]
numbers = st.sampled_from(
    [0, 1, 2, 3, -1, 10, 1.0, 0.0, -0.0, 0.5, 0.1, 0.3, 0.01, 19.99, 1e300, 5e-324, 2**53, 2**53 + 1, 2.0**53]
) | st.sampled_from([2**63, 2**64 - 1, -(2**63), 1.8446744073709552e19, 9007199254740993, 1e16])
texts = st.sampled_from(
    ["", "a", "b", "ab", "aa", "é", "e\u0301", "😀", "٣", "a\n", " ", "2024-01-31", "2024-02-30", "1", "$ref"]
) | st.sampled_from(
    ["2024-01-31T09:30:00Z", "09:30:00Z", "P3D", "x@example.com", "::1", "127.0.0.1", "http://a/b", "/a"]
)
scalars = st.none() | st.booleans() | numbers | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=8,
)
counts = st.integers(0, 3)
positive = numbers.filter(lambda number: number > 0)
patterns = st.sampled_from(["^a", "b$", r"^\d$", r"\w", r"^\s*$", "^[^a]*$", "", "é", ".", "^(?:ab?)+$"])
types = st.sampled_from(["string", "number", "integer", "boolean", "object", "array", "null"])
REFERENCE = st.sampled_from(["#", "#/$defs/a", "#/$defs/b"])


def keywords(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Schemas of every supported keyword, not all of them accepted by the gate."""
    several = st.lists(inner, min_size=1, max_size=3)
    named = st.dictionaries(st.sampled_from(NAMES), inner, max_size=3)
    some: dict[str, st.SearchStrategy[Any]] = {
        "type": types | st.lists(types, min_size=1, max_size=3, unique=True),
        "enum": st.lists(values, min_size=1, max_size=3),
        "const": values,
        "multipleOf": positive,
        **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), numbers),
        **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"), counts),
        "pattern": patterns,
        "format": st.sampled_from(sorted(FORMATS)),
        "uniqueItems": st.booleans(),
        "required": st.lists(st.sampled_from(NAMES), max_size=2, unique=True),
        "dependentRequired": st.dictionaries(st.sampled_from(NAMES), st.just(["a"]), max_size=2),
        "properties": named,
        "dependentSchemas": named,
        "patternProperties": st.dictionaries(patterns, inner, max_size=2),
        **dict.fromkeys(("additionalProperties", "propertyNames", "items", "contains", "not"), inner),
        **dict.fromkeys(("if", "then", "else"), inner),
        **dict.fromkeys(("allOf", "anyOf", "oneOf", "prefixItems"), several),
        "minContains": counts,
        "maxContains": counts,
        "$ref": REFERENCE,
    }
    pairs = st.sampled_from(sorted(some)).flatmap(lambda name: st.tuples(st.just(name), some[name]))
    return st.lists(pairs, min_size=1, max_size=4).map(dict)


subschemas = st.recursive(st.booleans() | keywords(st.booleans()), keywords, max_leaves=6)
schemas = st.builds(
    lambda root, a, b: {**root, "$defs": {"a": a, "b": b}}, keywords(subschemas), subschemas, subschemas
)


def test_fast_verdict_is_explained_where_the_judge_finds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Should the two disagree, a no stays a no, with its place and keyword."""
    explainer = Explainer({"properties": {"a": {"type": "integer"}}})
    monkeypatch.setattr(explainer, "_judge", Explainer({"type": "object"})._judge)
    (violation,) = explainer.violations({"a": "hunter2"})
    assert (violation.path, violation.keyword) == ("/a", "type")


@given(schemas, st.lists(values, min_size=1, max_size=6))
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@example({"multipleOf": 0.1}, [0.3, 0.30000000000000004, 1, 1e300])
@example({"multipleOf": 0.01}, [19.99, 19.995, 0])
@example({"type": "integer"}, [1.0, 1.5, True, 1e300, 2**64 - 1])
@example({"enum": [1, [0], {"a": 1.0}]}, [1.0, True, [False], [0.0], {"a": 1}, {"a": True}])
@example({"uniqueItems": True}, [[1, 1.0], [1, True], [[1], [True]], [{"a": 0}, {"a": False}], [{"a": 1}, {"a": 1.0}]])
@example({"minimum": 2**53}, [2**53 + 1, 2.0**53, 2**53 - 1])
@example({"const": 2.0**53}, [2**53 + 1, 2**53])
@example({"pattern": r"^\d$"}, ["٣", "3", "3\n"])
@example({"additionalProperties": False, "patternProperties": {r"^\w$": True}}, [{"é": 1}, {"e": 1}])
def test_both_validators_judge_alike(schema: dict[str, Any], instances: list[Any]) -> None:
    """For every schema that the gate accepts, jsonschema-rs and jsonschema say the same of any value."""
    try:
        validator = Validator(schema)
    except SchemaRejectedError:
        return
    explainer = Explainer(schema)
    for instance in instances:
        assert validator.is_valid(instance) == explainer.is_valid(instance), instance
        assert validator.is_valid(instance) == (explainer.violations(instance) == ())


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_formats_are_enforced(name: str) -> None:
    """Each format accepts a good value, refuses a bad one, and lets other types be."""
    good = {
        "date": "2024-02-29",
        "date-time": "2024-02-29T12:00:00Z",
        "time": "12:00:00Z",
        "duration": "P1DT2H",
        "email": "a@example.com",
        "hostname": "example.com",
        "ipv4": "192.0.2.1",
        "ipv6": "2001:db8::1",
        "uri": "https://example.com/",
        "uri-reference": "/a?b#c",
        "uuid": "123e4567-e89b-12d3-a456-426614174000",
        "json-pointer": "/a/0",
    }[name]
    validator = Validator({"format": name})
    assert [validator.is_valid(value) for value in (good, 7, None)] == [True, True, True]
    assert not validator.is_valid("\\ not one")


def test_identity_of_a_schema_has_no_effect() -> None:
    """A schema that calls itself by the meta-schema's name still means itself."""
    schema = {
        "$id": "https://json-schema.org/draft/2020-12/schema",
        "$schema": "http://json-schema.org/draft-07/schema#",
        "properties": {"a": {"$ref": "#/definitions/x"}},
        "definitions": {"x": {"type": "integer"}},
    }
    validator, explainer = Validator(schema), Explainer(schema)
    for value, valid in (({"a": 1}, True), ({"a": "1"}, False)):
        assert (validator.is_valid(value), explainer.is_valid(value)) == (valid, valid)


def test_a_schema_outside_the_subset_is_not_compiled() -> None:
    """The gate stands before the validator too."""
    with pytest.raises(SchemaRejectedError):
        Validator({"$ref": "http://127.0.0.1:9/schema"})


def test_validators_are_kept_by_meaning_and_dropped_by_age() -> None:
    """Equal schemas share a validator; beyond the bound the least recently used goes."""
    held = Validators(size=2)
    first = held.get({"type": "object", "minProperties": 1})
    assert held.get({"minProperties": 1.0, "type": "object"} | {"minProperties": 1}) is first
    held.get({"type": "string"})
    assert held.get({"minProperties": 1, "type": "object"}) is first
    held.get({"type": "array"})
    assert held.get({"minProperties": 1, "type": "object"}) is first
    assert len(held._held) == 2


SECRETS = ["sk-4242", "hunter2"]


@pytest.mark.parametrize(
    ("schema", "value", "path", "keyword"),
    [
        ({"properties": {"a": {"type": "integer"}}}, {"a": "hunter2"}, "/a", "type"),
        ({"properties": {"a": {"enum": ["x"]}}}, {"a": "hunter2"}, "/a", "enum"),
        ({"properties": {"a": {"const": 1}}}, {"a": ["hunter2"]}, "/a", "const"),
        ({"properties": {"a": {"pattern": "^x"}}}, {"a": "hunter2"}, "/a", "pattern"),
        ({"properties": {"a": {"format": "date"}}}, {"a": "hunter2"}, "/a", "format"),
        ({"properties": {"a": {"maxLength": 1}}}, {"a": "hunter2"}, "/a", "maxLength"),
        ({"properties": {"a": {}}, "additionalProperties": False}, {"hunter2": 1}, "", "additionalProperties"),
        ({"additionalProperties": {"type": "integer"}}, {"hunter2": "sk-4242"}, "/*", "type"),
        ({"propertyNames": {"maxLength": 2}}, {"hunter2": 1}, "", "maxLength"),
        ({"items": {"required": ["a"]}}, [{"hunter2": 1}], "/0", "required"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "hunter2", "", "anyOf"),
        ({"oneOf": [{"minLength": 1}, {"minLength": 2}]}, "hunter2", "", "oneOf"),
        ({"not": {"type": "string"}}, "hunter2", "", "not"),
        ({"uniqueItems": True}, ["hunter2", "hunter2"], "", "uniqueItems"),
        ({"contains": {"type": "integer"}}, ["hunter2"], "", "contains"),
        ({"properties": {"a": False}}, {"a": "hunter2"}, "/a", "false"),
    ],
)
def test_violations_name_place_and_keyword_and_nothing_of_the_answer(
    schema: Any, value: Any, path: str, keyword: str
) -> None:
    """Values and names that the schema does not give never reach an explanation."""
    (violation, *_) = Explainer(schema).violations(value)
    assert (violation.path, violation.keyword) == (path, keyword)
    assert not any(secret in str(violation) for secret in SECRETS)
    assert violation.hint


def test_violations_are_few_and_short() -> None:
    """Ten thousand faults make three violations."""
    violations = Explainer({"items": {"enum": ["x" * 500, "y"]}}).violations(list(range(10_000)))
    assert [one.path for one in violations] == ["/0", "/1", "/2"]
    assert all(len(one.hint) <= 160 for one in violations)


def test_the_branch_of_a_union_that_was_meant_is_explained() -> None:
    """Of a union's branches the one that fits best gives the violation."""
    schema = {
        "anyOf": [
            {"type": "null"},
            {"type": "object", "properties": {"kind": {"const": "cat"}, "lives": {"type": "integer"}}},
        ]
    }
    (violation,) = Explainer(schema).violations({"kind": "cat", "lives": "nine"})
    assert (violation.path, violation.keyword) == ("/lives", "type")


def tree(branches: int) -> dict[str, Any]:
    """A schema that applies itself to each item *branches* times."""
    return {"allOf": [{"items": {"$ref": "#"}} for _ in range(branches)]}


def test_cost_grows_with_what_applies_to_one_value() -> None:
    """Fields side by side cost no more than the dearest; branches over one value add up."""
    one = units_per_byte({"properties": {"a": {"type": "string"}}}, max_depth=32)
    beside = units_per_byte({"properties": {"a": {"type": "string"}, "b": {"type": "string"}}}, max_depth=32)
    above = units_per_byte({"allOf": [{"properties": {"a": {"type": "string"}}} for _ in range(100)]}, max_depth=32)
    assert beside <= one + 1
    assert above > 90 * one


def test_cost_of_recursion_is_told_from_recursion_that_doubles() -> None:
    """A tree costs the same at every level; a schema that applies itself twice to an item is never cheap."""
    plain = {"properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}, "n": {"type": "integer"}}}
    assert units_per_byte(plain, max_depth=32) < 100
    assert units_per_byte(tree(1), max_depth=32) < 100
    assert units_per_byte(tree(2), max_depth=32) > 2**32
    assert units_per_byte(tree(50), max_depth=32) == LIMIT


def test_cost_of_large_ordinary_schemas_is_still_found() -> None:
    """A thousand nested objects are not given up on."""
    schema: dict[str, Any] = {"type": "string"}
    for level in range(14):
        schema = {"type": "object", "properties": {f"p{level}_{i}": schema for i in range(2 if level % 5 == 0 else 1)}}
    check_schema(schema)
    assert units_per_byte(schema, max_depth=32) < 100
    wide = {"properties": {f"p{i}": {"type": "object", "properties": {"a": {"type": "string"}}} for i in range(1_000)}}
    assert units_per_byte(wide, max_depth=32) < 5_000


@pytest.mark.parametrize("dear", [{"enum": [0.5]}, {"const": 1}, {"multipleOf": 0.1}, {"pattern": "a[ab]{300}"}])
def test_what_is_slow_to_check_costs_more(dear: dict[str, Any]) -> None:
    """Exact fractions and large automata weigh hundreds of times a plain type."""
    assert units_per_byte(dear, max_depth=32) > 100 * units_per_byte({"type": "string"}, max_depth=32)


def test_cost_of_any_accepted_schema_is_bounded_work() -> None:
    """Schemas that refer to each other at random are costed without blowing up."""
    chance = random.Random(7)
    for _ in range(20):
        names = [f"d{i}" for i in range(60)]
        definitions = {
            name: {"properties": {str(i): {"$ref": f"#/$defs/{chance.choice(names)}"} for i in range(4)}}
            for name in names
        }
        schema = json.loads(json.dumps({"$ref": "#/$defs/d0", "$defs": definitions}))
        check_schema(schema)
        assert 0 < units_per_byte(schema, max_depth=32) <= LIMIT
