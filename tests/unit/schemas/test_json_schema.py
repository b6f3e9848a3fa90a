"""The gate for JSON Schemas: what is refused, by name and place, and that ordinary schemas pass."""

from __future__ import annotations

import datetime
import decimal
import enum
import ipaddress
import re
import subprocess
import sys
import uuid
from typing import Annotated, Any, Literal

import jsonschema
import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import AnyUrl, BaseModel, ConfigDict, Field, StringConstraints

from penstock_schemas._patterns import PatternError, check_pattern
from penstock_schemas.errors import SchemaRejectedError
from penstock_schemas.json_schema import DIALECTS, FORMATS, check_schema


def refusal(schema: Any) -> SchemaRejectedError:
    with pytest.raises(SchemaRejectedError) as caught:
        check_schema(schema)
    return caught.value


def bomb(levels: int, *, in_place: bool) -> dict[str, Any]:
    """Each definition refers twice to the one below it."""
    definitions: dict[str, Any] = {"d0": {"type": "string"}}
    for level in range(levels):
        below = {"$ref": f"#/$defs/d{level}"}
        definitions[f"d{level + 1}"] = (
            {"allOf": [below, below]} if in_place else {"properties": {"a": below, "b": below}}
        )
    return {"$defs": definitions, "$ref": f"#/$defs/d{levels}"}


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog", "hound"]
    good: bool


class Tree(BaseModel):
    name: str
    children: list[Tree] = []


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


class Everything(BaseModel):
    """A model with one field of each ordinary kind."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"a": 1}]})

    price: decimal.Decimal
    rounded: decimal.Decimal = Field(max_digits=10, decimal_places=2, multiple_of=decimal.Decimal("0.01"))
    at: datetime.datetime
    day: datetime.date
    clock: datetime.time
    took: datetime.timedelta
    id: uuid.UUID
    link: AnyUrl
    address: ipaddress.IPv4Address
    maybe: int | None = None
    choice: Literal["a", "b"]
    items: list[int] = Field(min_length=1, max_length=3)
    counts: dict[str, int]
    named: dict[Annotated[str, StringConstraints(pattern="^[a-z]+$")], float]
    pair: tuple[int, str]
    tags: set[str]
    pet: Cat | Dog = Field(discriminator="kind")
    pets: list[Annotated[Cat | Dog, Field(discriminator="kind")]]
    tree: Tree
    colour: Colour
    nothing: None
    anything: Any
    code: str = Field(pattern=r"^\d{3}-[A-Z]+$", min_length=1, max_length=20)
    share: float = Field(gt=0, lt=1, description="a part", examples=[0.5], deprecated=True)
    reference: str = Field(alias="$ref")


@pytest.mark.parametrize("model", [Everything, Tree, Cat])
@pytest.mark.parametrize("mode", ["validation", "serialization"])
def test_schemas_of_pydantic_models_pass(model: type[BaseModel], mode: Literal["validation", "serialization"]) -> None:
    """What pydantic makes of ordinary models passes, unions and recursion included."""
    check_schema(model.model_json_schema(mode=mode))


@pytest.mark.parametrize("schema", [True, False, None, [], "object", 1, [{"type": "object"}]])
def test_a_root_that_is_no_object_is_refused(schema: Any) -> None:
    """A boolean or an array is no schema to ask a model for."""
    error = refusal(schema)
    assert (error.code, error.field, error.retriable) == ("schema_rejected", "schema#", False)


@pytest.mark.parametrize("schema", [{}, {"title": "x"}, {"$defs": {"a": {"type": "string"}}}])
def test_a_root_without_constraint_is_refused(schema: Any) -> None:
    """A schema that every answer satisfies checks nothing."""
    assert "no constraint" in refusal(schema).message


@pytest.mark.parametrize(
    "target",
    [
        "http://example.com/a",
        "https://example.com/a#/$defs/x",
        "file:///etc/passwd",
        "ftp://example.com/a",
        "//example.com/a",
        "other.json",
        "other.json#/$defs/x",
        "#x",
        "#/properties/a",
        "#/$defs/x/properties/a",
        "#/$defs/",
        "",
        7,
        None,
    ],
)
def test_references_elsewhere_are_refused(target: Any) -> None:
    """Only the root and a definition can be referred to: no URL, no file, no relative address, no anchor."""
    schema = {"$id": "http://example.com/base", "properties": {"a": {"$ref": target}}, "$defs": {"x": {}}}
    assert refusal(schema).field == "schema#/properties/a/$ref"


def test_identifiers_below_the_root_are_refused() -> None:
    """An $id inside would change what the references next to it mean."""
    assert refusal({"properties": {"a": {"$id": "http://example.com/"}}}).field == "schema#/properties/a/$id"


def test_local_references_resolve_by_their_unescaped_name() -> None:
    """Names with a slash, a tilde or a space are reached by their escaped form, missing ones are refused."""
    check_schema({"$ref": "#/$defs/a~1b~0c%20d", "$defs": {"a/b~c d": {"type": "string"}}})
    check_schema({"$ref": "#/definitions/x", "definitions": {"x": {"type": "string"}}})
    assert refusal({"$ref": "#/definitions/x", "$defs": {"x": {}}}).field == "schema#/$ref"


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"allOf": [{"$ref": "#"}]},
        {"anyOf": [{"type": "null"}, {"not": {"$ref": "#"}}]},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}},
        {"$ref": "#/$defs/a", "$defs": {"a": {"oneOf": [{"$ref": "#/$defs/b"}]}, "b": {"if": {"$ref": "#/$defs/a"}}}},
        {"type": "object", "$defs": {"unused": {"dependentSchemas": {"a": {"$ref": "#/$defs/unused"}}}}},
    ],
)
def test_recursion_in_place_is_refused(schema: Any) -> None:
    """A reference that comes back to itself without stepping into the instance has no end."""
    assert "refers to itself" in refusal(schema).message


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"child": {"$ref": "#"}}},
        {"$ref": "#/$defs/a", "$defs": {"a": {"items": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/a"}]}}}},
        {
            "$ref": "#/$defs/a",
            "$defs": {"a": {"prefixItems": [{"$ref": "#/$defs/b"}]}, "b": {"not": {"$ref": "#/$defs/a"}}},
        },
        {"additionalProperties": {"$ref": "#"}},
        {"contains": {"$ref": "#"}},
        {"patternProperties": {"^a": {"$ref": "#"}}},
    ],
)
def test_recursion_through_the_instance_passes(schema: Any) -> None:
    """A tree is fine: each round goes one level down, and answers have bounded depth."""
    check_schema(schema)


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("levels", [14, 20, 400])
def test_reference_bombs_are_refused(levels: int, in_place: bool) -> None:
    """A schema of a kilobyte that doubles with each level is refused by its size written out."""
    assert "written out" in refusal(bomb(levels, in_place=in_place)).message


def test_definitions_used_often_pass() -> None:
    """Using a definition a hundred times is not a bomb."""
    check_schema(
        {
            "properties": {f"p{i}": {"$ref": "#/$defs/address"} for i in range(100)},
            "$defs": {"address": {"type": "object", "properties": {"street": {"type": "string"}}}},
        }
    )


@pytest.mark.parametrize(
    ("keyword", "hint"),
    [
        ("requried", "did you mean required?"),
        ("propertes", "did you mean properties?"),
        ("typo", "did you mean type?"),
        ("additionalproperties", "did you mean additionalProperties?"),
        ("min_length", "did you mean minLength?"),
        ("nullable", '"null"'),
        ("$dynamicRef", "use $ref"),
        ("$dynamicAnchor", "#/$defs/"),
        ("$anchor", "#/$defs/"),
        ("unevaluatedProperties", "use additionalProperties"),
        ("unevaluatedItems", "use items"),
        ("zzzzzz", "below properties"),
    ],
)
def test_unknown_keywords_are_refused_by_name_with_advice(keyword: str, hint: str) -> None:
    """A misspelt keyword would switch its check off, so it is named, and the likely word with it."""
    error = refusal({"type": "object", "properties": {"a": {keyword: {}}}})
    assert error.field == f"schema#/properties/a/{keyword}"
    assert hint in error.message


def test_names_of_properties_are_data() -> None:
    """A property may be called like a keyword, even one that is refused."""
    names = ["pattern", "$ref", "$id", "requried", "$dynamicRef", "format", "properties", "$defs", "enum"]
    check_schema({"properties": {name: {"type": "string"} for name in names}, "required": names})
    check_schema({"const": {"$ref": "http://example.com", "pattern": "("}, "default": {"pattern": "("}})
    check_schema({"enum": [{"$ref": "file:///etc/passwd"}], "examples": [{"requried": 1}]})
    check_schema({"$defs": {"$ref": {"type": "string"}, "pattern": True}, "$ref": "#/$defs/pattern"})


@pytest.mark.parametrize("dialect", [*DIALECTS, *(f"{name}#" for name in DIALECTS)])
def test_supported_dialects_pass(dialect: str) -> None:
    """2020-12 is the language; older ones pass as far as they mean the same."""
    check_schema({"$schema": dialect, "$id": "https://example.com/invoice.json", "type": "object"})


@pytest.mark.parametrize("dialect", ["http://json-schema.org/draft-04/schema#", "http://example.com", "", 7, None])
def test_unknown_dialects_are_refused_with_the_supported_ones(dialect: Any) -> None:
    """The message lists what may stand there."""
    error = refusal({"$schema": dialect, "type": "object"})
    assert error.field == "schema#/$schema"
    assert all(name in error.message for name in DIALECTS)


@pytest.mark.parametrize(
    "schema",
    [
        {"prefixItems": [{"type": "string"}]},
        {"dependentRequired": {"a": ["b"]}},
        {"properties": {"a": {"$ref": "#/definitions/x", "minLength": 1}}, "definitions": {"x": {"type": "string"}}},
    ],
)
def test_what_an_older_dialect_reads_otherwise_is_refused(schema: Any) -> None:
    """Under draft-07 these keywords would be ignored; under 2020-12 they pass."""
    check_schema(schema)
    refusal({"$schema": "http://json-schema.org/draft-07/schema#", **schema})


@pytest.mark.parametrize("name", ["regex", "binary", "password", "int32", "uri-template", "Date", "", 7])
def test_formats_that_are_not_enforced_are_refused(name: Any) -> None:
    """No format is accepted and then ignored."""
    assert refusal({"properties": {"a": {"format": name}}}).field == "schema#/properties/a/format"


def test_enforced_formats_pass() -> None:
    """Each format of the list is accepted."""
    check_schema({"properties": {name: {"format": name} for name in FORMATS}})


@pytest.mark.parametrize(
    "schema",
    [
        {"enum": list(range(100_000))},
        {"enum": list(range(1_001))},
        {"properties": {f"p{i}": {} for i in range(10_000)}},
        {"properties": {f"p{i}": {} for i in range(2_001)}},
        {"minItems": 10**9},
        {"minProperties": 10_001},
        {"minContains": 10**12},
        {"minLength": 2**21},
        {"description": "x" * 70_000},
        {"const": "é" * 33_000},
        {"anyOf": [{}] * 1_001},
        {"allOf": [{"anyOf": [{}] * 1_000} for _ in range(11)]},
        {"required": [f"p{i}" for i in range(2_001)]},
        {"anyOf": [{"pattern": "a" * 500} for _ in range(17)]},
        {"anyOf": [{"pattern": f"(?:ab{i}){{1000}}"} for i in range(50)]},
    ],
)
def test_schemas_beyond_the_size_limits_are_refused(schema: Any) -> None:
    """Lists, objects, counts, texts and patterns are bounded, one by one and together."""
    refusal(schema)


def test_deep_schemas_are_refused() -> None:
    """A hundred thousand levels are refused as too deep, without a recursion error."""
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(100_000):
        schema = {"not": schema}
    assert "deeper" in refusal(schema).message


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "strin"},
        {"type": []},
        {"type": ["string", "string"]},
        {"type": {"a": 1}},
        {"enum": []},
        {"enum": "a"},
        {"required": "a"},
        {"required": ["a", "a"]},
        {"required": [1]},
        {"minLength": -1},
        {"minLength": 1.5},
        {"maxItems": True},
        {"multipleOf": 0},
        {"multipleOf": -1},
        {"minimum": "1"},
        {"uniqueItems": 1},
        {"items": [{"type": "string"}]},
        {"items": "string"},
        {"properties": []},
        {"properties": {"a": None}},
        {"allOf": {}},
        {"allOf": []},
        {"minimum": 2, "maximum": 1},
        {"minItems": 2, "maxItems": 1},
        {"title": 1, "type": "object"},
        {"pattern": 1},
        {"not": {"$schema": "https://json-schema.org/draft/2020-12/schema"}},
        {"not": {"$defs": {}}},
        {"discriminator": {"mapping": {}}, "oneOf": [{}]},
        {"dependentRequired": {"a": "b"}},
        {"const": float("nan")},
        {"properties": {1: {}}},
        {"const": (1, 2)},
        {"title": "\0", "type": "object"},
        {"$ref": "#/$defs/a", "$defs": []},
    ],
)
def test_wrong_values_of_keywords_are_refused(schema: Any) -> None:
    """Every keyword's value is checked, so that no validator is surprised later."""
    refusal(schema)


def test_names_in_errors_are_cut_and_escaped() -> None:
    """A hostile name can neither forge nor flood a log line."""
    error = refusal({"properties": {"a\nb" + "x" * 5_000: {"requried": []}}})
    assert error.field is not None
    assert "\n" not in str(error)
    assert len(str(error)) < 300


GOOD_PATTERNS = [
    "",
    "^a$",
    r"^\d{3}-[A-Z]+$",
    r"^[a-z0-9]+(?:-[a-z0-9]+)*$",
    r"^(?:[a-z]+\.)+[a-z]{2,}$",
    r"^#[0-9a-fA-F]{6}$",
    r"^[A-Z]{2}\d{2}[A-Z0-9]{1,30}$",
    r"^(\+\d{1,2}\s)?\(?\d{3}\)?[\s.-]\d{3}[\s.-]\d{4}$",
    r"[\w.+-]+@[\w-]+\.[\w.]+",
    r"^\s*\S+.*?\s*$",
    r"\bword\b|^$|()",
    r"^[^@\s]+$",
    r"\u00e9\x41\t\/\-",
    "^[äöü ]{0,10}?$",
    "(ab{2,5}c)*",
]

BAD_PATTERNS = {
    "(a+)+$": "rounds apart",
    "(.*)*": "rounds apart",
    r"(\d+,?)*": "rounds apart",
    "((a+)b?)*": "rounds apart",
    "([a-z]+)*$": "rounds apart",
    "(a{1,100}){1,100}": "rounds apart",
    "(?=a)b": "lookaround",
    "(?<!a)b": "lookaround",
    r"(a)\1": "backreference",
    "(?P<n>a)": "named group",
    "(?i)a": "flag",
    "a++": "two quantifiers",
    "a**": "two quantifiers",
    "a{2}{3}": "two quantifiers",
    "*a": "nothing before",
    "a|*": "nothing before",
    "{": "nothing before",
    "a{x}": "no count",
    "a{,3}": "no count",
    "a{3,2}": "end is below",
    "a{1001}": "more than 1000",
    "(a{1000}){1000}": "too large",
    "(a": "without a )",
    "a)": "without a (",
    "[a": "too early",
    "\\": "too early",
    "[]": "empty class",
    "[^]": "empty class",
    "[z-a]": "backwards",
    r"[a-\d]": "class range",
    "[[a]]": "bare [",
    "[a&&b]": "bare &",
    "^*": "assertion",
    r"\Z": "escape",
    r"\p{Greek}": "category",
    r"\ud800": "surrogate",
    "(" * 9 + ")" * 9: "groups",
    "a" * 513: "longer",
    "a" * 5_000: "longer",
}


@pytest.mark.parametrize("pattern", GOOD_PATTERNS)
def test_ordinary_patterns_pass_and_compile_everywhere(pattern: str) -> None:
    """What the gate accepts, both the linear engine and Python's own compile."""
    check_schema({"pattern": pattern})
    check_schema({"patternProperties": {pattern: {"type": "string"}}})
    re.compile(pattern)
    linear({"pattern": pattern})


@pytest.mark.parametrize(("pattern", "why"), BAD_PATTERNS.items())
def test_patterns_that_blow_up_or_differ_are_refused(pattern: str, why: str) -> None:
    """The refusal names the place and the reason, for a pattern and for the name of pattern properties."""
    error = refusal({"properties": {"a": {"pattern": pattern}}})
    assert error.field == "schema#/properties/a/pattern"
    assert why in error.message
    assert why in refusal({"patternProperties": {pattern: {}}}).message


def linear(schema: dict[str, Any]) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(
        schema, validate_formats=True, ignore_unknown_formats=False, pattern_options=jsonschema_rs.RegexOptions()
    )


@given(st.text(alphabet=r"ab01.^$*+?()[]{}|\-,:dwsbpLNx", max_size=16), st.text("ab01-. ", max_size=8))
@settings(max_examples=1_000)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_accepted_patterns_mean_the_same_to_both_engines(pattern: str, text: str) -> None:
    """Any pattern the gate lets through is valid for both engines, and they agree on ASCII text."""
    try:
        check_pattern(pattern)
    except PatternError:
        return
    found = linear({"pattern": pattern}).is_valid(text)
    if r"\p" not in pattern.lower():
        assert found == (re.search(pattern, text, re.ASCII) is not None)


KEYWORDS = ("type", "properties", "items", "$ref", "$defs", "allOf", "anyOf", "not", "if", "enum", "const")
words = st.sampled_from([*KEYWORDS, "pattern", "required", "format", "a", "b", "minItems"])
leaves = st.sampled_from(["string", "object", "#", "#/$defs/a", "(", "^a+$", "date", 0, 1, -1, True, None, "x", 1e3])
junk = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=4))


@given(junk)
@settings(max_examples=1_000)
def test_any_json_is_refused_or_compiles_in_both_validators(schema: Any) -> None:
    """The gate never fails otherwise, and whatever it accepts both validators take."""
    try:
        check_schema(schema)
    except SchemaRejectedError:
        return
    jsonschema.Draft202012Validator.check_schema(schema)
    linear(schema)


def test_the_gate_loads_no_validator() -> None:
    """A service that enqueues does not pay for the worker's libraries."""
    code = (
        "import sys, penstock_schemas.json_schema, penstock_schemas.strict_json\n"
        "print([m for m in ('jsonschema', 'jsonschema_rs', 'json_repair', 'referencing', 'pydantic') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
