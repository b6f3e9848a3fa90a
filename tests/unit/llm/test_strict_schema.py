"""Schemas into the strict subset, and answers back out of it."""

import copy
from typing import Any, Literal

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from penstock_worker.llm.absent import drop_absent
from penstock_worker.llm.strict_schema import lower_schema

TEXT = {"type": "string"}


def obj(required: list[str] | None = None, **properties: Any) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    return schema if required is None else {**schema, "required": required}


def test_optional_becomes_nullable() -> None:
    """All properties are required, and what was optional may be null."""
    lowered = lower_schema(obj(["a"], a=TEXT, b=TEXT)).schema
    assert lowered == {
        "type": "object",
        "properties": {"a": TEXT, "b": {"anyOf": [TEXT, {"type": "null"}]}},
        "required": ["a", "b"],
        "additionalProperties": False,
    }


def test_what_is_nullable_stays_as_it_is() -> None:
    """No second null is added to a type that has one."""
    for sub in ({"type": ["string", "null"]}, {"anyOf": [TEXT, {"type": "null"}]}):
        assert (lower_schema(obj(a=sub)).schema or {})["properties"]["a"] == sub
    fixed = (lower_schema(obj(a={"enum": ["x", "y"]})).schema or {})["properties"]["a"]
    assert fixed == {"anyOf": [{"type": "string", "enum": ["x", "y"]}, {"type": "null"}]}


def test_dropped_rules_are_named() -> None:
    """Each rule that the subset lacks is in the changes, by its place."""
    schema = obj(
        ["a", "b"],
        a={"type": "string", "minLength": 3, "format": "uri", "pattern": "(?=x)y", "title": "A", "default": "z"},
        b={"type": "array", "items": {"type": "integer", "minimum": 0}, "uniqueItems": True, "minItems": 1},
    )
    lowered = lower_schema(schema)
    at = "/properties"
    assert set(lowered.changes) == {f"{at}/a/minLength", f"{at}/a/format", f"{at}/a/pattern", f"{at}/b/uniqueItems"}
    assert lowered.schema is not None
    words = '(minLength: 3; format: "uri"; pattern: "(?=x)y")'
    assert lowered.schema["properties"]["a"] == {**TEXT, "description": words}
    assert lowered.schema["properties"]["b"] == {
        "type": "array",
        "items": {"type": "integer", "minimum": 0},
        "minItems": 1,
        "description": "(uniqueItems: true)",
    }


def test_a_property_named_like_a_keyword_is_data() -> None:
    """``pattern``, ``$ref`` and ``minLength`` may be names of properties."""
    names = {"pattern": TEXT, "$ref": TEXT, "minLength": {"type": "integer"}}
    lowered = lower_schema({"type": "object", "properties": names, "required": list(names)})
    assert lowered.changes == ()
    assert lowered.schema is not None
    assert lowered.schema["properties"] == names


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": TEXT},
        {"anyOf": [obj(a=TEXT), obj(b=TEXT)]},
        {"type": "object"},
        {"type": "object", "additionalProperties": TEXT},
        obj(a={"type": "object", "additionalProperties": {"type": "integer"}}),
        obj(a={}),
        obj(a=True),
        obj(a=False),
        obj(a={"type": "array"}),
        obj(a={"type": "array", "items": True}),
        obj(a={"allOf": [obj(b=TEXT), obj(c=TEXT)]}),
        obj(a={"anyOf": [TEXT], "oneOf": [TEXT]}),
        obj(a={"anyOf": [TEXT], "properties": {}}),
        obj(a={"$ref": "https://example.com/schema"}),
        obj(a={"enum": [{"x": 1}]}),
        {**obj(a=TEXT), "required": ["b"]},
        obj(**{f"p{n}": TEXT for n in range(5001)}),
        obj(a={"enum": [str(n) for n in range(1001)]}),
        obj(a={"enum": ["x" * 130_000]}),
    ],
)
def test_what_cannot_be_lowered_says_why(schema: dict[str, Any]) -> None:
    """There is no schema, and exactly one reason."""
    lowered = lower_schema(schema)
    assert lowered.schema is None
    assert len(lowered.changes) == 1


def test_too_many_levels() -> None:
    """Ten levels are the most."""
    schema: dict[str, Any] = TEXT
    for _ in range(11):
        schema = obj(["a"], a=schema)
    assert lower_schema(schema).schema is None


class Line(BaseModel):
    text: str = Field(min_length=1)
    note: str | None = None
    price: float = Field(default=0, ge=0)


class Pet(BaseModel):
    kind: Literal["pet"]
    name: str
    weight_kg: float = 1.0


class Car(BaseModel):
    kind: Literal["car"]
    plate: str
    doors: int = 4


class Node(BaseModel):
    label: str
    children: list["Node"] = []


class Invoice(BaseModel):
    """A model with references, defaults, a union and recursion."""

    number: str
    lines: list[Line]
    thing: Pet | Car = Field(discriminator="kind")
    tree: Node | None = None
    currency: Literal["EUR", "USD"] = "EUR"


def test_a_pydantic_model_goes_through() -> None:
    """References, a tagged union and recursion survive; pydantic's own notes do not."""
    lowered = lower_schema(Invoice.model_json_schema())
    assert lowered.schema is not None
    jsonschema.Draft202012Validator.check_schema(lowered.schema)
    assert set(lowered.schema["required"]) == {"number", "lines", "thing", "tree", "currency"}
    assert set(lowered.changes) == {
        "/properties/thing/oneOf",
        "/properties/thing/discriminator",
        "/$defs/Line/properties/text/minLength",
    }


def test_a_recursive_root_is_taken_out_of_its_reference() -> None:
    """pydantic writes a recursive model as a bare reference; the root must be an object."""
    lowered = lower_schema(Node.model_json_schema()).schema
    assert lowered is not None
    assert lowered["type"] == "object"
    assert lowered["$defs"]["Node"]["properties"]["children"]["anyOf"][0]["items"] == {"$ref": "#/$defs/Node"}


def test_nulls_for_absent_are_dropped() -> None:
    """Below references, lists and the right branch of a union; a null that has a place stays."""
    value = {
        "number": "1",
        "lines": [{"text": "a", "note": None, "price": None}],
        "thing": {"kind": "car", "plate": "X", "doors": None},
        "tree": {"label": "r", "children": [{"label": "c", "children": None}]},
        "currency": None,
    }
    kept = copy.deepcopy(value)
    cleaned = drop_absent(value, Invoice.model_json_schema())
    assert cleaned == {
        "number": "1",
        "lines": [{"text": "a", "note": None}],
        "thing": {"kind": "car", "plate": "X"},
        "tree": {"label": "r", "children": [{"label": "c"}]},
    }
    assert value == kept
    assert Invoice.model_validate(cleaned).currency == "EUR"


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (obj(["a"], a=TEXT), {"a": None}),  # required: wrong, not absent
        (obj(a={}), {"a": None}),  # any type
        (obj(a={"type": ["string", "null"]}), {"a": None}),
        (obj(a={"enum": ["x", None]}), {"a": None}),
        (obj(a={"const": None}), {"a": None}),
        (obj(a=TEXT), {"b": None}),  # not described
        (obj(a={"$ref": "#/$defs/missing"}), {"a": None}),
        ({"$ref": "#/$defs/loop", "$defs": {"loop": {"$ref": "#/$defs/loop"}}}, {"a": None}),
        (obj(a=TEXT), None),
        (obj(a=TEXT), [None, {"a": None}]),
    ],
)
def test_nulls_with_a_place_stay(schema: dict[str, Any], value: Any) -> None:
    """Only what is surely "absent" goes."""
    assert drop_absent(value, schema) == value


def test_deep_values_do_not_recurse_without_end() -> None:
    """A thousand levels are handed back, not an error."""
    value: Any = None
    for _ in range(900):
        value = {"children": [value], "label": "x"}
    assert drop_absent(value, Node.model_json_schema()) is not None


leaves = st.sampled_from(
    [TEXT, {"type": "integer"}, {"type": "boolean"}, {"enum": ["x", "y"]}, {"const": 3}, {"type": ["string", "null"]}]
)


def objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    names = st.lists(st.sampled_from("abcd"), unique=True, min_size=1, max_size=3)
    return names.flatmap(
        lambda keys: st.builds(
            lambda subs, required: obj([k for k in keys if k in required], **dict(zip(keys, subs, strict=True))),
            st.lists(inner, min_size=len(keys), max_size=len(keys)),
            st.sets(st.sampled_from(keys)),
        )
    )


schemas = objects(
    st.recursive(
        leaves,
        lambda inner: (
            objects(inner)
            | st.builds(lambda sub: {"type": "array", "items": sub}, inner)
            | st.builds(lambda a, b: {"anyOf": [a, b]}, leaves, leaves)
        ),
        max_leaves=6,
    )
)


def example_of(schema: dict[str, Any], data: st.DataObject) -> Any:
    """A value that fits a strict schema, made as a model would make it."""
    if "anyOf" in schema:
        return example_of(data.draw(st.sampled_from(schema["anyOf"])), data)
    if "enum" in schema:
        return data.draw(st.sampled_from(schema["enum"]))
    kind = schema["type"] if isinstance(schema["type"], str) else data.draw(st.sampled_from(schema["type"]))
    if kind == "object":
        return {name: example_of(sub, data) for name, sub in schema["properties"].items()}
    if kind == "array":
        return [example_of(schema["items"], data) for _ in range(data.draw(st.integers(0, 2)))]
    return {"string": "s", "integer": 1, "boolean": True, "null": None}[kind]


@given(schemas, st.data())
def test_the_way_there_and_back(schema: dict[str, Any], data: st.DataObject) -> None:
    """Whatever fits the lowered schema fits the original once its nulls are dropped; dropping twice is once."""
    before = copy.deepcopy(schema)
    lowered = lower_schema(schema)
    assert schema == before
    assert lowered.schema is not None
    strict = jsonschema.Draft202012Validator(lowered.schema)
    value = example_of(lowered.schema, data)
    strict.validate(value)
    cleaned = drop_absent(value, schema)
    jsonschema.Draft202012Validator(schema).validate(cleaned)
    assert drop_absent(cleaned, schema) == cleaned
