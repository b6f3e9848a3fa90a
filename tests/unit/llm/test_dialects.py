"""Each provider's subset of JSON Schema: what it is told, and what it is not."""

from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_worker.llm.dialects import ANTHROPIC, GEMINI, GRAMMAR, OPENAI, Dialect
from penstock_worker.llm.strict_schema import lower_schema

TEXT = {"type": "string"}
ALL = [OPENAI, ANTHROPIC, GEMINI, GRAMMAR]
OPTIONAL = [ANTHROPIC, GEMINI, GRAMMAR]


def obj(required: list[str] | None = None, **properties: Any) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    return schema if required is None else {**schema, "required": required}


def lowered(schema: dict[str, Any], dialect: Dialect) -> dict[str, Any]:
    found = lower_schema(schema, dialect).schema
    assert found is not None
    return found


@pytest.mark.parametrize("dialect", OPTIONAL)
def test_optional_stays_optional(dialect: Dialect) -> None:
    """Only OpenAI wants every property; elsewhere unions would use up a limit."""
    schema = lowered(obj(["a"], a=TEXT, b=TEXT), dialect)
    assert schema["required"] == ["a"]
    assert schema["properties"]["b"] == TEXT
    assert schema["additionalProperties"] is False


RULES = {
    "n": {"type": "integer", "minimum": 1, "maximum": 9, "multipleOf": 2},
    "s": {"type": "string", "minLength": 1, "maxLength": 5, "pattern": "^a+$", "format": "email"},
    "l": {"type": "array", "items": TEXT, "minItems": 3, "maxItems": 9, "uniqueItems": True},
}


@pytest.mark.parametrize(
    ("dialect", "dropped"),
    [
        (OPENAI, {"s/minLength", "s/maxLength", "l/uniqueItems"}),
        (
            ANTHROPIC,
            {"n/minimum", "n/maximum", "n/multipleOf", "s/minLength", "s/maxLength", "s/pattern"}
            | {"l/minItems", "l/maxItems", "l/uniqueItems"},
        ),
        (
            GEMINI,
            {"n/minimum", "n/maximum", "n/multipleOf", "s/minLength", "s/maxLength", "s/pattern", "s/format"}
            | {"l/maxItems", "l/uniqueItems"},
        ),
        (GRAMMAR, {"n/multipleOf", "s/format", "l/uniqueItems"}),
    ],
)
def test_what_each_is_not_told(dialect: Dialect, dropped: set[str]) -> None:
    """Every rule that is left out is named, and no other."""
    schema = obj(list(RULES), **RULES)
    changes = lower_schema(schema, dialect).changes
    assert set(changes) == {f"/properties/{name}" for name in dropped}
    told = lowered(schema, dialect)
    for change in changes:
        _, _, name, keyword = change.split("/")
        assert keyword not in told["properties"][name]


@pytest.mark.parametrize("dialect", ALL)
def test_what_is_left_out_is_told_in_words(dialect: Dialect) -> None:
    """The model can read in the description what its grammar does not enforce, and nothing that it does."""
    told = lowered(obj(["s"], s={**RULES["s"], "description": "A word."}), dialect)["properties"]["s"]
    said = told.get("description")
    assert said.startswith("A word.")
    for keyword, value in RULES["s"].items():
        if keyword != "type":
            assert (f"{keyword}: " in said) == (told.get(keyword) != value)


def test_anthropic_takes_a_small_minimum_of_items() -> None:
    """Zero and one can be said, more cannot."""
    for least, kept in ((0, True), (1, True), (2, False)):
        schema = obj(["l"], l={"type": "array", "items": TEXT, "minItems": least})
        assert ("minItems" in lowered(schema, ANTHROPIC)["properties"]["l"]) == kept


@pytest.mark.parametrize(
    ("most", "inner", "required"),
    [(24, TEXT, False), (16, {"type": ["string", "null"]}, True), (16, {"anyOf": [TEXT, obj(["a"], a=TEXT)]}, True)],
)
def test_anthropic_counts(most: int, inner: dict[str, Any], required: bool) -> None:
    """24 optional properties and 16 unions are the most; with one more the schema goes into the prompt."""
    for count in (most, most + 1):
        properties = {f"p{n}": inner for n in range(count)}
        schema = obj(list(properties) if required else [], **properties)
        assert (lower_schema(schema, ANTHROPIC).schema is not None) == (count == most)
        assert lower_schema(schema, GEMINI).schema is not None


RECURSIVE = [
    obj(a={"$ref": "#"}),
    {**obj(a={"$ref": "#/$defs/N"}), "$defs": {"N": obj(n={"anyOf": [{"$ref": "#/$defs/N"}, {"type": "null"}]})}},
    {
        **obj(a={"$ref": "#/$defs/A"}),
        "$defs": {"A": obj(b={"$ref": "#/$defs/B"}), "B": obj(a={"$ref": "#/$defs/A"})},
    },
]


@pytest.mark.parametrize("schema", RECURSIVE)
def test_recursion(schema: dict[str, Any]) -> None:
    """A schema that refers to itself is for OpenAI and for grammars."""
    for dialect in ALL:
        assert (lower_schema(schema, dialect).schema is not None) == dialect.recursion


def test_definitions_without_recursion_pass() -> None:
    """A definition used twice, and one that uses another, are no recursion."""
    defs = {"A": obj(b={"$ref": "#/$defs/B"}), "B": obj(x=TEXT)}
    schema = {**obj(a={"$ref": "#/$defs/A"}, b={"$ref": "#/$defs/B"}, c={"$ref": "#/$defs/B"}), "$defs": defs}
    for dialect in ALL:
        assert set(lowered(schema, dialect)["$defs"]) == {"A", "B"}


def test_gemini_enums_of_words_and_numbers() -> None:
    """An enum with null or booleans gives its types alone, and is named."""
    schema = obj(["a", "b"], a={"enum": ["x", "y"]}, b={"enum": ["x", None]})
    found = lower_schema(schema, GEMINI)
    assert found.changes == ("/properties/b/enum",)
    assert found.schema is not None
    assert found.schema["properties"]["a"] == {"type": "string", "enum": ["x", "y"]}
    assert found.schema["properties"]["b"] == {"type": ["string", "null"], "description": '(enum: ["x", null])'}


@pytest.mark.parametrize(("pattern", "kept"), [("^a+$", True), ("a+", False), ("^(?=a)a$", False)])
def test_grammars_take_whole_patterns(pattern: str, kept: bool) -> None:
    """llama.cpp refuses a pattern that is not from beginning to end."""
    schema = obj(["a"], a={"type": "string", "pattern": pattern})
    assert ("pattern" in lowered(schema, GRAMMAR)["properties"]["a"]) == kept


scalars = st.sampled_from(
    [
        TEXT,
        {"type": "integer", "minimum": 2},
        {"type": "boolean"},
        {"enum": ["a", "b"]},
        {"const": 3},
        {"type": ["string", "null"], "maxLength": 2},
        {"anyOf": [TEXT, {"type": "null"}]},
    ]
)
schemas = st.recursive(
    scalars,
    lambda inner: (
        st.builds(lambda item: {"type": "array", "items": item, "maxItems": 2}, inner)
        | st.builds(
            lambda properties, some: obj([name for name in properties if name in some], **properties),
            st.dictionaries(st.sampled_from("abcd"), inner, min_size=1, max_size=4),
            st.sets(st.sampled_from("abcd")),
        )
    ),
    max_leaves=8,
).filter(lambda schema: "properties" in schema)
values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 5) | st.sampled_from(["", "a", "abc"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=4),
    max_leaves=8,
)


@given(schema=schemas, value=values)
def test_a_subset_never_forbids_what_is_asked_for(schema: dict[str, Any], value: Any) -> None:
    """What is valid by the schema, and has no unknown names, is valid by what a provider is told of it."""
    closed = closing(schema)
    if not jsonschema.Draft202012Validator(closed).is_valid(value):
        return
    for dialect in OPTIONAL:
        jsonschema.Draft202012Validator(lowered(schema, dialect)).validate(value)


def closing(schema: Any) -> Any:
    """*schema* with every object closed."""
    if isinstance(schema, list):
        return [closing(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: closing(item) for name, item in schema.items()}
    return {**inner, "additionalProperties": False} if schema.get("type") == "object" else inner
